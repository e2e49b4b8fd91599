"""Kill -9 at random, again and again, and look whether anything is lost.

    python benchmarks/soak.py configs/smoke.yaml [--kills 200] [--seed 0] [--folder FOLDER]

Runs the recipe once undisturbed. Then, in a store of its own, kills a random process of the run's tree (the command,
the Prefect server or what watches over it, the worker, a step) at a random moment, starts the same command again where
it has ended, and so on; where a run is finished before all kills are spent, it begins anew in another store. After each
kill every run that had succeeded must still be in the catalog and the store must verify; at the end every asset must
have the content hash that the undisturbed run gave it. Prints a table, and ends with 1 where anything is lost.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from data_store.store import Store
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from tasks.engine.alone import is_at_work

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_END = 60.0  # for what remains of a tree whose command is dead
SECONDS_OF_A_RUN = 3600.0
ROLES = (
    (b"tasks.engine.worker", "worker or step"),
    (b"flows.cli", "command"),
    (b"\0server\0start", "Prefect server"),
)


@dataclass
class Tally:
    """What was done and what was found. Everything but `killed`, `at_work` and `rounds` must stay empty."""

    killed: Counter[str] = field(default_factory=Counter)
    at_work: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost, half visible, left behind or other than it should be."""
        return not (self.lost or self.problems or self.orphans or self.hung or self.differing)


