"""A day of an every-minute schedule: the pocket recipe under `halter serve`, with new preferences that come in now and
then. Every run that was planned must be accounted for: executed, or skipped with a stated reason. None may be lost,
late for ever or cut off, each file of preferences must become one iteration, and the store must verify.

    python benchmarks/every_minute.py                   # 24 hours, their minutes 15 seconds long: six hours
    python benchmarks/every_minute.py --hours 1 --minute 10

What is simulated is the length of a minute alone: the schedule is a cron expression with seconds. Server, scheduler,
worker and trainings are those of `halter serve`, in real time. A run that would take a quarter of a minute takes all of
a short one, so that many more runs are overtaken than on a real day; `--minute 60` is a real day.

Prints a row an hour, then what was found; ends with 1 where something is wrong.
"""

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from benchmarks.nights import command, lay_out, recipe

if TYPE_CHECKING:
    from tests.flows.recipe_runs import Home

NAME = "nights"  # of the recipe that both benchmarks use
SECONDS_TO_START = 300.0
SECONDS_TO_END = 900.0  # for what is in line at the end
GOOD = ("Completed", "Nothing new", "Up to date")


@dataclass(frozen=True)
class Planned:
    """A planned run: when it was to start, how it ended, and why."""

    at: datetime
    kind: str
    state: str
    message: str
    seconds: float


def main() -> None:
    """Read the command line, let the schedule run, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours (default 24)")
    parser.add_argument("--minute", type=int, default=15, help="seconds of a simulated minute; divides 60 (default 15)")
    parser.add_argument("--batch-every", type=int, default=60, help="minutes between new preferences (default 60)")
    parser.add_argument("--folder", type=Path, help="keep everything here")
    arguments = parser.parse_args()
    if arguments.minute < 1 or 60 % arguments.minute:
        parser.error("--minute must divide 60")
    with TemporaryDirectory(prefix="halter-every-minute-") as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        found = simulate(folder, arguments.hours, arguments.minute, arguments.batch_every)
    print("\n".join(found) or "every planned run is accounted for")
    sys.exit(1 if found else 0)


def simulate(folder: Path, hours: float, minute: int, batch_every: int) -> list[str]:
    """Let the schedule run for so many hours of sixty minutes of `minute` seconds; what is wrong, in words."""
    from tests.flows.recipe_runs import POCKET, Home

    folder.mkdir(parents=True, exist_ok=True)
    home, config = folder / "home", recipe(folder, POCKET)
    batches = 1 + int(hours * 60) // batch_every
    content = yaml.safe_load(config.read_text())
    content["schedule"] = {"take_in": "next_iteration", "max_iterations": batches + 1}
    config.write_text(yaml.safe_dump(content))
    lay_out(folder / "pairs", 0, 1)
    with serving(Home(home, name=NAME), config, f"* * * * * */{minute}" if minute < 60 else "* * * * *") as url:
        begin = datetime.now(UTC) + timedelta(seconds=2 * minute)
        end = begin + timedelta(seconds=hours * 60 * minute)
        laid = watch(folder, begin, end, minute, batch_every)
        switch_off(url)
        wait_for_the_last(home)
        runs = planned_runs(home, begin, end)
    command(home, "verify", "--json")
    print(summary(runs, laid))
    return [*faults_of(runs, begin, end, minute), *untaken(home, laid)]


@contextmanager
def serving(home: "Home", config: Path, cron: str) -> Iterator[str]:
    """`halter serve` with this schedule; gives the address of its server, and stops it at the end."""
    process = home.start("serve", config, "--schedule", cron)
    assert process.stdout is not None
    watchdog = threading.Timer(SECONDS_TO_START, process.kill)
    watchdog.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C ends" in line:
            break
    watchdog.cancel()
    if "Prefect UI: " not in "".join(said):
        raise RuntimeError(f"halter serve did not come up: {process.communicate(timeout=60)}")
    threading.Thread(target=_pass_on, args=(process,), daemon=True).start()
    try:
        yield "".join(said).split("Prefect UI: ")[1].split("/deployments")[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(180)
        finally:
            process.kill()


def _pass_on(process: "subprocess.Popen[str]") -> None:
    """What `halter serve` says of its schedule, beside the rows."""
    assert process.stdout is not None
    for line in process.stdout:
        print("  serve:", line.rstrip(), flush=True)


def watch(folder: Path, begin: datetime, end: datetime, minute: int, batch_every: int) -> list[str]:
    """Until the end: lay out files, print a row an hour. Gives the names of the files."""
    laid, hour = ["batch-0.jsonl"], 1
    print("hour  planned  executed  skipped  failed  late now  Prefect B  seconds of a run (median, longest)")
    while (now := datetime.now(UTC)) < end:
        passed = (now - begin).total_seconds() / minute
        if passed >= batch_every * len(laid):
            lay_out_one_more(folder, len(laid))
            laid.append(f"batch-{len(laid)}.jsonl")
        if passed >= 60 * hour:
            print_row(folder / "home", hour, begin, now)
            hour += 1
        time.sleep(1)
    print_row(folder / "home", hour, begin, end)
    return laid


def lay_out_one_more(folder: Path, number: int) -> None:
    """A new file of preferences, there at once and whole."""
    apart = folder / "apart"
    apart.mkdir(exist_ok=True)
    lay_out(apart, number, number + 1)  # of the files of this night, the first is new
    (apart / f"batch-{number}.jsonl").rename(folder / "pairs" / f"batch-{number}.jsonl")


def planned_runs(home: Path, begin: datetime, end: datetime) -> list[Planned]:
    """The runs that the schedule has planned between two times, read from Prefect's own database."""
    with closing(sqlite3.connect(f"file:{home}/.prefect/prefect.db?mode=ro", uri=True, timeout=60)) as database:
        rows = database.execute(
            "SELECT run.expected_start_time, run.state_type, run.state_name, state.message, "
            "(julianday(run.end_time) - julianday(run.start_time)) * 86400 FROM flow_run run "
            "JOIN flow_run_state state ON state.id = run.state_id WHERE run.auto_scheduled "
            "AND run.expected_start_time >= ? AND run.expected_start_time < ? ORDER BY run.expected_start_time",
            (_sql(begin), _sql(end)),
        ).fetchall()
    return [
        Planned(datetime.fromisoformat(at).replace(tzinfo=UTC), kind, name, message or "", seconds or 0.0)
        for at, kind, name, message, seconds in rows
    ]


