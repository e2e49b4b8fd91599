"""What the recipe needs of an architecture: a language model, a scalar head, and the layers that get adapters."""

import difflib
import json
from pathlib import Path
from typing import cast

from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from models.base_checks.finding import Finding, first_line
from models.checkpoint import backbone, classifier_of
from models.config import LoraConfig
from models.llama_presets import check_sizes

_LINEAR = (nn.Linear, Conv1D)


def read_config(folder: Path) -> PreTrainedConfig:
    """What transformers makes of the folder's config.json. Raises ValueError for an architecture that it does not know,
    for values that are none, and for heads that do not share the width, or the queries, evenly."""
    _check_sizes(folder / "config.json")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except StrictDataclassError as error:  # the second line says what is wrong
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"config.json: {reason} Take the config.json of the model's authors") from None
    except (ValueError, KeyError, OSError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"config.json: transformers cannot read it: {first_line(error)}") from None
    _check_heads(config)
    return config


def _check_sizes(file: Path) -> None:
    """What transformers takes without a word, and what fails long after, or never ends."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # transformers says so
    if not isinstance(content, dict):
        raise ValueError("config.json: holds no keys and values: take the config.json of the model's authors")
    try:
        check_sizes(content)
    except ValueError as error:
        raise ValueError(f"config.json: {error}") from None
    small = content.get("rms_norm_eps", 1e-6)
    if not isinstance(small, int | float) or not 0 < small < 1:
        raise ValueError(f"config.json: rms_norm_eps is {small!r}, and must be a number above 0 and below 1")


def _check_heads(config: PreTrainedConfig) -> None:
    heads, groups = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if heads and groups and heads % groups:
        raise ValueError(
            f"config.json: num_attention_heads {heads} is no multiple of num_key_value_heads {groups}, so that queries "
            "have no key in common: take the config.json of the model's authors"
        )


def check_architecture(folder: Path, *, rewards: bool) -> Finding:
    """Raises ValueError where transformers has no causal language model for the folder's config, or, with `rewards`, no
    sequence classifier. Nothing is loaded."""
    config = read_config(folder)
    kind = cast(type[PreTrainedModel] | None, AutoModelForCausalLM._model_mapping.get(type(config), None))
    if kind is None:
        raise ValueError(f"config.json: {config.model_type} is no causal language model in transformers; give one")
    if rewards:
        try:
            classifier_of(config)
        except ValueError as error:
            raise ValueError(f"config.json: {error}; docs/base-models.md names the families that work") from None
    return Finding("architecture", f"{config.model_type}: {kind.__name__}")


def check_adapters(model: nn.Module, lora: LoraConfig) -> Finding:
    """Raises ValueError for a name in `lora.target_modules` that no linear layer of the transformer has: peft would
    pass over it, where another name fits."""
    names = linear_layers(model)
    for wanted in lora.target_modules:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in names):
            short = sorted({name.rpartition(".")[2] for name in names})
            near = difflib.get_close_matches(wanted, short, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"lora.target_modules: no linear layer of {type(model).__name__} is called {wanted!r}; there are "
                f"{', '.join(short)}{meant}"
            )
    count = sum(any(name.endswith(f".{wanted}") for wanted in lora.target_modules) for name in names)
    return Finding("lora.target_modules", f"each names linear layers, {count} in all")


def linear_layers(model: nn.Module) -> list[str]:
    """The names of all linear layers of the transformer, without the head."""
    return [f".{name}" for name, module in backbone(model).named_modules() if isinstance(module, _LINEAR)]
