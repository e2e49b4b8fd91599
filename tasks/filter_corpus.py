"""The corpus filter: every dropped document has one named, counted reason."""

from collections.abc import Mapping

from data_store.corpus.filtering import filter_documents
from data_store.corpus.registry import REASONS, FilterConfig
from data_store.figures import percent
from tasks.engine.step import Input, Output, StepRun, step


@step(
    version=1,
    config=FilterConfig,
    inputs={"documents": Input("dataset", "document")},
    outputs={
        "corpus": Output("dataset", "document", passes_on=("documents",)),
        "dropped": Output("dataset", "dropped"),
    },
    metrics=("documents", "kept", *(f"dropped/{reason}" for reason in REASONS)),
    headline="kept",
    about="Filters the corpus; every dropped document has a counted reason.",
    tags=("foundation",),
)
def filter_corpus(run: StepRun, config: FilterConfig) -> Mapping[str, float]:
    """Keep what is fit for pretraining; write what was dropped, and why, beside it."""
    documents = run.rows("documents")
    result = filter_documents(documents, config)
    run.write_rows("corpus", result.kept)
    run.write_rows("dropped", result.dropped)
    run.table(
        "dropped",
        [
            {"reason": reason, "documents": count, "share": percent(count / len(documents), 2)}
            for reason, count in result.counts.items()
            if count
        ],
    )
    return {
        "documents": float(len(documents)),
        "kept": float(len(result.kept)),
        **{f"dropped/{reason}": float(count) for reason, count in result.counts.items()},
    }
