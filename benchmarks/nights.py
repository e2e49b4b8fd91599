"""Nights of a schedule, one after the other without the waiting, and whether disk and results stay bounded.

    python benchmarks/nights.py [--nights 30] [--files 3] [--folder FOLDER]

Each night a file of new preferences lies in the folder that the config names, and the oldest goes, so that `--files`
are there; the recipe runs, `halter gc --delete` follows, and Prefect's database grows a day older: what it knows is set
back by a day, since its own retention cannot be shorter than an hour. Its retention is 3 days here and the vacuum looks
every two seconds; the config keeps one superseded version of each asset and no days. The files return after
`--files` + 2 nights, so that each night from then on has the data of an earlier one, and must end at its hashes.

Prints a row a night, then what was found; ends with 1 where something is wrong.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from data_store.store import Store

ROOT = Path(__file__).resolve().parents[1]
RETENTION_DAYS = 3
SETTLED = 10  # from this night on nothing may grow but the journal and what is made of it
VACUUM = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(86400 * RETENTION_DAYS),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{RETENTION_DAYS}D",
}
RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")


@dataclass(frozen=True)
class Night:
    """What one night has left. Sizes are bytes; `files`: in the store, of every kind."""

    content: int
    journal: int
    work: int
    rest: int
    prefect: int
    files: int
    seconds: float
    versions: int
    heads: Mapping[str, str]


def recipe(folder: Path, pocket: str) -> Path:
    """The pocket recipe of the tests on files, with a folder of preferences; its config file."""
    rng = random.Random(0)
    words = ["".join(rng.choice("aeioubcdfglmnprstv") for _ in range(rng.randint(2, 7))) for _ in range(600)]

    def text(count: int) -> str:
        return " ".join(rng.choice(words) for _ in range(count)).capitalize() + "."

    documents = [{"text": " ".join(text(12) for _ in range(8))} for _ in range(300)]
    demonstrations = [{"prompt": text(6), "response": text(8)} for _ in range(40)]
    safety = [_pair(text, n, "safety") for n in range(60)]
    for name, rows in (("documents", documents), ("demonstrations", demonstrations), ("safety", safety)):
        _write(folder / f"{name}.jsonl", rows)
    prompts = [{"prompt": text(6)} for _ in range(120)]
    for axis in ("helpfulness", "safety"):
        _write(folder / f"{axis}-prompts.jsonl", prompts[:60] if axis == "safety" else prompts[60:])
    content: dict[str, Any] = yaml.safe_load(pocket)
    content |= {"name": "nights", "annotator": None, "gatt": None, "iterations": 1, "final_stage": "none"}
    content["data"] = {
        "preference_format": "rows",
        "documents": ["documents.jsonl"],
        "demonstrations": ["demonstrations.jsonl"],
        "helpfulness_prompts": ["helpfulness-prompts.jsonl"],
        "safety_prompts": ["safety-prompts.jsonl"],
        "safety_preferences": ["safety.jsonl"],
        "helpfulness_preferences": ["pairs"],
    }
    content["tokenizer"] = {"vocab_size": 400, "character_coverage": 1.0}
    content["retention"] = {"keep_versions": 1, "keep_days": 0}
    (folder / "pairs").mkdir()
    (folder / "nights.yaml").write_text(yaml.safe_dump(content))
    return folder / "nights.yaml"


def _pair(text: Callable[[int], str], number: int, axis: str) -> dict[str, object]:
    return {
        "prompt": text(6),
        "response_a": text(8),
        "response_b": text(4),
        "chosen": "ab"[number % 2],
        "rating": RATINGS[number % 4],
        "axis": axis,
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lay_out(pairs: Path, night: int, count: int) -> int:
    """The files of this night, and no others. Gives the first of them, which names what lies there."""
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    first = night % (count + 2)
    for path in pairs.iterdir():
        path.unlink()
    for batch in (each % (count + 2) for each in range(first, first + count)):
        rng = random.Random(f"batch {batch}")

        def text(count: int, rng: random.Random = rng) -> str:
            return " ".join(rng.choice(words) for _ in range(count))

        rows = [_pair(text, number, "helpfulness") for number in range(40)]
        _write(pairs / f"batch-{batch}.jsonl", rows)
    return first


def command(home: Path, *words: str, settings: Mapping[str, str] = VACUUM) -> None:
    """A `halter` command; raises RuntimeError with what it said where it fails."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        env={**kept, **settings, "HALTER_HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"halter {' '.join(words)} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr}")


