"""The sources of a mix: which documents are whose, their tokens, and what became of each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from models.mix_config import MixConfig, SourceFiles
from models.seeds import derive_seed
from tasks.engine.step import StepRun

if TYPE_CHECKING:
    from models.dialogue import Renderer
    from models.training.mix import MixedRows

_BEFORE = "heldout_loss_before"
_BY_CHARACTER = "_per_character"
_TRAINED = ("documents", "tokens", "trained_tokens", "epochs")
_LOSSES = (_BEFORE, "heldout_loss")
OF_SOURCES = (*_TRAINED, *_LOSSES, *(f"{each}{_BY_CHARACTER}" for each in _LOSSES))
"""What is measured of each source, under OF/NAME."""


def measures(mix: MixConfig, *, goes_on: bool, extended: bool = False) -> Iterator[str]:
    """The figures of a mix: of a source that nothing trains on its losses alone; those before where the training goes
    on from a model that exists; those by character where its tokenizer is `extended`, so that tokens are others."""
    losses: tuple[str, ...] = _LOSSES if goes_on else _LOSSES[1:]
    losses += tuple(f"{each}{_BY_CHARACTER}" for each in losses) if extended else ()
    for source in mix.sources:
        yield from (f"{what}/{source.name}" for what in (_TRAINED if source.weight else ()) + losses)


@dataclass(frozen=True)
class Sources:
    """The rows of a training, the names of the sources that they are of, and the held-out documents of every source
    as token ids; with a tokenizer that was extended, as those of the tokenizer before, too, and their characters."""

    rows: "MixedRows"
    trained: Sequence[str]
    heldout: Mapping[str, Sequence[list[int]]]
    heldout_before: Mapping[str, Sequence[list[int]]] | None = None
    characters: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def measured(self, model: Path, training: PretrainConfig, before: Path | None = None) -> dict[str, Any]:
        """Documents and tokens of each source, tokens that were read of it, epochs, and the model's loss on what was
        held out of it, in nats per token; the same of the model that the training went on from, where there is one."""
        found: dict[str, float | Estimate] = {}
        for name, stream, read in zip(self.trained, self.rows.streams, self.rows.schedule.counts(), strict=True):
            trained = read * stream.size
            numbers = len(stream.tokens), stream.tokens.total, trained, trained / stream.tokens.total
            found |= {f"{what}/{name}": float(number) for what, number in zip(_TRAINED, numbers, strict=True)}
        if before is not None:
            found |= self._losses(_BEFORE, before, self.heldout_before or self.heldout, training)
        return found | self._losses("heldout_loss", model, self.heldout, training)

    def _losses(
        self, what: str, model: Path, heldout: Mapping[str, Sequence[list[int]]], training: PretrainConfig
    ) -> dict[str, Estimate]:
        from models.checkpoint import load_policy
        from models.training.heldout_loss import losses

        policy = load_policy(model, dtype=training.dtype)
        found = {}
        for name, documents in heldout.items():
            if documents:
                of = losses(policy, documents, training.sequence_length)
                found[f"{what}/{name}"] = loss_per_token(of)
                if self.heldout_before is not None:
                    pairs = zip(of, self.characters[name], strict=True)
                    by_character = loss_per_token([(loss, characters) for (loss, _), characters in pairs])
                    found[f"{what}{_BY_CHARACTER}/{name}"] = by_character
        return found

    def table(self, measured: Mapping[str, float | Estimate]) -> list[dict[str, Any]]:
        """A line for each source, for people."""
        lines = []
        shown = [what for what in OF_SOURCES if any(key.startswith(f"{what}/") for key in measured)]
        for name in self.heldout:
            line: dict[str, Any] = {"source": name}
            for what in shown:
                value = measured.get(f"{what}/{name}")
                line[what] = figure(value.value if isinstance(value, Estimate) else value)
                if isinstance(value, Estimate):
                    line["held-out documents"] = value.n
            lines.append(line)
        return lines


def open_sources(
    run: StepRun,
    mix: MixConfig,
    renderer: "Renderer",
    training: PretrainConfig,
    before: "Renderer | None" = None,
) -> Sources:
    """Deal the documents of the corpus out to the sources, and lay out what is read: the tokens of those that are
    trained on. Raises InputError for a file that no source holds, a source that holds none, and one that would be read
    more often than the mix allows. `before`: of the model that the training goes on from."""
    from models.training.mix import MixedRows, Schedule, Stream
    from models.training.token_files import write_tokens

    apart = _held_out(run, mix)
    for source, documents in zip(mix.sources, apart, strict=True):
        if not source.weight and not documents:
            raise InputError(f"mix.sources: {source.name} has no document to measure: {_none_fits(source)}")
    kept_out = {doc_id for documents in apart for doc_id in documents}
    places = {source.name: place for place, source in enumerate(mix.trained)}

    def trained_on() -> Iterator[tuple[int, str]]:
        for number, row in documents_of(run, mix.sources):
            if mix.sources[number].weight and row["doc_id"] not in kept_out:
                yield places[mix.sources[number].name], row["text"]

    numbers, texts = (number for number, _ in trained_on()), (text for _, text in trained_on())
    folders = [run.work / "tokens" / source.name for source in mix.trained]
    files = write_tokens(zip(numbers, renderer.documents(texts), strict=True), folders)
    for source, tokens in zip(mix.trained, files, strict=True):
        if not tokens.total:
            raise InputError(f"mix.sources: {source.name} has no document to train on: {_none_fits(source)}")
    rows = training.batch_size * training.max_steps
    turn = rows - round(rows * mix.annealed_share)
    weights = [source.weight for source in mix.trained]
    schedule = Schedule(rows, weights, mix.annealed_weights, turn)
    for source, tokens, read in zip(mix.trained, files, schedule.counts(), strict=True):
        epochs = read * training.sequence_length / tokens.total
        if epochs > mix.max_epochs:
            raise InputError(
                f"mix.sources: {source.name} has {figure(len(tokens))} documents of {figure(tokens.total)} tokens to "
                f"train on and would be read {figure(epochs, 3)} times, and mix.max_epochs is "
                f"{figure(mix.max_epochs)}: lower its weight or pretrain.max_steps, give it more text, or raise "
                "the bound; what the filter dropped of each file stands in filter_corpus's table of sources"
            )
    seeds = [derive_seed(run.seed, source.name) for source in mix.trained]
    streams = [Stream(tokens, training.sequence_length, seed) for tokens, seed in zip(files, seeds, strict=True)]
    heldout = {
        source.name: list(renderer.documents(documents.values()))
        for source, documents in zip(mix.sources, apart, strict=True)
    }
    rows_of = MixedRows(schedule, streams)
    if before is None or before.identity == renderer.identity:
        return Sources(rows_of, list(places), heldout)
    held_out = {source.name: list(documents.values()) for source, documents in zip(mix.sources, apart, strict=True)}
    return Sources(
        rows_of,
        list(places),
        heldout,
        {name: list(before.documents(each)) for name, each in held_out.items()},
        {name: [len(text) for text in each] for name, each in held_out.items()},
    )


def loss_per_token(of: Sequence[tuple[float, int]]) -> Estimate:
    """Mean loss of all tokens of some documents, each given as (summed loss in nats, tokens); the interval is over
    documents, by the jackknife. n counts documents."""
    total, tokens = sum(loss for loss, _ in of), sum(count for _, count in of)
    value = total / tokens
    if len(of) < 2:
        return Estimate(value, len(of))
    low, high = jackknife_interval(value, [(total - loss) / (tokens - count) for loss, count in of])
    return Estimate(value, len(of), low, high)


def _none_fits(source: SourceFiles) -> str:
    return f"no file of the corpus fits {', '.join(source.files)}"


def documents_of(run: StepRun, sources: Sequence[SourceFiles]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every document of the corpus with the number of its source. Raises InputError for a file that is of none."""
    known: dict[str, int] = {}
    for rows in run.batches("corpus", 256):
        for row in rows:
            file = row["source"].rpartition(":")[0] or row["source"]
            if file not in known:
                known[file] = source_of(file, sources)
            yield known[file], row


