"""Drawing, scoring and rendering responses for steps: the glue between rows and token ids."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config import SamplingConfig
from models.seeds import derive_seed

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer
    from models.generation import Response

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Drawn:
    """One response as text, with what PPO and the catalog want to know of it."""

    text: str
    ids: list[int]
    finished: bool


def open_renderer(folder: Path) -> "Renderer":
    """The renderer of a checkpoint's or tokenizer's folder."""
    from models.dialogue import Renderer
    from models.tokenizer import load_tokenizer

    return Renderer(load_tokenizer(folder))


def draw(
    policy: "nn.Module",
    renderer: "Renderer",
    dialogues: Sequence[Messages],
    config: SamplingConfig,
    *,
    temperature: float,
    num_samples: int,
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> list[list[Drawn]]:
    """`num_samples` responses for each dialogue that ends with the user's turn."""
    from models.devices import use_threads
    from models.generation import sample
    from models.shards import map_shards

    use_threads(config.threads)
    prompts = [renderer.prompt(messages) for messages in dialogues]
    at = config.model_copy(update={"temperature": temperature})

    def part(rows: Sequence[list[int]], shard: int) -> "list[list[Response]]":
        return sample(
            policy,
            rows,
            at,
            num_samples=num_samples,
            eos_id=renderer.eos_id,
            pad_id=renderer.pad_id,
            seed=derive_seed(seed, "shard", shard),
            on_progress=on_progress if on_progress and shard == 0 else _unheard,
        )

    return [
        [Drawn(renderer.response(r.ids), r.ids, r.finished) for r in responses]
        for responses in map_shards(part, prompts, config.shards)
    ]


def _unheard(_: float) -> None:
    """One shard speaks for all."""


def score(
    models: Sequence["nn.Module"], renderer: "Renderer", dialogues: Sequence[Messages], config: SamplingConfig
) -> list[tuple[float, ...]]:
    """Raw reward scores of whole dialogues, one per model, in order."""
    from models.devices import use_threads
    from models.prefix_tree import Group, row_cost, share_prefixes
    from models.scoring import score_rows
    from models.shards import map_shards

    use_threads(config.threads)
    rows = [renderer.dialogue(messages).input_ids for messages in dialogues]
    if not rows:
        return []
    groups = share_prefixes(rows, row_cost(models[0]), config.batch_size)  # a shard gets whole groups

    def part(mine: Sequence[Group], _: int) -> list[list[tuple[float, ...]]]:
        chosen = [rows[i] for group in mine for i in group.members]
        columns = [score_rows(model, chosen, renderer.pad_id, config.batch_size) for model in models]
        scores = zip(*columns, strict=True)
        return [[next(scores) for _ in group.members] for group in mine]

    found: dict[int, tuple[float, ...]] = {}
    for group, scores in zip(groups, map_shards(part, groups, config.shards), strict=True):
        found |= zip(group.members, scores, strict=True)
    return [found[i] for i in range(len(rows))]


def answered(messages: Messages, response: str) -> list[dict[str, str]]:
    """The dialogue with one more assistant turn."""
    return [*map(dict, messages), {"role": "assistant", "content": response}]


def row_id(*parts: Any) -> str:
    """A short id that depends on nothing but its parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:24]


def is_held_out(prompt_id: str, percent: int) -> bool:
    """Whether a prompt's pairs are kept from training. By prompt, so that no pair of it is on both sides."""
    return int(hashlib.sha256(prompt_id.encode()).hexdigest()[:8], 16) % 100 < percent
