"""How fast the corpus filter is and what memory it takes: `python -m benchmarks.corpus_filter 100 1000 FOLDER`, and on
several processes, in turns with one: `--processes 2 --rounds 3`.

Documents of 16,000 characters are made of the texts in FOLDER: pieces that begin anywhere in a text, in a new order, so
that a document in a hundred is a near duplicate of an earlier one and no line stands in many. Each size (in MB of
characters) runs in a process of its own; the peak is that of the process, its libraries included, or with those that
it starts the largest sum that was seen of their memory, what they share counted once.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
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
_AT_ONCE, _FILES = 500, 8
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
            sources = [f"file-{number % _FILES}.jsonl:{number}" for number in range(start, start + len(ids))]
            writer.write_table(pa.table([ids, sources, texts], schema=_SCHEMA))


class Memory:
    """The most that this process and those that it has started were seen to hold together, looked at twice a second:
    of a page that several share each counts its part."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            mine = {os.getpid(), *_children()}
            self.bytes = max(self.bytes, sum(map(_proportional, mine)))
            time.sleep(0.5)


def _children() -> list[int]:
    return [int(each) for each in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def run(path: Path, processes: int) -> dict[str, float | str]:
    """Filter a file, and write what comes out beside it."""
    memory = Memory() if processes > 1 else None
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

        counts = filter_documents(batches(), config, write, processes=processes)
    used = os.times()
    return {
        "processes": processes,
        "documents": counts.documents,
        "kept": counts.kept,
        "MB": read / 1e6,
        "seconds": time.perf_counter() - started,
        "processor seconds": time.process_time() - computed,
        "of its processes": used.children_user + used.children_system,
        "peak MB": (peak_memory() if memory is None else memory.bytes) / 1e6,
        "made": _digest(path),
        **{f"dropped {reason}": count for reason, count in counts.dropped.items() if count},
    }


def _digest(path: Path) -> str:
    """Of all rows that were written, in their order."""
    found = hashlib.sha256()
    for made in (".kept", ".dropped"):
        for batch in pq.ParquetFile(path.with_suffix(made)).iter_batches(1000):
            found.update(repr(batch.to_pylist()).encode())
    return found.hexdigest()[:16]


def _told(path: Path, processes: int) -> dict[str, float | str]:
    command = [sys.executable, "-m", "benchmarks.corpus_filter", "--run", str(path), "--processes", str(processes)]
    found: dict[str, float | str] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    listed = ", ".join(f"{name} {v if isinstance(v, str) else f'{v:,.1f}'}" for name, v in found.items())
    print(f"load {os.getloadavg()[0]:.1f}: {listed}", flush=True)
    return found


def main() -> None:
    """Each size in turn; a run's own process prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("given", nargs="*")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if asked.run is not None:
        print(json.dumps(run(asked.run, asked.processes)))
        return
    sizes = [int(each) for each in asked.given if each.isdigit()]
    (folder,) = (Path(each) for each in asked.given if not each.isdigit())
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "corpus.parquet"
            write_corpus(path, size, folder)
            for _ in range(asked.rounds):
                both = [_told(path, processes) for processes in sorted({1, asked.processes})]
                if len({each["made"] for each in both}) > 1:
                    raise SystemExit("another number of processes has made something else")
                speed = float(both[0]["MB"]) / float(both[0]["processor seconds"])
                ratio = float(both[0]["seconds"]) / float(both[-1]["seconds"])
                told = f", {ratio:.2f} times as fast by the clock" if len(both) > 1 else ""
                print(f"{size} MB asked for: {speed:.1f} MB a second of one core{told}", flush=True)


if __name__ == "__main__":
    main()