class Tree:
    """`halter run` on one home, with all processes that it has started."""

    def __init__(self, config: Path, home: Path, server: str | None) -> None:
        self.config, self.home = config, home
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        given = {} if server is None else {"PREFECT_API_URL": f"{server}/api"}
        self.environment = {**kept, **given, "HALTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.command: subprocess.Popen[bytes] | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        """The same command once more."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "command.log").open("ab") as log:
            self.command = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "run", str(self.config), "--json"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        return self.command

    def processes(self) -> dict[int, str]:
        """Process id → what it is, of all that were started for this home and still run."""
        mark, found = f"HALTER_HOME={self.home}".encode(), {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = next((role for mark, role in ROLES if mark in words), "other")
            except OSError:
                continue
        return found

    def end(self) -> list[str]:
        """Wait until the dead command's processes are gone; those that are not are ended, and named."""
        deadline = time.monotonic() + SECONDS_TO_END
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return list(left.values())


def heads_of(store: Store) -> Mapping[str, str]:
    """Asset → content hash."""
    return {str(asset): head.version_id for asset, head in store.heads().items()}


def undisturbed(config: Path, home: Path, server: str | None) -> tuple[Mapping[str, str], float]:
    """The heads that a run without kills ends at, and its seconds. Raises RuntimeError where it fails."""
    started, tree = time.monotonic(), Tree(config, home, server)
    if tree.start().wait(SECONDS_OF_A_RUN) != 0:
        raise RuntimeError(f"the undisturbed run failed: {(home / 'command.log').read_text()[-1000:]}")
    return heads_of(Store.open(home / load_config(config).name)), time.monotonic() - started


def soak(
    config: Path,
    folder: Path,
    wanted: Mapping[str, str],
    *,
    kills: int,
    seed: int,
    gap: float,
    server: str | None = None,
    start: Path | None = None,
) -> Tally:
    """Kill `kills` times, each after 0 to `gap` seconds; `wanted` are the heads that every round must end at. A round
    begins with a copy of the home `start`, or with nothing."""
    rng, tally, name = random.Random(seed), Tally(), load_config(config).name
    while sum(tally.killed.values()) < kills:
        tally.rounds += 1
        tree = Tree(config, folder / f"round-{tally.rounds}", server)
        succeeded: set[str] = set()
        if start is not None:
            shutil.copytree(start, tree.home)
        command = tree.start()
        unprovoked = 0
        while sum(tally.killed.values()) < kills and command.poll() != 0 and unprovoked < 3:
            if command.poll() is not None:
                tally.orphans += tree.end()
                command = tree.start()
            spent = sum(tally.killed.values())
            succeeded = _kill_one(tree, rng, gap, name, tally, succeeded)
            unprovoked = 0 if sum(tally.killed.values()) > spent else unprovoked + 1
        _finish(tree, name, wanted, tally, succeeded)
        if tally.hung:
            break
    return tally


def _kill_one(tree: Tree, rng: random.Random, gap: float, name: str, tally: Tally, before: set[str]) -> set[str]:
    """One signal, and a look at the store. Gives the runs that have succeeded so far."""
    command = tree.command
    deadline = time.monotonic() + rng.uniform(0, gap)
    while command is not None and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if not (there := tree.processes()) or command is None or command.poll() is not None:
        return before  # it came to its end by itself
    root = tree.home / name
    if (root / "catalog.duckdb").exists():
        running = [run.run for run in Store.open(root).runs(state="running")]
        tally.at_work.update(run.step for run in running if is_at_work(Store(root), run.fingerprint))
    pid = rng.choice(sorted(there))
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return before
    tally.killed[there[pid]] += 1
    if not (root / "catalog.duckdb").exists():
        return before
    return _look(Store.open(root), tally, before, deep=False)


def _look(store: Store, tally: Tally, before: set[str], *, deep: bool) -> set[str]:
    now = {run.run.run_id for run in store.runs(state="succeeded")}
    tally.lost += sorted(before - now)
    tally.problems += verify(store, deep=deep).problems
    return now


def _finish(tree: Tree, name: str, wanted: Mapping[str, str], tally: Tally, succeeded: set[str]) -> None:
    """The same command until it is done; a run that lost its server or worker may end with an error first."""
    command, tries = tree.command, 0
    while command is not None:
        try:
            code = command.wait(SECONDS_OF_A_RUN)
        except subprocess.TimeoutExpired:
            command.kill()
            tally.hung.append(str(tree.home))
            return
        tally.orphans += tree.end()
        if code == 0:
            break
        tries += 1
        if tries > 2:
            log = (tree.home / "command.log").read_text(errors="replace")
            tally.hung.append(f"{tree.home} never comes to its end: {log[-500:]}")
            return
        command = tree.start()
    store = Store.open(tree.home / name)
    _look(store, tally, succeeded, deep=True)
    found = heads_of(store)
    tally.differing += sorted(asset for asset in {*wanted, *found} if wanted.get(asset) != found.get(asset))
    for asset, version in found.items():
        if not asset.startswith("source/"):
            store.checkout(version)  # raises where a version is not there whole


def report(tally: Tally) -> Table:
    """The figures, one row each."""
    table = Table(title="kill -9 at random", title_justify="left", header_style="bold")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("which")

    def row(what: str, count: int, which: object) -> None:
        table.add_row(what, str(count), str(which))

    def spread(counts: Counter[str]) -> str:
        return ", ".join(f"{key} {count}" for key, count in counts.most_common())

    row("kills", sum(tally.killed.values()), spread(tally.killed))
    row("steps at work when one fell", sum(tally.at_work.values()), spread(tally.at_work))
    row("runs brought to their end", tally.rounds, "")
    for what, found in (
        ("acknowledged runs lost", tally.lost),
        ("dangling references, half-visible versions", tally.problems),
        ("processes left behind", tally.orphans),
        ("runs that hung or never ended", tally.hung),
        ("assets with other content than undisturbed", tally.differing),
    ):
        row(what, len(found), "; ".join(found[:5]))
    return table


def main() -> None:
    """Soak, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "configs" / "smoke.yaml")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--gap", type=float, help="Longest time between two kills in seconds; default: a third of a run"
    )
    parser.add_argument("--folder", type=Path, help="Where the stores are kept; default: a folder that goes at the end")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        config = arguments.config.absolute()
        wanted, seconds = undisturbed(config, folder / "undisturbed", None)
        print(f"undisturbed: {seconds:.0f} s, {len(wanted)} assets", flush=True)
        gap = arguments.gap or max(20.0, seconds / 3)
        tally = soak(config, folder, wanted, kills=arguments.kills, seed=arguments.seed, gap=gap)
    Console(width=140).print(report(tally))
    sys.exit(0 if tally.is_sound else 1)


if __name__ == "__main__":
    main()
