"""What is done with one shard, wherever that is: the same functions with the same arguments as without a cluster."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tasks.engine.on_ray.shards import Drawn, Model, Result, Shard

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from models.verdicts import VerdictTokens

_BATCHES = 16  # of rows of like length, which are read before others are looked at


def result_of(shard: Shard, opened: "Callable[[Model], nn.Module]") -> Result:
    """The responses or scores. Raises ValueError for a prompt that leaves no room in the context."""
    from models.devices import use_threads
    from models.generation import Request, sample
    from models.verdicts import VerdictTokens

    use_threads(shard.sampling.threads)
    models = [opened(each) for each in shard.models]
    if shard.verdict is not None:
        tokens = VerdictTokens(shard.verdict.before, shard.verdict.ids)
        odds = odds_of(models[0], shard.rows, tokens, shard.pad_id, shard.sampling.batch_size)
        return Result(scores=tuple((each,) for each in odds))
    if shard.rows:
        return Result(scores=tuple(scores_of(models, shard.rows, shard.pad_id, shard.sampling.batch_size)))
    requests = [Request(list(each.ids), each.temperatures, each.seed) for each in shard.prompts]
    drawn = sample(models[0], requests, shard.sampling, end_ids=shard.end_ids, pad_id=shard.pad_id)
    return Result(
        responses=tuple(
            tuple(Drawn(ids=tuple(r.ids), logprobs=tuple(r.logprobs), finished=r.finished) for r in responses)
            for responses in drawn
        )
    )


def open_model(model: Model, folder: "Path", base: "Path | None") -> "nn.Module":
    """As the step opens it."""
    from models.checkpoint import load_policy, load_reward

    return (load_reward if model.is_reward else load_policy)(folder, base, dtype=model.dtype)


def scores_of(
    models: "Sequence[nn.Module]",
    rows: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[tuple[float, ...]]:
    """Of each row the score by each model."""
    from models.scoring import score_rows

    def heard(before: int) -> Callable[[float], None]:
        return lambda done: on_progress((before + done) / len(models))

    columns = (score_rows(model, rows, pad_id, batch_size, heard(i)) for i, model in enumerate(models))
    return list(zip(*columns, strict=True))


def odds_of(
    judge: "nn.Module",
    rows: Sequence[Sequence[int]],
    tokens: "VerdictTokens",
    pad_id: int,
    batch_size: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[float]:
    """Of each row by how much the judge rather says the first of two letters next: see `models.verdicts.log_odds`."""
    from models.verdicts import log_odds

    found = list[float]()
    for start in range(0, len(rows), _BATCHES * batch_size):
        found += log_odds(judge, rows[start : start + _BATCHES * batch_size], tokens, pad_id, batch_size)
        on_progress(len(found) / len(rows))
    return found
