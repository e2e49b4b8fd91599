"""What the catalog costs: many writers, lineage and staleness of a large graph, a large version, a data set.

    python benchmarks/catalog.py [--runs 3] [--rows 1000000] [--only writes --only graph] [--json]

Each figure is the median of the repeats, each write repeat in a fresh store, with the range beside it. The machine's
load (tasks that ran, of the last minute) before each part and the price of one durable file (write, fsync, rename,
fsync of the folder) stand with the figures, because all of them depend on it. Nothing is cached between repeats but
what a user's process would have cached; what is measured on purpose with a warm cache says so.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_store.catalog import events, lineage
from data_store.catalog.journal import APPLIED, START, Entry
from data_store.files import write_durably
from data_store.names import AssetName
from data_store.records import ObjectRef, Publication, RunInput, RunOutput, RunRecord
from data_store.rows import ROW_KINDS
from data_store.store import Store

WRITERS, WRITES = 8, 200
LAYERS, WIDTH, READS = 60, 170, 10  # 59 layers of 170 runs with 10 inputs each: 100,300 edges
PREFERENCES = AssetName("dataset", "preferences", "V1")


def summary(name: str, unit: str, values: list[float], target: str) -> dict[str, Any]:
    """One line of the report."""
    return {
        "name": name,
        "unit": unit,
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "repeats": len(values),
        "target": target,
        "load": os.getloadavg()[0],
    }


def seconds(call: Callable[[], object], repeats: int) -> list[float]:
    """The time of each of the calls."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


# --- many writers -----------------------------------------------------------------------------------------------------


def write(root: str, name: str, count: int, ready: Barrier, results: "multiprocessing.Queue[list[float]]") -> None:
    """One writer: `count` transactions, each acknowledged before the next."""
    store = Store(Path(root))
    ready.wait()
    found = []
    for number in range(count):
        started = time.perf_counter()
        store.set_override("V1", name, f"key-{number}", number)
        found.append(time.perf_counter() - started)
    results.put(found)


def writes(folder: Path) -> tuple[float, float, float]:
    """Writes a second, median and 99th percentile of their seconds. Raises ValueError where one is lost."""
    root = Store.open(folder / "store").root
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(WRITERS + 1), context.Queue()
    processes = [
        context.Process(target=write, args=(str(root), f"writer-{n}", WRITES, ready, results)) for n in range(WRITERS)
    ]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    latencies = sorted(latency for _ in processes for latency in results.get())
    elapsed = time.perf_counter() - started
    for process in processes:
        process.join()
    store = Store.open(root)
    wanted = {(f"writer-{n}", f"key-{k}") for n in range(WRITERS) for k in range(WRITES)}
    if {(override.step, override.key) for override in store.overrides()} != wanted:
        raise ValueError("writes were lost")
    store.rebuild()
    if len(store.overrides()) != len(wanted):
        raise ValueError("the journal lacks writes")
    return len(latencies) / elapsed, statistics.median(latencies), latencies[int(len(latencies) * 0.99)]


