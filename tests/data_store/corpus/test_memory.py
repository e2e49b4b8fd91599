"""The peak of memory of the corpus filter, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.rows import row_kind
from tests.data_store.corpus.test_filtering import prose

ROOT = Path(__file__).parents[3]
SCHEMA = row_kind("document").schema
DOCUMENT = 16_000
FILTERS = """
import json, sys
from pathlib import Path
from benchmarks.memory import peak_memory
from data_store.corpus.filtering import filter_documents
from data_store.corpus.registry import FilterConfig
from data_store.files import open_batches
with open_batches(Path(sys.argv[1])) as file:
    config = FilterConfig(memory_mb=64)
    kept = []
    filter_documents(file.iter_batches(64), config, lambda stay, go: kept.append(stay.num_rows))
print(json.dumps([sum(kept), peak_memory()]))
"""
# Not a limit on the process: stacks and arenas that nobody touches count there, some of a hundred megabytes more or
# less from one start to the next.


def corpus_of(path: Path, documents: int) -> Path:
    """Documents of 16 KB that are unlike each other: all are kept, and all are remembered."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, documents, 100):
            ids = [f"d{number}" for number in range(start, min(start + 100, documents))]
            texts = [prose(2500, number)[:DOCUMENT] for number in range(start, start + len(ids))]
            writer.write_table(pa.table([ids, ids, texts], schema=SCHEMA))
    return path


def told_by(program: str, *arguments: object) -> Any:
    """What a program in a process of its own prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def filtered_in(path: Path) -> Any:
    """(documents that are kept, peak of memory in bytes) of a process of its own."""
    return told_by(FILTERS, path)


@pytest.mark.slow
@pytest.mark.conformance(
    "which documents stay depends on the memory of the filter",
    equation="data_store.corpus.filtering:filter_documents",
)
def test_four_times_as_many_files_take_little_more_memory(tmp_path: Path) -> None:
    kept, peak = filtered_in(corpus_of(tmp_path / "little.parquet", 1000))
    much, peak_of_much = filtered_in(corpus_of(tmp_path / "much.parquet", 4000))
    assert (kept, much) == (1000, 4000)
    assert peak_of_much - peak < 40_000_000