def _sql(when: datetime) -> str:
    return f"{when:%F %T.%f}"


def print_row(home: Path, hour: int, begin: datetime, now: datetime) -> None:
    """What has become of the planned runs so far."""
    runs = planned_runs(home, begin, now)
    count = Counter(_sort(run) for run in runs)
    seconds = sorted(run.seconds for run in runs if _sort(run) == "executed") or [0.0]
    size = sum(path.stat().st_size for path in (home / ".prefect").glob("prefect.db*"))
    print(
        f"{hour:4} {len(runs):8} {count['executed']:9} {count['skipped']:8} {count['failed']:7} {count['open']:9} "
        f"{size:10,}  {seconds[len(seconds) // 2]:.0f}, {seconds[-1]:.0f}",
        flush=True,
    )


def _sort(run: Planned) -> str:
    if run.state in GOOD:
        return "executed"
    if run.state == "Skipped" and run.message:
        return "skipped"
    return "failed" if run.kind in ("FAILED", "CRASHED", "CANCELLED", "COMPLETED") else "open"


def switch_off(url: str) -> None:
    """Have the scheduler plan nothing more, and take back what lies ahead."""
    with urllib.request.urlopen(f"{url}/api/deployments/name/recipe/recipe", timeout=60) as answer:
        found = json.loads(answer.read())
    (schedule,) = found["schedules"]
    request = urllib.request.Request(
        f"{url}/api/deployments/{found['id']}/schedules/{schedule['id']}",
        json.dumps({"active": False}).encode(),
        {"Content-Type": "application/json"},
        method="PATCH",
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            urllib.request.urlopen(request, timeout=60).close()
            return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:  # its database is busy: ask again
                raise
            time.sleep(1)


def wait_for_the_last(home: Path) -> None:
    """Until nothing is under way or in line any more; what still is then shows in the accounts."""
    deadline = time.monotonic() + SECONDS_TO_END
    long_ago, now = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC)
    while time.monotonic() < deadline:
        if not [run for run in planned_runs(home, long_ago, now) if _sort(run) == "open"]:
            return
        time.sleep(2)


def faults_of(runs: list[Planned], begin: datetime, end: datetime, minute: int) -> list[str]:
    """Planned runs that are missing, there twice, or ended otherwise than well or skipped with a reason."""
    times = Counter(run.at for run in runs)
    first = datetime.fromtimestamp(-(-begin.timestamp() // minute) * minute, UTC)
    wanted = []
    while first < end:
        wanted.append(first)
        first += timedelta(seconds=minute)
    return [
        *(f"no run was planned for {at:%F %T}" for at in wanted if at not in times),
        *(f"{count} runs were planned for {at:%F %T}" for at, count in times.items() if count > 1),
        *(
            f"the run planned for {run.at:%F %T} is {run.state}: {run.message[:200]}"
            for run in runs
            if _sort(run) in ("failed", "open")
        ),
    ]


def untaken(home: Path, laid: list[str]) -> list[str]:
    """Files that no iteration has taken in, or two."""
    from data_store.incoming.intakes import read_intakes
    from data_store.store import Store

    taken = Counter(
        Path(file.path).name
        for intake, _ in read_intakes(Store.open(home / NAME)).values()
        for file in intake.files
        if file.path.startswith(str(home.parent / "pairs"))
    )
    return [f"{name} was taken in {taken[name]} times" for name in laid if taken[name] != 1]


def summary(runs: list[Planned], laid: list[str]) -> str:
    """All of it in a few lines."""
    count = Counter(f"{run.state}" for run in runs)
    told = ", ".join(f"{number} {name}" for name, number in count.most_common())
    return f"{len(runs)} planned: {told}; {len(laid)} files of preferences"


if __name__ == "__main__":
    main()
