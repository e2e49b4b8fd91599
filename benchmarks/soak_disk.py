"""A disk that fills under several writers, again and again, and look whether anything is lost.

    python benchmarks/soak_disk.py [--rounds 30] [--writers 6] [--seed 0] [--fills 3] [--json]

Each round has a store on a small file system of its own (tmpfs; needs root, or `unshare`). Several processes write to
it, small transactions and large, each noting elsewhere what the store has acknowledged. While they do the disk is
filled to the brim, several times, and gets room again. At the brim the store must open and answer; at the end of the
round it must open, hold all that was acknowledged, verify to the last byte, and take what is written. Prints a table,
and ends with 1 where anything is lost.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.verification import verify

NO_MOUNT = 77
MEGABYTES = 24
PAGE = 4096
SECONDS_TO_FILL = 60.0
SECONDS_OF_A_ROUND = 300.0
# A child is forked, not started: everything is imported once, and this process itself never opens a store.
_FORK = multiprocessing.get_context("fork")


@dataclass
class Tally:
    """What was done and what was found. `lost`, `closed`, `problems` and `surprises` must stay empty."""

    rounds: int = 0
    acknowledged: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost, every store opened, and every error was one that says what is the matter."""
        return not (self.lost or self.closed or self.problems or self.surprises)


def write_on(root: Path, notes: Path, name: str, seed: int, stop: Path) -> None:
    """Write until `stop` is there: settings of many lengths, now and then a whole step. Where the disk is full, note
    the error and try again.
    """
    rng, number = random.Random(seed), 0
    store = Store(root)
    while not stop.exists():
        number += 1
        try:
            if rng.random() < 0.1:
                done = _commit_step(store, name, number, notes)
            else:
                done = f"{name} key-{number}"
                store.set_override("V1", name, f"key-{number}", "x" * rng.choice((10, 300, 3_000, 9_000)))
            _note(notes / "acknowledged", done)
        except InputError as error:  # no input of ours is wrong
            _note(notes / "surprises", f"InputError: {error}")
        except (StoreError, OSError) as error:
            _note(notes / "refused", type(error).__name__)
            time.sleep(0.05)
        except BaseException as error:
            _note(notes / "surprises", f"{type(error).__name__}: {error}")


def _commit_step(store: Store, name: str, number: int, notes: Path) -> str:
    run = RunRecord("step", "V1", f"{name}-{number}", "1", {}, number)
    folder = notes / f"{name}-{number}"
    folder.mkdir()
    (folder / "weights").write_bytes(os.urandom(2_000))
    store.commit_run(run, [], {"model": RunOutput(AssetName("model", name, "V1"), store.publish("model", folder))})
    shutil.rmtree(folder)
    return run.run_id