def measure_writes(folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """8 processes, 200 transactions each."""
    found = []
    for number in range(repeats):
        (folder / str(number)).mkdir()
        found.append(writes(folder / str(number)))
    rate, middle, slow = (list(column) for column in zip(*found, strict=True))
    name = f"{WRITERS} processes x {WRITES} writes"
    yield summary(f"{name}, rate", "1/s", rate, "≥ 100")
    yield summary(f"{name}, median", "s", middle, "")
    yield summary(f"{name}, p99", "s", slow, "< 0.5")

    store = Store.open(folder / "alone")
    yield summary(
        "one write, nobody else there", "s", seconds(lambda: store.set_override("V1", "s", "k", 1), 10 * repeats), ""
    )


# --- a large graph ----------------------------------------------------------------------------------------------------


def publication(text: str) -> Publication:
    """A version of one file that is only spoken of; no query of the graph opens it."""
    identity = f"{text:0>64}"
    return Publication(
        identity, "model", identity, "0" * 64, None, None, 1, 1, None, (ObjectRef("w", identity, 1, "file"),)
    )


def asset(layer: int, place: int) -> AssetName:
    """The name of one output of the graph."""
    return AssetName("model", f"m{place}", f"V{layer}")


def graph(root: Path) -> Store:
    """A store whose journal holds the runs of the graph, as they would be committed one by one."""
    store = Store.open(root)
    made: dict[AssetName, tuple[str, str]] = {}
    entries, seq, prev = [], 0, START
    draw = random.Random(0)
    for layer in range(LAYERS):
        for place in range(WIDTH):
            run = RunRecord(
                "train",
                f"V{layer}",
                f"{layer}-{place}",
                "1",
                {"learning_rate": 0.001},
                0,
                run_id=f"{layer:016d}{place:016d}",
            )
            before = [asset(layer - 1, n) for n in draw.sample(range(WIDTH), READS)] if layer else []
            inputs = [RunInput(f"in-{n}", name, *made[name]) for n, name in enumerate(before)]
            output = RunOutput(asset(layer, place), publication(f"{layer:x}f{place:x}"))
            made[output.asset] = (output.publication.version_id, run.run_id)
            event = events.run_succeeded(run, inputs, {"model": output}, [], "made by its step")
            entries.append(Entry.after(seq, prev, APPLIED, event))
            seq, prev = entries[-1].seq, entries[-1].sha256
    store.catalog.journal.append(entries)
    store.rebuild()
    return store


def measure_graph(folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Ancestors and staleness. But for one row each call opens the catalog, asks and closes it, as a
    command does."""
    store = graph(folder / "graph")
    edges = store.catalog.read("SELECT count(*) FROM run_input")[0][0]
    last, first = asset(LAYERS - 1, 0), f"{0:016d}{0:016d}"
    whole = store.lineage(last)
    if len(whole.runs) < LAYERS * WIDTH * 0.9:
        raise ValueError(f"{len(whole.runs)} ancestors where nearly all of {LAYERS * WIDTH} runs are")

    def ancestors() -> None:
        with store.catalog.reading() as connection:
            found = lineage.ancestor_ids(connection, lineage.makers(connection, last))
        if len(found) != len(whole.runs):
            raise ValueError(f"{len(found)} ancestors, but {len(whole.runs)} in the graph")

    calls = 5 * repeats
    yield summary("open and close the catalog", "s", seconds(lambda: store.catalog.read("SELECT 1"), calls), "")
    name = f"{len(whole.runs)} ancestors over {edges} edges"
    with store.one_state():
        yield summary(f"{name}, ids, in an open catalog", "s", seconds(ancestors, calls), "< 0.05")
    yield summary(f"{name}, ids, opened and closed", "s", seconds(ancestors, calls), "")
    yield summary(f"{name}, all runs and edges", "s", seconds(lambda: store.lineage(last), calls), "")
    yield summary(f"nothing stale of {edges} edges", "s", seconds(store.stale, calls), "< 0.1")
    yield summary(f"all stale of {edges} edges", "s", seconds(lambda: store.stale([first]), calls), "< 0.1")


# --- a large version --------------------------------------------------------------------------------------------------


def preferences(rows: int, seed: int) -> pa.Table:
    """Preference rows with texts of 40 to 240 characters."""
    draw = np.random.default_rng(seed)
    words = np.array([f"{n:x}".ljust(4, "e") for n in draw.integers(0, 65536, 60000)])
    text = " ".join(words)
    starts, lengths = draw.integers(0, len(text) - 240, (3, rows)), draw.integers(40, 240, (3, rows))
    prompt, a, b = (
        pa.array([text[at : at + length] for at, length in zip(starts[k], lengths[k], strict=True)]) for k in range(3)
    )
    schema = ROW_KINDS["preference"].schema
    roles = pa.array(["user"]).take(pa.array(np.zeros(rows, np.int32)))
    turns = pa.StructArray.from_arrays([roles, prompt], ["role", "content"])

    def constant(value: str | int | None, kind: pa.DataType) -> pa.Array:
        return pa.array([value], kind).take(pa.array(np.zeros(rows, np.int32)))

    columns: dict[str, Any] = {
        "preference_id": pa.array([f"{seed}-{n}" for n in range(rows)]),
        "prompt_id": pa.array([f"p-{n // 2}" for n in range(rows)]),
        "messages": pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32)), turns),
        "response_a": a,
        "response_b": b,
        "policy_version_a": constant("f" * 64, pa.string()),
        "policy_version_b": constant("e" * 64, pa.string()),
        "temperature_milli_a": pa.array(draw.integers(600, 1300, rows), pa.int32()),
        "temperature_milli_b": pa.array(draw.integers(600, 1300, rows), pa.int32()),
        "safety_label": constant(None, pa.string()),
    }
    words_of = {"source": "bench", "axis": "helpfulness", "iteration": "V1", "split": "train", "chosen": "a"}
    words_of |= {"rating": "better", "annotator": "bench"}
    columns |= {name: constant(word, pa.string()) for name, word in words_of.items()}
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def measure_version(folder: Path, repeats: int, rows: int) -> Iterator[dict[str, Any]]:
    """A version of many rows: stored, committed, checked out, opened as a data set."""
    importlib.import_module("datasets")  # a second that is no part of the figures
    store = Store.open(folder / "large")
    stored, committed, laid_out, opened = [], [], [], []
    for number in range(repeats):
        place = folder / f"rows-{number}"
        place.mkdir()
        pq.write_table(preferences(rows, number), place / "rows.parquet", compression="zstd")
        started = time.perf_counter()
        published = store.publish("dataset", place, row_kind="preference")
        stored.append(time.perf_counter() - started)
        run = RunRecord("collect_preferences", "V1", f"f{number}", "1", {}, number)
        outputs = {"preferences": RunOutput(PREFERENCES, published)}
        committed += seconds(lambda run=run, outputs=outputs: store.commit_run(run, [], outputs), 1)  # type: ignore[misc]
        laid_out += seconds(lambda version=published.version_id: store.dataset(version), 1)  # type: ignore[misc]
        opened += seconds(lambda version=published.version_id: store.dataset(version), 3)  # type: ignore[misc]
        if len(store.dataset(published.version_id)) != rows:
            raise ValueError("rows were lost")
        (place / "rows.parquet").unlink()
    yield summary(f"{rows} preferences: hash and store the rows", "s", stored, "")
    yield summary(f"{rows} preferences: commit", "s", committed, "< 1")
    yield summary(f"{rows} preferences: first time as a Dataset", "s", laid_out, "")
    yield summary(f"{rows} preferences: as a Dataset, cached", "s", opened, "< 0.1")


def durable_file(folder: Path) -> list[float]:
    """What one durable file costs here."""
    (folder / "durable").mkdir()
    return seconds(lambda: write_durably(folder / "durable" / "file", b"x" * 300, folder), 50)


def report(found: dict[str, Any]) -> None:
    """The figures on one line."""
    few = f"{found['least']:.4g} to {found['most']:.4g}"
    target = f"  target {found['target']}" if found["target"] else ""
    print(
        f"{found['name']:<50} {found['median']:>9.4g} {found['unit']:<4} ({few}, {found['repeats']} repeats, "
        f"load {found['load']:.1f}){target}",
        flush=True,
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="repeats of each part")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large version")
    parser.add_argument("--only", choices=("writes", "graph", "version"), action="append")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        chosen = arguments.only or ("writes", "graph", "version")

        def parts() -> Iterator[dict[str, Any]]:
            yield summary("one durable file", "s", durable_file(folder), "")
            if "writes" in chosen:
                yield from measure_writes(folder, arguments.runs)
            if "graph" in chosen:
                yield from measure_graph(folder, arguments.runs)
            if "version" in chosen:
                yield from measure_version(folder, arguments.runs, arguments.rows)

        for found in parts():
            results.append(found)
            if not arguments.json:
                report(found)
    if arguments.json:
        print(json.dumps({"cores": os.cpu_count(), "figures": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
