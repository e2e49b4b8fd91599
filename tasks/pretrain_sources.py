"""The sources of a mix: which documents are whose, their tokens, and what became of each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from heapq import heappush, heappushpop
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.figures import figure
from models.algorithms.intervals import jackknife_interval
from models.config import PretrainConfig
from models.mix_config import MixConfig
from models.seeds import derive_seed
from tasks.engine.step import StepRun

if TYPE_CHECKING:
    from models.dialogue import Renderer
    from models.training.mix import MixedRows

OF_SOURCES = ("documents", "tokens", "trained_tokens", "epochs", "heldout_loss")
"""What is measured of each source, under OF/NAME."""


@dataclass(frozen=True)
class Sources:
    """The rows of a training, and the held-out documents of each source as token ids."""

    rows: "MixedRows"
    names: Sequence[str]
    heldout: Sequence[Sequence[list[int]]]

    def measured(self, model: Path, training: PretrainConfig) -> dict[str, float | Estimate]:
        """Documents and tokens of each source, tokens that were read of it, epochs, and the model's loss on what was
        held out of it, in nats per token."""
        from models.checkpoint import load_policy
        from models.training.heldout_loss import losses

        policy = load_policy(model, dtype=training.dtype)
        found: dict[str, float | Estimate] = {}
        read = self.rows.schedule.counts()
        for number, (name, documents) in enumerate(zip(self.names, self.heldout, strict=True)):
            stream = self.rows.streams[number]
            trained = read[number] * stream.size
            found |= {
                f"documents/{name}": float(len(stream.tokens)),
                f"tokens/{name}": float(stream.tokens.total),
                f"trained_tokens/{name}": float(trained),
                f"epochs/{name}": trained / stream.tokens.total,
            }
            if documents:
                found[f"heldout_loss/{name}"] = loss_per_token(losses(policy, documents, training.sequence_length))
        return found

    def table(self, measured: Mapping[str, float | Estimate]) -> list[dict[str, Any]]:
        """A line for each source, for people."""
        lines = []
        for name in self.names:
            line: dict[str, Any] = {"source": name}
            for what in OF_SOURCES:
                value = measured.get(f"{what}/{name}")
                line[what] = figure(value.value if isinstance(value, Estimate) else value)
                if isinstance(value, Estimate):
                    line["held-out documents"] = value.n
            lines.append(line)
        return lines


def open_sources(run: StepRun, mix: MixConfig, renderer: "Renderer", training: PretrainConfig) -> Sources:
    """Deal the documents of the corpus out to the sources, and lay out what is read. Raises InputError for a file that
    no source holds, a source that holds none, and one that would be read more often than the mix allows."""
    from models.training.mix import MixedRows, Schedule, Stream
    from models.training.token_files import write_tokens

    apart = _held_out(run, mix)
    kept_out = {doc_id for documents in apart for doc_id in documents}

    def trained_on() -> Iterator[tuple[int, str]]:
        return ((number, row["text"]) for number, row in _documents(run, mix) if row["doc_id"] not in kept_out)

    numbers, texts = (number for number, _ in trained_on()), (text for _, text in trained_on())
    folders = [run.work / "tokens" / source.name for source in mix.sources]
    files = write_tokens(zip(numbers, renderer.documents(texts), strict=True), folders)
    for source, tokens in zip(mix.sources, files, strict=True):
        if not tokens.total:
            names = ", ".join(source.files)
            raise InputError(
                f"mix.sources: {source.name} has no document to train on: no file of the corpus fits {names}"
            )
    rows = training.batch_size * training.max_steps
    turn = rows - round(rows * mix.annealed_share)
    weights = [source.weight for source in mix.sources]
    schedule = Schedule(rows, weights, mix.annealed_weights, turn)
    for source, tokens, read in zip(mix.sources, files, schedule.counts(), strict=True):
        epochs = read * training.sequence_length / tokens.total
        if epochs > mix.max_epochs:
            raise InputError(
                f"mix.sources: {source.name} would be read {figure(epochs, 3)} times, and mix.max_epochs is "
                f"{figure(mix.max_epochs)}: lower its weight or pretrain.max_steps, give it more text, or raise "
                "the bound"
            )
    seeds = [derive_seed(run.seed, source.name) for source in mix.sources]
    streams = [Stream(tokens, training.sequence_length, seed) for tokens, seed in zip(files, seeds, strict=True)]
    heldout = [list(renderer.documents(each.values())) for each in apart]
    return Sources(MixedRows(schedule, streams), [source.name for source in mix.sources], heldout)


def loss_per_token(of: Sequence[tuple[float, int]]) -> Estimate:
    """Mean loss of all tokens of some documents, each given as (summed loss in nats, tokens); the interval is over
    documents, by the jackknife. n counts documents."""
    total, tokens = sum(loss for loss, _ in of), sum(count for _, count in of)
    value = total / tokens
    if len(of) < 2:
        return Estimate(value, len(of))
    low, high = jackknife_interval(value, [(total - loss) / (tokens - count) for loss, count in of])
    return Estimate(value, len(of), low, high)


def _documents(run: StepRun, mix: MixConfig) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every document of the corpus with the number of its source."""
    known: dict[str, int] = {}
    for rows in run.batches("corpus", 256):
        for row in rows:
            file = row["source"].rpartition(":")[0] or row["source"]
            if file not in known:
                known[file] = _source_of(file, mix)
            yield known[file], row


def _source_of(file: str, mix: MixConfig) -> int:
    for number, source in enumerate(mix.sources):
        if any(fnmatchcase(file, pattern) for pattern in source.files):
            return number
    raise InputError(f"mix.sources: no source holds {file}: name it in the files of one")


def _held_out(run: StepRun, mix: MixConfig) -> list[dict[str, str]]:
    """Of each source the documents that nothing trains on, by id: those with the lowest hashes of their texts, as many
    as the mix says, at least one of several. No more than these are held."""
    lowest: list[list[tuple[int, str, str]]] = [[] for _ in mix.sources]
    counts = [0] * len(lowest)
    for number, row in _documents(run, mix):
        counts[number] += 1
        entry = (-int(text_hash(row["text"])[:16], 16), row["doc_id"], row["text"])  # the heap gives up its least
        if len(lowest[number]) < mix.heldout_documents:
            heappush(lowest[number], entry)
        else:
            heappushpop(lowest[number], entry)
    shares = [math.ceil(count * mix.heldout_percent / 100) if count > 1 else 0 for count in counts]
    return [
        {doc_id: text for _, doc_id, text in sorted(entries, reverse=True)[:share]}
        for entries, share in zip(lowest, shares, strict=True)
    ]
