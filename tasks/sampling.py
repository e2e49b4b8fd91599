"""Drawing and scoring answers for steps, on the shards that the config asks for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from models.config import SamplingConfig
from models.seeds import derive_seed
from tasks.answers import Dialogue, Drawn, Messages, dialogue_ids

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer
    from models.generation import Response


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
            end_ids=renderer.end_ids,
            pad_id=renderer.pad_id,
            seed=derive_seed(seed, "shard", shard),
            on_progress=on_progress if on_progress and shard == 0 else _unheard,
        )

    return [
        [
            Drawn(renderer.response(r.ids), r.ids, r.finished, renderer.identity, f"answer {k} to prompt {i}")
            for k, r in enumerate(responses)
        ]
        for i, responses in enumerate(map_shards(part, prompts, config.shards))
    ]


def _unheard(_: float) -> None:
    """One shard speaks for all."""


def score(
    models: Sequence["nn.Module"], renderer: "Renderer", dialogues: Sequence[Dialogue], config: SamplingConfig
) -> list[tuple[float, ...]]:
    """Raw reward scores of whole dialogues, one per model, in order. Of a cut answer no end is read."""
    from models.devices import use_threads
    from models.prefix_tree import Group, row_cost, share_prefixes
    from models.scoring import score_rows
    from models.shards import map_shards

    use_threads(config.threads)
    rows = [dialogue_ids(renderer, messages, answer).input_ids for messages, answer in dialogues]
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
