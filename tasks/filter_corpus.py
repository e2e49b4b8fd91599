"""The corpus filter: every dropped document has one named, counted reason."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from data_store.corpus.filtering import Example, SourceCounts, filter_documents
from data_store.corpus.registry import CHANGED, REASONS, FilterConfig
from data_store.figures import percent
from tasks.engine.step import Input, Output, StepRun, step

_ROWS_AT_ONCE = 64  # of a million characters each they are what the filter may hold


@step(
    version=3,
    config=FilterConfig,
    inputs={"documents": Input("dataset", "document")},
    outputs={
        "corpus": Output("dataset", "document", passes_on=("documents",)),
        "dropped": Output("dataset", "dropped"),
        "counts": Output("dataset", "corpus_stage"),
        "examples": Output("dataset", "dropped_example"),
    },
    metrics=(
        "documents",
        "kept",
        *(f"dropped/{reason}" for reason in REASONS),
        *(f"changed/{what}" for what in CHANGED),
    ),
    headline="kept",
    about="Mends and filters the corpus; every dropped document has a counted reason.",
    tags=("foundation",),
)
def filter_corpus(run: StepRun, config: FilterConfig) -> Mapping[str, float]:
    """Keep what is fit for pretraining; write what was dropped, and why, beside it."""
    with run.writing_rows("corpus") as keep, run.writing_rows("dropped") as drop:

        def write(kept: pa.Table, dropped: pa.Table) -> None:
            keep(kept)
            drop(dropped)

        counts = filter_documents(run.record_batches("documents", _ROWS_AT_ONCE), config, write)
    run.table(
        "dropped",
        [
            {"reason": reason, "documents": count, "share": percent(count / counts.documents, 2)}
            for reason, count in counts.dropped.items()
            if count
        ],
    )
    run.write_rows("counts", [row for name, of in counts.sources.items() for row in _stages(name, of)])
    run.write_rows("examples", [vars(each) for each in counts.examples])
    run.table("sources", [_source(name, of) for name, of in counts.sources.items()])
    run.table("examples", [_example(each) for each in sorted(counts.examples, key=lambda each: each.reason)])
    return {
        "documents": float(counts.documents),
        "kept": float(counts.kept),
        **{f"dropped/{reason}": float(count) for reason, count in counts.dropped.items()},
        **{f"changed/{what}": float(count) for what, count in counts.changed.items()},
    }


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


def _stages(name: str, of: SourceCounts) -> Iterator[dict[str, Any]]:
    """How many documents and characters of a file each stage was given, and left."""
    for place, (stage, documents, characters) in enumerate(of.stages()):
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
