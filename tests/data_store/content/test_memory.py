"""Rows on their way through the store, and the peak of memory of the process that passes them on."""

from pathlib import Path
from typing import Any

import pytest

from tests.data_store.corpus.test_memory import corpus_of, told_by

PASSES = """
import json, sys
from pathlib import Path
from benchmarks.memory import peak_memory
from data_store.content.row_batches import StoredRows
from data_store.records import RunOutput, RunRecord
from data_store.names import AssetName
from data_store.store import Store
folder = Path(sys.argv[1])
store = Store.open(folder / "store")
made = store.publish("dataset", folder / "rows", row_kind="document")
run = RunRecord(step="filter", part="base", fingerprint="f", code_version="c", config={}, seed=0)
store.begin_run(run)
store.commit_run(run, [], {"corpus": RunOutput(AssetName.parse("dataset/corpus@base"), made)})
rows = StoredRows([store.checkout(made.version_id) / "rows.parquet"])
characters = sum(len(row["text"]) for row in rows)
print(json.dumps([made.version_id, len(rows), characters, peak_memory()]))
"""


def through_the_store(folder: Path, documents: int) -> Any:
    """(version id, rows, characters, peak of memory in bytes) of a process of its own."""
    (folder / "rows").mkdir(parents=True)
    corpus_of(folder / "rows" / "rows.parquet", documents)
    return told_by(PASSES, folder)


@pytest.mark.slow
@pytest.mark.conformance(
    "rows that do not fit into memory come in another order, or twice, or not at all",
    equation="data_store.content.publishing:publish_rows",
)
def test_four_times_as_many_rows_are_published_laid_out_and_read_in_little_more_memory(tmp_path: Path) -> None:
    _, rows, characters, peak = through_the_store(tmp_path / "little", 2000)
    assert (rows, characters) == (2000, 32_000_000)
    _, rows, characters, peak_of_much = through_the_store(tmp_path / "much", 8000)
    assert (rows, characters) == (8000, 128_000_000)
    assert peak_of_much - peak < 80_000_000  # of 96 more, and what allocators keep
