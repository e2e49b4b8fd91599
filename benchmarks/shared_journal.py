"""What a journal on PostgreSQL costs beside one in the folder: writers of two folders, catching up, questions.

    python -m benchmarks.shared_journal [--runs 3] [--events 100000] [--only writes --only catch_up --only questions]

The server is PostgreSQL of this machine, started for it on a unix socket, with fsync. «two folders» are the stores of
two machines as far as the catalog knows: each has its own lock, spool and catalog. Embedded and shared are measured in
turns. The load of the machine stands beside each figure.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.catalog import WRITERS, WRITES, asset, graph, report, seconds, summary, write
from data_store.catalog import events, lineage
from data_store.catalog.journal import APPLIED, START, Entry, Journal
from data_store.store import Store
from data_store.upkeep.moving_journal import join, move_journal
from tests.postgres import Postgres, postgres

PARTS = ("writes", "catch_up", "questions")


def at(server: Postgres, schema: str) -> str:
    """The address of one journal."""
    return f"{server.url}&schema={schema}"


def writes(roots: list[Path]) -> tuple[float, float, float]:
    """Writes a second of eight processes over these folders, median and 99th percentile of their seconds. Raises
    ValueError where one is lost or the catalogs differ."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(WRITERS + 1), context.Queue()
    processes = [
        context.Process(target=write, args=(str(roots[n % len(roots)]), f"writer-{n}", WRITES, ready, results))
        for n in range(WRITERS)
    ]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    latencies = sorted(latency for _ in processes for latency in results.get())
    elapsed = time.perf_counter() - started
    for process in processes:
        process.join()
    wanted = {(f"writer-{n}", f"key-{k}") for n in range(WRITERS) for k in range(WRITES)}
    for root in roots:
        store = Store.open(root)
        if {(override.step, override.key) for override in store.overrides()} != wanted:
            raise ValueError("writes were lost")
        if sum(1 for _ in store.catalog.journal.whole()) != len(wanted):
            raise ValueError("the journal holds something else")
    return len(latencies) / elapsed, statistics.median(latencies), latencies[int(len(latencies) * 0.99)]


def measure_writes(server: Postgres, folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Eight writers: over one folder embedded, and over two folders with one table."""
    found: dict[str, list[tuple[float, float, float]]] = {"embedded, one folder": [], "shared, two folders": []}
    for number in range(repeats):
        found["embedded, one folder"].append(writes([Store.open(folder / f"alone-{number}").root]))
        one, two = folder / f"one-{number}", folder / f"two-{number}"
        move_journal(Store.open(one), at(server, f"writes_{number}"))
        join(two, at(server, f"writes_{number}"), None)
        found["shared, two folders"].append(writes([one, two]))
    for name, values in found.items():
        rate, middle, slow = (list(column) for column in zip(*values, strict=True))
        yield summary(f"{WRITERS} x {WRITES} writes, {name}, rate", "1/s", rate, "≥ 300" if "two" in name else "")
        yield summary(f"{WRITERS} x {WRITES} writes, {name}, median", "s", middle, "")
        yield summary(f"{WRITERS} x {WRITES} writes, {name}, p99", "s", slow, "< 0.2" if "two" in name else "")
    alone, shared = Store.open(folder / "alone-0"), Store.open(folder / "one-0")
    pairs = [
        (
            seconds(lambda: alone.set_override("V1", "s", "k", 1), 1),
            seconds(lambda: shared.set_override("V1", "s", "k", 1), 1),
        )
        for _ in range(10 * repeats)
    ]
    yield summary("one write, nobody else there, embedded", "s", [pair[0][0] for pair in pairs], "")
    yield summary("one write, nobody else there, shared", "s", [pair[1][0] for pair in pairs], "")


def _one_write(store: Store) -> float:
    return seconds(lambda: store.set_override("V1", "s", "k", 1), 1)[0]


def measure_catch_up(server: Postgres, folder: Path, repeats: int, count: int) -> Iterator[dict[str, Any]]:
    """A fresh folder reads a journal of many events."""
    root = Store.open(folder / "long").root
    entries, seq, prev = list[Entry](), 0, START
    for number in range(count):
        entries.append(
            Entry.after(seq, prev, APPLIED, events.override_set("V1", f"s{number % 100}", f"k{number}", "1"))
        )
        seq, prev = entries[-1].seq, entries[-1].sha256
    Journal(root).append(entries)
    started = time.perf_counter()
    move_journal(Store.open(root), at(server, "long"))
    yield summary(f"{count} events moved into the table and verified", "s", [time.perf_counter() - started], "")
    found = []
    for number in range(repeats):
        started = time.perf_counter()
        store = join(folder / f"fresh-{number}", at(server, "long"), None)
        found.append(time.perf_counter() - started)
        if store.catalog.seq() != count:
            raise ValueError("events were lost")
    yield summary(f"a fresh catalog of {count} events", "s", found, "≤ 10")


def measure_questions(server: Postgres, folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Ancestors and staleness of the large graph, opened and closed, embedded and shared in turns."""
    alone = graph(folder / "graph")
    root = Store.open(folder / "shared").root
    Journal(root).append(list(alone.catalog.journal.whole()))
    move_journal(Store.open(root), at(server, "graph"))
    shared = Store.open(root)
    last = asset(59, 0)

    def ancestors(store: Store) -> None:
        with store.catalog.reading() as connection:
            lineage.ancestor_ids(connection, lineage.makers(connection, last))

    for name, question in (("nothing stale", Store.stale), ("ancestors, ids", ancestors)):
        pairs = [
            (seconds(lambda: question(alone), 1)[0], seconds(lambda: question(shared), 1)[0])  # noqa: B023
            for _ in range(5 * repeats)
        ]
        yield summary(f"{name}, embedded", "s", [pair[0] for pair in pairs], "")
        yield summary(f"{name}, shared", "s", [pair[1] for pair in pairs], "")
        yield summary(f"{name}, shared / embedded, paired", "", [pair[1] / pair[0] for pair in pairs], "1")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="repeats of each part")
    parser.add_argument("--events", type=int, default=100_000, help="events that a fresh catalog reads")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    chosen = arguments.only or PARTS
    with TemporaryDirectory() as temporary, postgres() as server:
        folder = Path(temporary)
        if "writes" in chosen:
            for found in measure_writes(server, folder, arguments.runs):
                report(found)
        if "catch_up" in chosen:
            for found in measure_catch_up(server, folder, arguments.runs, arguments.events):
                report(found)
        if "questions" in chosen:
            for found in measure_questions(server, folder, arguments.runs):
                report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
