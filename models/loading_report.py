"""What was found where a model was opened: every weight in its place, or a refusal that names those that are not.

transformers draws weights that are missing at random, peft leaves adapters that are missing as they are, and both pass
over weights that they do not know: they warn, and training goes on.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

_MOST_NAMED = 3
_ONE_PLACE = "config.json and the safetensors are not of one model, or not all were copied: copy all from one place"


class NotTheModelError(ValueError):
    """A folder does not hold just the weights of its model."""


def require_whole(model: PreTrainedModel, report: Mapping[str, Any], folder: Path, *, fresh_head: bool) -> None:
    """Raise NotTheModelError where the folder lacks weights of the model, or holds others. `report` is what
    transformers gives with `output_loading_info`. With `fresh_head` the folder is of a model with another head: the
    transformer alone counts."""
    missing, unknown = (set(map(str, report[key])) for key in ("missing_keys", "unexpected_keys"))
    if fresh_head:
        body = f"{model.base_model_prefix}."
        missing, unknown = ({key for key in keys if f".{body}" in f".{key}"} for keys in (missing, unknown))
    shapes = [f"{name} is {tuple(there)}, not {tuple(wanted)}" for name, there, wanted in report["mismatched_keys"]]
    if shapes:
        raise NotTheModelError(
            f"{folder}: weights have another shape than config.json says: {_some(shapes)}; {_ONE_PLACE}"
        )
    if missing or unknown:
        raise NotTheModelError(f"{folder}: {_misfit(model, missing, unknown)}")


def require_body(model: PreTrainedModel, report: Mapping[str, Any], folder: Path) -> None:
    """The same of a transformer that is read without any head: what another class put on top of it, and a layer behind
    the hidden states that was never saved (`pooler`), do not matter."""
    layers = dict(model.named_children())
    missing = {name for name in map(str, report["missing_keys"]) if not name.startswith("pooler.")}
    unknown = {name for name in map(str, report["unexpected_keys"]) if name.partition(".")[0] in layers}
    require_whole(model, {**report, "missing_keys": missing, "unexpected_keys": unknown}, folder, fresh_head=False)


def require_same_names(folder: Path, wanted: set[str]) -> None:
    """Raise ValueError where the adapter in `folder` holds other weights than `wanted`."""
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        found = set(file.keys())
    if found != wanted:
        raise ValueError(
            f"{folder.name} does not fit the base model: {_some(found ^ wanted)}; give the base that it was trained on"
        )


def _misfit(model: nn.Module, missing: set[str], unknown: set[str]) -> str:
    name = type(model).__name__
    lacks = f"weights of a {name} are not there ({_some(missing)})" if missing else ""
    holds = f"there are weights that a {name} does not have ({_some(unknown)})" if unknown else ""
    if prefix := _prefix(missing, unknown):
        remedy = f"their names begin with {prefix!r}: save the model itself, not what it was wrapped in"
    elif any(key.startswith(("score.", "classifier.")) for key in unknown):
        remedy = "this is a reward model or a classifier: give the language model that it was made from"
    else:
        remedy = _ONE_PLACE
    return "; ".join(filter(None, (lacks, holds, remedy)))


def _prefix(missing: set[str], unknown: set[str]) -> str:
    """What each unknown name has in front of a missing one, where that is the same for all."""
    if not missing or len(missing) > len(unknown):
        return ""
    wanted = min(missing)
    prefixes = [key.removesuffix(wanted) for key in unknown if key.endswith(f".{wanted}")]
    return next((prefix for prefix in prefixes if {prefix + key for key in missing} <= unknown), "")


def _some(keys: Collection[str]) -> str:
    shown = ", ".join(sorted(keys)[:_MOST_NAMED])
    return f"{shown} and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else shown
