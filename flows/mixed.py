"""What the corpus filter has left of the sources of a mix."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.corpus.counts import OTHER_SOURCES
from data_store.errors import InputError
from data_store.figures import figure
from data_store.names import AssetName
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.places import FOUNDATION
from models.mix_config import SourceFiles
from tasks.engine.call import StepCall
from tasks.pretrain_sources import source_of

_COUNTS = AssetName("dataset", "corpus-counts", FOUNDATION)


def check_filtered(store: Store, config: RunConfig, call: StepCall) -> None:
    """Raises InputError where the step would learn from a corpus of which the filter has left a source of the mix
    nothing."""
    if config.mix is None or "corpus" not in call.inputs or not call.outputs.keys() & {"tokenizer", "base"}:
        return
    head = store.head(_COUNTS)
    stages = store.rows(head.version_id).to_pylist() if head else ()
    if faults := list(_emptied(config.mix.sources, stages)):
        raise InputError("\n".join(faults))


def _emptied(sources: Sequence[SourceFiles], stages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which sources the corpus filter has left nothing, and by which rules, of its counts by file and rule (rows of
    kind corpus_stage)."""
    given, left = Counter[int](), Counter[int]()
    lost: dict[int, Counter[str]] = {number: Counter() for number in range(len(sources))}
    for row in sorted(stages, key=lambda row: (row["source"], row["place"])):
        if row["source"] == OTHER_SOURCES:
            return []  # beyond so many files nobody knows whose documents were dropped
        number = source_of(row["source"], sources)
        if not row["place"]:
            given[number] += row["documents_before"]
            left[number] += row["documents_before"]
        dropped = row["documents_before"] - row["documents_after"]
        left[number] -= dropped
        lost[number][row["stage"]] += dropped
    return [
        f"mix.sources: {sources[number].name}: the filter kept none of its {figure(count)} documents ("
        + ", ".join(f"{reason} {figure(often)}" for reason, often in lost[number].most_common(3) if often)
        + "): loosen `filter`, such as filter.languages, or take the source out"
        for number, count in given.items()
        if not left[number]
    ]