def _note(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(f"{line}\n")


def _noted(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def one_round(disk: Path, notes: Path, *, writers: int, fills: int, seed: int) -> dict[str, Any]:
    """One store on one disk, filled `fills` times under its writers; what was found, in the words of Tally."""
    found: dict[str, Any] = {"lost": [], "closed": [], "problems": [], "surprises": []}
    rng, root, stop = random.Random(seed), disk / "store", notes / "stop"
    in_child(Store.open, root)
    processes = [
        _FORK.Process(target=write_on, args=(root, notes, f"writer-{n}", seed * 100 + n, stop)) for n in range(writers)
    ]
    for process in processes:
        process.start()
    for _ in range(fills):
        _wait_for_more(notes / "acknowledged", 3 * writers)
        _brim(disk, rng)
        _wait_for_more(notes / "refused", 2 * writers)
        found["closed"] += in_child(_look, root)
        (disk / "ballast").unlink()
    _wait_for_more(notes / "acknowledged", writers)
    stop.touch()
    for process in processes:
        process.join(SECONDS_OF_A_ROUND)
        if process.exitcode != 0:
            found["surprises"].append(f"a writer ended with {process.exitcode}")
            process.kill()
    acknowledged = _noted(notes / "acknowledged")
    closed, lost, problems = in_child(_judge, root, acknowledged)
    found["closed"], found["lost"], found["problems"] = [*found["closed"], *closed], lost, problems
    found["surprises"] += _noted(notes / "surprises")
    return {**found, "acknowledged": len(acknowledged), "refused": Counter(_noted(notes / "refused"))}


def _wait_for_more(notes: Path, count: int) -> None:
    before, end = len(_noted(notes)), time.monotonic() + SECONDS_TO_FILL
    while len(_noted(notes)) < before + count and time.monotonic() < end:
        time.sleep(0.02)


def _brim(disk: Path, rng: random.Random) -> None:
    """Fill the disk up to a few pages."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - PAGE * rng.randrange(60)))


def _look(root: Path) -> list[str]:
    """At the brim: what keeps the store from being read."""
    try:
        Store.open(root).overrides()
    except BaseException as error:
        return [f"full: {type(error).__name__}: {error}"]
    return []


def _judge(root: Path, acknowledged: list[str]) -> tuple[list[str], list[str], list[str]]:
    """With room again: what keeps it from being opened, what is lost, what does not verify."""
    try:
        store = Store.open(root)
        store.set_override("V1", "judge", "last", 1)
        there = {f"{each.step} {each.key}" for each in store.overrides()}
        there |= {run.run.run_id for run in store.runs(state="succeeded")}
        return [], sorted(set(acknowledged) - there), list(verify(store).problems)
    except BaseException as error:
        return [f"{type(error).__name__}: {error}"], [], []


def in_child(function: Any, *arguments: Any) -> Any:
    """What a function gives in a process of its own; a store's name for a store."""
    ours, theirs = _FORK.Pipe()

    def answer() -> None:
        given = function(*arguments)
        theirs.send(str(given.root) if isinstance(given, Store) else given)

    process = _FORK.Process(target=answer)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def soak(rounds: int, *, writers: int, fills: int, seed: int) -> Tally:
    """All rounds. Ends the process with NO_MOUNT where nothing can be mounted."""
    tally = Tally()
    with TemporaryDirectory() as temporary:
        for number in range(rounds):
            disk, notes = Path(temporary, f"disk-{number}"), Path(temporary, f"notes-{number}")
            disk.mkdir()
            notes.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none", disk]).returncode:
                sys.exit(NO_MOUNT)
            try:
                found = one_round(disk, notes, writers=writers, fills=fills, seed=seed + number)
            finally:
                subprocess.run(["umount", "--lazy", disk], check=True)
            tally.rounds += 1
            tally.acknowledged += found["acknowledged"]
            tally.refused = dict(Counter(tally.refused) + Counter(found["refused"]))
            for name in ("lost", "closed", "problems", "surprises"):
                getattr(tally, name).extend(f"round {number}: {each}" for each in found[name])
            print(f"round {number + 1}: {found['acknowledged']} acknowledged", file=sys.stderr, flush=True)
    return tally


def report(tally: Tally) -> Table:
    """The figures, one row each."""
    table = Table(title="a disk that fills under several writers", title_justify="left", header_style="bold")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("which")
    table.add_row("rounds", str(tally.rounds), "")
    table.add_row("acknowledged writes", str(tally.acknowledged), "")
    refused = ", ".join(f"{name} {count}" for name, count in tally.refused.items())
    table.add_row("writes that met the full disk", str(sum(tally.refused.values())), refused)
    for what, found in (
        ("acknowledged and lost", tally.lost),
        ("stores that do not open or answer", tally.closed),
        ("what does not verify", tally.problems),
        ("errors that say something else", tally.surprises),
    ):
        table.add_row(what, str(len(found)), "; ".join(found[:5]))
    return table


def main() -> None:
    """Soak, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--fills", type=int, default=3, help="How often the disk is filled in each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="Print JSON")
    arguments = parser.parse_args()
    if os.geteuid() != 0:  # a user who is root in a namespace of their own may mount there
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv])
    tally = soak(arguments.rounds, writers=arguments.writers, fills=arguments.fills, seed=arguments.seed)
    if arguments.json:
        print(json.dumps(asdict(tally)))
    else:
        Console(width=140).print(report(tally))
    sys.exit(0 if tally.is_sound else 1)


if __name__ == "__main__":
    main()
