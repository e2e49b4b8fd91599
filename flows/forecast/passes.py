"""Passes through models by kind and size, and how many of them answering, scoring and training come to."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from models.config import SamplingConfig, TrainerConfig


@dataclass(frozen=True)
class Passes:
    """`count` passes of one kind («train», «read», «decode») by each of `processes` that work side by side. A pass has
    `rows` of `tokens`; of «decode» it is one new token a row, with `tokens` before it. `alive`: share of the rows that
    a pass still has in the mean, since an answer that ended leaves its batch. `context`: share of its row that a token
    is compared with; half of it where each sees what is before, all of it where a mask tells what. `spread`: the mean
    square of the rows' widths by the square of their mean. `head`: share of the tokens of which logits are computed;
    none where a reward is read."""

    kind: str
    count: float
    rows: float
    tokens: float
    processes: int = 1
    dtype: str = "float32"
    alive: float = 1.0
    head: float = 1.0
    context: float = 0.5
    spread: float = 1.0

    @property
    def mean_rows(self) -> float:
        """Rows of a pass in the mean."""
        return self.rows * self.alive

    @property
    def all_tokens(self) -> float:
        """Tokens of all passes of all processes."""
        return self.count * self.processes * self.mean_rows * (1 if self.kind == "decode" else self.tokens)


@dataclass(frozen=True)
class Spread:
    """How rows differ in length: those of some of them by their mean, ascending; none: all are alike."""

    ratios: tuple[float, ...] = ()

    def padded(self, rows: float, batches: int) -> tuple[float, float]:
        """Of rows that are read by length in batches of like size, each as wide as its longest: the mean width of a
        batch, by the mean length of a row, and the mean square of the widths by the square of their mean. The k-th of n
        rows has k / (n + 1) of all below it, in the mean."""
        if not self.ratios or not rows:
            return 1.0, 1.0
        last, widths = len(self.ratios) - 1, self.ratios
        if batches <= last:  # of more batches each is as wide as its rows
            places = (round((n + 1) * rows / batches / (rows + 1) * last) for n in range(batches))
            widths = tuple(self.ratios[place] for place in places)
        width = statistics.fmean(widths)
        return width, statistics.fmean(each * each for each in widths) / width**2


ALIKE = Spread()


def spread_of(lengths: Iterable[float]) -> Spread:
    """Of a sample of rows."""
    ordered = sorted(lengths)
    mean = statistics.fmean(ordered) if ordered else 0.0
    return Spread(tuple(each / mean for each in ordered)) if mean else Spread()


@dataclass(frozen=True)
class Work:
    """Of one step: its passes, how many models it trains and holds beside them, whether the base gets gradients, and
    rows that are read and written without a model (`records`), with `characters` together."""

    passes: tuple[Passes, ...] = ()
    trained: int = 0
    read: int = 0
    checkpointing: bool = False
    records: float = 0.0
    characters: float = 0.0
    models: int = 0
    """Models that it writes."""
    shards: int = 1
    """Processes over which what is trained is spread."""
    processes: int = 1
    """Processes that share what is done without a model."""
    judge: Path | None = None
    """The folder of the model that computes, where it is none of the run's."""


def answering(
    sampling: SamplingConfig, rows: float, prompt: float, answer: float, spread: Spread, to_each: int = 1
) -> tuple[Passes, ...]:
    """Drawing answers, `to_each` prompt so many: prompts are read, then a token a pass until the longest answer of a
    batch, taken to be one that is cut, has ended."""
    each = math.ceil(rows / sampling.shards)
    batches = math.ceil(each / sampling.batch_size)
    together = each / max(batches, 1)
    reading = Passes("read", batches, together / to_each, prompt, sampling.shards, sampling.dtype, head=0.0)
    reading = padded(reading, spread, batches)
    return reading, decoding(sampling, batches, together, prompt, answer, sampling.shards)


def decoding(
    sampling: SamplingConfig, batches: float, rows: float, prompt: float, answer: float, processes: int
) -> Passes:
    """The tokens of answers: in each pass those that have not ended, which is the mean answer by the limit of all."""
    limit = sampling.max_new_tokens
    said = min(answer, limit)
    return Passes("decode", batches * limit, rows, prompt + said, processes, sampling.dtype, said / limit)


def scoring(
    sampling: SamplingConfig, rows: float, tokens: float, models: int, spread: Spread, head: float = 0.0
) -> Passes:
    """Whole dialogues under reward models, or under `models` that give logits of a share of the tokens."""
    each = math.ceil(rows / sampling.shards)
    batches = math.ceil(each / sampling.batch_size)
    count, together = batches * models, each / max(batches, 1)
    found = Passes("read", count, together, tokens, sampling.shards, sampling.dtype, head=head)
    return padded(found, spread, batches)


def scoring_pairs(sampling: SamplingConfig, pairs: float, tokens: float, models: int, spread: Spread) -> Passes:
    """Both answers of pairs under reward models: a tree of `tokens` each."""
    each = math.ceil(pairs / sampling.shards)
    batches = math.ceil(2 * each / sampling.batch_size)
    count, together = batches * models, each / max(batches, 1)
    found = Passes("read", count, together, tokens, sampling.shards, sampling.dtype, head=0.0, context=1.0)
    return padded(found, spread, batches)


def training(config: TrainerConfig, rows: float, epochs: float, tokens: float) -> Passes:
    """Optimizer steps over `rows` of `tokens` of a data set."""
    batch = config.pass_rows * config.accumulation_steps * config.processes
    steps = math.ceil(max(rows, 1) * epochs / batch)
    passes = steps * config.accumulation_steps
    return Passes("train", passes, config.pass_rows, tokens, config.processes, config.dtype)


def training_on_pairs(
    config: TrainerConfig, pairs: float, epochs: float, tokens: float, spread: Spread, *, head: float = 0.0
) -> Passes:
    """The same over pairs, each a tree of `tokens`."""
    return filled(replace(training(config, pairs, epochs, tokens), head=head, context=1.0), spread)


def filled(passes: Passes, spread: Spread) -> Passes:
    """The same where what is short stands in one row with others: as wide as the longest of its batch, and fewer."""
    width, _ = spread.padded(passes.rows, 1)
    return replace(passes, rows=passes.rows / width, tokens=passes.tokens * width)


def padded(passes: Passes, spread: Spread, batches: int) -> Passes:
    """The same, each batch of rows of like length as wide as the longest of them; `batches`: of each time that the rows
    are read."""
    width, square = spread.padded(passes.rows * batches, batches)
    return replace(passes, tokens=passes.tokens * width, spread=square)
