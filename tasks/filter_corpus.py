"""The corpus filter: every dropped document has one named, counted reason."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from data_store.corpus.counts import Example, FilterCounts, SourceCounts
from data_store.corpus.filtering import filter_documents, processes_for
from data_store.corpus.quality import LOW_QUALITY, QualityJudge
from data_store.corpus.registry import CHANGED, REASONS, FilterConfig
from data_store.figures import figure, percent
from tasks.engine.call import StepCall
from tasks.engine.step import Input, Output, StepRun, step

_ROWS_AT_ONCE = 64  # of a million characters each they are what the filter may hold


_FEW, _MOST_TOLD = 20, 5
_ALWAYS = (
    "documents",
    "kept",
    *(f"dropped/{reason}" for reason in REASONS),
    *(f"changed/{what}" for what in CHANGED),
)
_OF_QUALITY = (f"dropped/{LOW_QUALITY}", "quality_left_alone")


def _metrics(call: StepCall) -> tuple[str, ...]:
    return (*_ALWAYS, *(_OF_QUALITY if call.inputs.get("quality") else ()))


@step(
    version=5,
    config=FilterConfig,
    inputs={"documents": Input("dataset", "document"), "quality": Input("classifier", optional=True)},
    outputs={
        "corpus": Output("dataset", "document", passes_on=("documents",)),
        "dropped": Output("dataset", "dropped"),
        "counts": Output("dataset", "corpus_stage"),
        "examples": Output("dataset", "dropped_example"),
    },
    metrics=_metrics,
    headline="kept",
    about="Mends and filters the corpus; every dropped document has a counted reason.",
    tags=("foundation",),
)
def filter_corpus(run: StepRun, config: FilterConfig) -> Mapping[str, float]:
    """Keep what is fit for pretraining; write what was dropped, and why, beside it."""
    quality = _open_quality(run)
    done, all_documents = 0, len(run.each_row("documents"))
    with run.writing_rows("corpus") as keep, run.writing_rows("dropped") as drop:

        def write(kept: pa.Table, dropped: pa.Table) -> None:
            nonlocal done
            keep(kept)
            drop(dropped)
            done += len(kept) + len(dropped)
            run.progress(done / all_documents, f"{figure(done)} of {figure(all_documents)} documents")

        rows = run.record_batches("documents", _ROWS_AT_ONCE)
        processes = processes_for(run.processes, config)
        # a step that is killed leaves what lies there, and the next one that ends well takes it away
        counts = filter_documents(rows, config, write, quality, processes, run.work)
    run.table(
        "dropped",
        [
            {"reason": reason, "documents": count, "share": percent(count / counts.documents, 2)}
            for reason, count in counts.dropped.items()
            if count
        ],
    )
    run.write_rows("counts", [row for name, of in counts.sources.items() for row in _stages(name, of, counts.dropped)])
    run.write_rows("examples", [vars(each) for each in counts.examples])
    run.table("sources", [_source(name, of) for name, of in counts.sources.items()])
    _tell_losses(run, counts.sources)
    run.table("examples", [_example(each) for each in sorted(counts.examples, key=lambda each: each.reason)])
    return {
        "documents": float(counts.documents),
        "kept": float(counts.kept),
        **{f"dropped/{reason}": float(count) for reason, count in counts.dropped.items()},
        **{f"changed/{what}": float(count) for what, count in counts.changed.items()},
        **({} if quality is None else {"quality_left_alone": float(_tell_left_alone(run, counts))}),
    }


def _open_quality(run: StepRun) -> QualityJudge | None:
    folder = run.optional_path("quality")
    if folder is None:
        return None
    from models.devices import use_threads
    from tasks.train_quality_classifier import open_judge

    use_threads(1)
    return open_judge(folder)


def _tell_left_alone(run: StepRun, counts: FilterCounts) -> int:
    """How many documents no classifier was asked about."""
    found = counts.left_alone
    if found:
        told = ", ".join(f"{language} {figure(count)}" for language, count in found.most_common(8))
        run.note(f"quality: no classifier for {figure(found.total())} documents, which are left alone: {told}")
    run.table("languages", [{"language": name, "documents": count} for name, count in found.most_common()])
    return found.total()


def _tell_losses(run: StepRun, sources: Mapping[str, SourceCounts]) -> None:
    """Which files lost most of their documents, and to which rules: such a file is seldom meant for this config."""
    lost = [(name, of) for name, of in sources.items() if of.documents >= _FEW and 2 * of.kept < of.documents]
    for name, of in lost[:_MOST_TOLD]:
        why = ", ".join(f"{reason} {figure(count)}" for reason, count in of.dropped.most_common(3))
        run.note(f"{name}: {figure(of.kept)} of {figure(of.documents)} documents are kept ({why})")
    if len(lost) > _MOST_TOLD:
        run.note(f"{len(lost) - _MOST_TOLD} more files lost most of their documents: see the table of sources")


def _source(name: str, of: SourceCounts) -> dict[str, Any]:
    """What became of a file."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in of.dropped.most_common())
    return {
        "file": name,
        "documents": of.documents,
        "kept": of.kept,
        "characters": of.characters,
        "kept characters": of.kept_characters,
        "dropped": reasons or "none",
    }


def _stages(name: str, of: SourceCounts, reasons: Iterable[str]) -> Iterator[dict[str, Any]]:
    """How many documents and characters of a file each stage was given, and left."""
    for place, (stage, documents, characters) in enumerate(of.stages(reasons)):
        yield {
            "source": name,
            "place": place,
            "stage": stage,
            "documents_before": documents[0],
            "documents_after": documents[1],
            "characters_before": characters[0],
            "characters_after": characters[1],
        }


def _example(of: Example) -> dict[str, Any]:
    return {"judged by": f"{of.reason}, {of.detail}", "from": of.doc_id, "begins": of.beginning}