def age(database: Path, days: int = 1) -> None:
    """Set back by days all times by which Prefect's retention goes."""
    with sqlite3.connect(database) as connection:
        for table, columns in (
            ("flow_run", ("end_time", "created", "updated", "start_time")),
            ("task_run", ("end_time", "created", "updated", "start_time")),
            ("log", ("timestamp",)),
            ("artifact", ("created", "updated")),
            ("events", ("occurred", "received")),
            ("event_resources", ("occurred", "updated")),
        ):
            for column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{days} days') "
                    f"WHERE {column} IS NOT NULL"
                )
    connection.close()


def measure(home: Path, seconds: float) -> Night:
    """What lies on the disk now."""
    store = Store.open(home / "nights")
    sizes: dict[str, int] = {}
    count = 0
    for path in store.root.rglob("*"):
        if path.is_file():
            count += 1
            top = path.relative_to(store.root).parts[0]
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
    ((versions,),) = store.catalog.read("SELECT count(DISTINCT version_id) FROM current_object WHERE NOT is_retired")
    return Night(
        content=sum(sizes.pop(name, 0) for name in ("objects", "checkouts", "datasets")),
        journal=sizes.pop("journal", 0),
        work=sizes.pop("work", 0),
        rest=sum(sizes.values()),
        prefect=sum(path.stat().st_size for path in (home / ".prefect").glob("prefect.db*")),
        files=count,
        seconds=seconds,
        versions=int(versions),
        heads={str(asset): head.version_id for asset, head in store.heads().items() if asset.kind != "source"},
    )


def faults_of(nights: list[Night], firsts: list[int]) -> list[str]:
    """What must not be: disk that grows, and the same data with another result."""
    found = []
    seen: dict[int, tuple[int, Mapping[str, str]]] = {}
    for number, (night, first) in enumerate(zip(nights, firsts, strict=True), start=1):
        before, heads = seen.setdefault(first, (number, night.heads))
        if heads != night.heads:
            found.append(f"night {number} has the data of night {before} and ends at other hashes")
    settled = nights[SETTLED - 1 :]
    cycle = len(set(firsts))
    if len(settled) > cycle:
        for what in ("content", "work", "prefect"):
            early = max(getattr(night, what) for night in nights[SETTLED - 1 - cycle : SETTLED - 1])
            late = max(getattr(night, what) for night in settled)
            if late > 1.05 * early:
                found.append(f"{what} grew from {early:,} to {late:,} bytes after night {SETTLED - 1}")
    return found


def main() -> None:
    """Read the command line, run the nights, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=30, help="how many (default 30)")
    parser.add_argument("--files", type=int, default=3, help="files of preferences there each night (default 3)")
    parser.add_argument("--folder", type=Path, help="keep everything here")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="halter-nights-") as scratch:
        nights, firsts = simulate((arguments.folder or Path(scratch)).absolute(), arguments.nights, arguments.files)
    found = faults_of(nights, firsts)
    if len(nights) > SETTLED:
        grown = nights[-1].journal - nights[SETTLED - 1].journal
        print(f"the journal grows by {grown / (len(nights) - SETTLED):,.0f} bytes a night")
    print("\n".join(found) or f"{len(nights)} nights: nothing grows but the record, the same data give the same hashes")
    sys.exit(1 if found else 0)


def simulate(folder: Path, count: int, files: int) -> tuple[list[Night], list[int]]:
    """Run the nights, a printed row each; gives them with what names the data of each. Raises RuntimeError where a
    command fails, `halter verify` after the last night included."""
    from tests.flows.recipe_runs import POCKET

    folder.mkdir(parents=True, exist_ok=True)
    home, config = folder / "home", recipe(folder, POCKET)
    nights: list[Night] = []
    firsts: list[int] = []
    print("night  content B  journal B  work B  other B  Prefect B  files  versions  seconds")
    for number in range(1, count + 1):
        firsts.append(lay_out(folder / "pairs", number - 1, files))
        started = time.monotonic()
        command(home, "run", str(config), "--json")
        seconds = time.monotonic() - started
        command(home, "gc", "--delete", "--json")
        age(home / ".prefect" / "prefect.db")
        nights.append(night := measure(home, seconds))
        print(
            f"{number:5} {night.content:10,} {night.journal:10,} {night.work:7,} {night.rest:8,} {night.prefect:10,} "
            f"{night.files:6,} {night.versions:9,} {seconds:8.0f}",
            flush=True,
        )
    command(home, "verify", "--json")
    return nights, firsts


if __name__ == "__main__":
    main()