def faults_of_mix(sources: Sequence[SourceFiles], files: Sequence[str]) -> list[str]:
    """What would stop a training on files of these names, each said once, before one of them is read: a file that no
    source holds, a source that holds no file."""
    faults, held = list[str](), set[int]()
    for file in files:
        try:
            held.add(source_of(file, sources))
        except InputError as error:
            faults.append(str(error))
    for number, source in enumerate(sources):
        if number not in held:
            there = ", ".join(files)
            faults.append(
                f"mix.sources: {source.name} has no document: {_none_fits(source)} that no source before it holds; "
                f"the files are {there}"
            )
    return faults


def source_of(file: str, sources: Sequence[SourceFiles]) -> int:
    """The number of the first source that holds a file. Raises InputError where none does."""
    for number, source in enumerate(sources):
        if any(fnmatchcase(file, pattern) for pattern in source.files):
            return number
    raise InputError(f"mix.sources: no source holds {file}: name it in the files of one")


def _held_out(run: StepRun, mix: MixConfig) -> list[dict[str, str]]:
    """Of each source the documents that nothing trains on, by id: those with the lowest hashes of their texts, as many
    as the mix says, at least one of several; of a source that nothing trains on all, up to the most that the mix says.
    No more than these are held."""
    lowest: list[list[tuple[int, str, str]]] = [[] for _ in mix.sources]
    counts = [0] * len(lowest)
    for number, row in documents_of(run, mix.sources):
        counts[number] += 1
        entry = (-int(text_hash(row["text"])[:16], 16), row["doc_id"], row["text"])  # the heap gives up its least
        if len(lowest[number]) < mix.heldout_documents:
            heappush(lowest[number], entry)
        else:
            heappushpop(lowest[number], entry)
    shares = [
        count if not source.weight else math.ceil(count * mix.heldout_percent / 100) if count > 1 else 0
        for source, count in zip(mix.sources, counts, strict=True)
    ]
    return [
        {doc_id: text for _, doc_id, text in sorted(entries, reverse=True)[:share]}
        for entries, share in zip(lowest, shares, strict=True)
    ]
