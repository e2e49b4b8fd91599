"""The row of the corpus filter."""

from data_store.corpus.registry import FilterConfig
from flows.recipe.conditions import trains_base
from flows.recipe.places import Place, Row, here, only
from flows.recipe.quality_row import QUALITY
from flows.recipe.resources_config import DEFAULT
from tasks.filter_corpus import filter_corpus


def _filtering(at: Place) -> FilterConfig:
    """Without the number of processes, which decides nothing."""
    return FilterConfig(**only(FilterConfig, at.config.filter))


def _processes(at: Place) -> int | None:
    """As the section says. Where it says nothing, a worker of Ray's has the processors that it was asked for, and no
    others."""
    resources = at.config.resources
    where = resources.get(filter_corpus.name, resources.get(DEFAULT))
    if at.config.filter.processes is None and where is not None and where.ray is not None:
        return max(1, int(where.cpus or 1))
    return at.config.filter.processes


FILTER_ROW = Row(
    filter_corpus,
    _filtering,
    {"documents": here("dataset/raw-documents"), "quality": QUALITY},
    {"corpus": "corpus", "dropped": "dropped", "counts": "corpus-counts", "examples": "dropped-examples"},
    when=trains_base,
    processes=_processes,
)
