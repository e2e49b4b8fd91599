"""From names to models that talk: a policy of the run by its part, asset or version, or a model's folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_store.annotation.batches import Message
from data_store.annotation.book import Book
from data_store.annotation.chat import Chat, Keeper, Said
from data_store.closest import did_you_mean
from data_store.content.publishing import describe_source
from data_store.errors import InputError
from data_store.figures import rate
from data_store.names import AssetName
from data_store.read_only import is_read_only
from data_store.rows import AXES
from data_store.store import Store
from flows.live import base_of, policy_head
from flows.recipe.config import RunConfig
from tasks.held_out import plain, texts
from tasks.live.speaker import FolderSpeaker, Judges, Models
from tasks.safety_level import threshold_of

_LEAST_VERSION = 8  # letters of a version that name it


@dataclass(frozen=True)
class Named:
    """A model that was named: where it lies, on which base, its version, and its part where it is of the run."""

    name: str
    folder: Path
    base: Path | None
    version: str
    part: str | None


@dataclass(frozen=True)
class Limits:
    """Tokens of a dialogue and of an answer, and seconds for one answer."""

    context: int
    max_new_tokens: int
    seconds: float


@dataclass(frozen=True)
class Opened:
    """A chat whose models are loaded. judge: whose reward models score, empty for nobody's; threshold: below which
    safety score (a probability) they call an answer unsafe, 0 where the safety model knows no level."""

    chat: Chat
    judge: str
    threshold: float

    def told(self, said: Said) -> list[tuple[str, str]]:
        """What the reward models say of an answer: name and score, for people. With a level the safety score is the
        probability that it is safe, as the recipe compares it."""
        return [(axis, _score(axis, said.scores[axis], self.threshold)) for axis in AXES if axis in said.scores]


def named_model(name: str, run: tuple[RunConfig, Store] | None) -> Named:
    """The model that a name means: a folder where there is one of a model, else `V2`, `model/policy@V2`, or the
    beginning of a version. Raises InputError that tells what there is.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return _outside(name, folder, run)
    if run is None:
        raise InputError(f"{name}: there is no model in such a folder, and no run whose policy it could be")
    config, store = run
    if "/" in name and "@" not in name:
        raise InputError(f"{name}: no folder with a config.json; a policy of a run is V2 or model/policy@V2")
    if "@" in name:
        head = policy_head(store, name)
        return _inside(config, store, str(head.asset), head.version_id, head.asset.part)
    policies = {
        asset: head
        for asset, head in store.heads().items()
        if asset.kind == "model" and asset.name.startswith("policy")
    }
    parts = {asset.part: head for asset, head in policies.items() if asset.name == "policy"}
    if name in parts:
        return _inside(config, store, f"model/policy@{name}", parts[name].version_id, name)
    found = {}
    if len(name) >= _LEAST_VERSION:
        found = {h.version_id: a for a in policies for h in store.history(a) if h.version_id.startswith(name)}
    if len(found) == 1:
        ((version, asset),) = found.items()
        return _inside(config, store, f"{asset} ({version[:12]})", version, asset.part)
    there = ", ".join(sorted(parts)) or "none yet"
    raise InputError(
        f"{name}: no policy of {config.name} and no folder of a model; its parts with a policy: {there}"
        f"{did_you_mean(name, list(parts))}"
    )


def open_chat(
    models: Sequence[Named],
    run: tuple[RunConfig, Store] | None,
    limits: Limits,
    *,
    annotator: str | None,
    dtype: str = "float32",
    threads: int = 1,
    seed: int | None = None,
) -> Opened:
    """Load the models, and the reward models of the first one's iteration; who judges is looked up before.

    Raises InputError for an annotator under whose name nothing can be saved.
    """
    keeper, why_not = _keeper(models, run, annotator)
    loaded = Models(dtype, threads)
    rewards, judge, threshold = _rewards(models, run)
    judges = Judges(
        {axis: (loaded.reward(each.folder, each.base), loaded.renderer(each.folder)) for axis, each in rewards.items()},
        threads,
    )
    speakers = [
        FolderSpeaker(
            each.name,
            each.version,
            loaded.policy(each.folder, each.base),
            loaded.renderer(each.folder),
            judges,
            context=limits.context,
            max_new_tokens=limits.max_new_tokens,
            most_seconds=limits.seconds,
        )
        for each in models
    ]
    return Opened(Chat(speakers, keeper, why_not=why_not, seed=seed), judge, threshold)


def _inside(config: RunConfig, store: Store, name: str, version: str, part: str) -> Named:
    return Named(name, store.checkout(version), base_of(config, store, version), version, part)


def _outside(name: str, folder: Path, run: tuple[RunConfig, Store] | None) -> Named:
    base = None
    if (folder / "adapter_config.json").exists():
        base = run[0].base_model if run is not None and not run[0].trains_base else None
        if base is None:
            raise InputError(f"{name} is an adapter: name with --run a run whose base_model it stands on")
    return Named(name, folder, base, describe_source("source", folder).version_id, None)


def _rewards(models: Sequence[Named], run: tuple[RunConfig, Store] | None) -> tuple[Mapping[str, Named], str, float]:
    """The reward models by axis, whose they are, and the threshold of the safety model: of the iteration of the first
    model that has both. V0, which has none, is scored by the first iteration's."""
    parts = [each.part for each in models if each.part is not None]
    if run is None or not parts:
        return {}, "", 0.0
    config, store = run
    heads = store.heads()
    numbers = (f"V{number}" for number in range(1, config.iterations + 1))
    for part in (*parts, *numbers):
        assets = {axis: AssetName("model", f"reward-{axis}", part) for axis in AXES}
        if all(asset in heads for asset in assets.values()):
            found = {
                axis: _inside(config, store, str(asset), heads[asset].version_id, part)
                for axis, asset in assets.items()
            }
            threshold = threshold_of(found["safety"].folder, config.rejection.safety_threshold)
            return found, f"reward models of {part}", threshold
    return {}, "", 0.0


def _keeper(
    models: Sequence[Named], run: tuple[RunConfig, Store] | None, annotator: str | None
) -> tuple[Keeper | None, str]:
    """Who writes judgements down; None, and why, where nobody can."""
    if run is None:
        return None, "these models are of no run, so there is no annotation book"
    store = run[1]
    if is_read_only(store.root):
        return None, f"the store {store.root} can only be read"
    if annotator is None:
        return None, "say with --as who judges"
    prompts = [head for asset, head in store.heads().items() if (asset.kind, asset.name) == ("dataset", "prompts")]
    held_out = frozenset().union(*(texts(store.rows(head.version_id).to_pylist()) for head in prompts))

    def is_held_out(messages: Sequence[Message]) -> bool:
        return plain(messages) in held_out

    def withdrawn() -> list[str]:
        return [each.name for each in store.withdrawals() if each.what == "annotator"]

    part = next((each.part for each in models if each.part is not None), "V1")
    keeper = Keeper(Book.open(store.root), annotator, part, is_held_out, withdrawn)
    keeper.check()
    return keeper, ""


def _score(axis: str, value: float, threshold: float) -> str:
    if axis != "safety" or not threshold:
        return rate(value)
    safe = 1 / (1 + math.exp(-value)) if value > -700 else 0.0  # exp of more overflows
    return f"{rate(safe)}, unsafe" if safe < threshold else rate(safe)
