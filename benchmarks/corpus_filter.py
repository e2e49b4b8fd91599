"""How fast the corpus filter is and what memory it takes: `python -m benchmarks.corpus_filter 100 1000 FOLDER`.

Documents of 16,000 characters are made of the texts in FOLDER: pieces that begin anywhere in a text, in a new order, so
that a document in a hundred is a near duplicate of an earlier one and no line stands in many. Each size (in MB of
characters) runs in a process of its own; the peak is that of the process, its libraries included.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import peak_memory
from data_store.corpus.filtering import filter_documents
from data_store.corpus.registry import FilterConfig
from data_store.files import open_batches
from data_store.reading.readers import read_documents
from data_store.rows import row_kind

_CHARACTERS, _PIECE, _INDENTED = 16_000, 700, 4
_AT_ONCE = 500
_SCHEMA = row_kind("document").schema


def _pieces(folder: Path, rng: random.Random) -> Iterator[str]:
    """700 characters and fewer, drawn without end, each text as often as it is long; on one line where it is prose."""
    texts = [text for batch in read_documents(sorted(folder.iterdir())) for text in batch.column("text").to_pylist()]
    whole = "\n".join(texts)
    while True:
        start = rng.randrange(len(whole))
        piece = whole[start : start + _PIECE]
        yield piece if piece.count("\n ") > _INDENTED else " ".join(piece.split())


def write_corpus(path: Path, megabytes: int, folder: Path) -> None:
    """Documents of `_CHARACTERS` characters, `megabytes` of them, as a Parquet file."""
    rng = random.Random(megabytes)
    pieces = _pieces(folder, rng)
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        count, last = megabytes * 1_000_000 // _CHARACTERS, ""
        for start in range(0, count, _AT_ONCE):
            ids, texts = [], []
            for number in range(start, min(start + _AT_ONCE, count)):
                drawn = last[: -2 * _PIECE] if number % 100 == 99 else ""
                while len(drawn) < _CHARACTERS:
                    drawn += next(pieces) + "\n\n"
                last = drawn[:_CHARACTERS]
                ids.append(f"d{number}")
                texts.append(last)
            writer.write_table(pa.table([ids, ids, texts], schema=_SCHEMA))


def run(path: Path) -> dict[str, float]:
    """Filter a file, and write what comes out beside it."""
    config = FilterConfig(languages=("en", "ko", "code"))
    read, started, computed = 0, time.perf_counter(), time.process_time()
    with (
        open_batches(path) as file,
        pq.ParquetWriter(path.with_suffix(".kept"), _SCHEMA, compression="zstd") as kept,
        pq.ParquetWriter(path.with_suffix(".dropped"), row_kind("dropped").schema, compression="zstd") as dropped,
    ):

        def write(stay: pa.Table, go: pa.Table) -> None:
            kept.write_table(stay)
            dropped.write_table(go)

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal read
            for batch in file.iter_batches(64):
                read += batch.nbytes
                yield batch

        counts = filter_documents(batches(), config, write)
    return {
        "documents": counts.documents,
        "kept": counts.kept,
        "MB": read / 1e6,
        "seconds": time.perf_counter() - started,
        "processor seconds": time.process_time() - computed,
        "peak MB": peak_memory() / 1e6,
        **{f"dropped {reason}": count for reason, count in counts.dropped.items() if count},
    }


def main() -> None:
    """Each size in turn; a run's own process prints its figures."""
    if sys.argv[1] == "--run":
        print(json.dumps(run(Path(sys.argv[2]))))
        return
    sizes = [int(each) for each in sys.argv[1:] if each.isdigit()]
    (folder,) = (Path(each) for each in sys.argv[1:] if not each.isdigit())
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "corpus.parquet"
            write_corpus(path, size, folder)
            command = [sys.executable, "-m", "benchmarks.corpus_filter", "--run", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            speed = found["MB"] / found["processor seconds"]
            listed = ", ".join(f"{name} {value:,.0f}" for name, value in found.items())
            print(f"{size} MB asked for: {speed:.1f} MB a second of one core; {listed}", flush=True)


if __name__ == "__main__":
    main()
