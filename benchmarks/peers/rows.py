"""The rows of docs/speed.md: what each command of benchmarks/peers/ measures, kept as benchmarks/results/ROW.json."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.turns import ROOT, Side, alternate, require_alike

RESULTS = ROOT / "benchmarks" / "results"
OTHER = "other tree"
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")
SAMPLED_ALIKE = 0.1  # answers are drawn with other random numbers; of that much their mean lengths may differ


@dataclass(frozen=True)
class Row:
    """`name` is that of the module and of its result. `alike` is what all sides must answer alike before a round is
    timed (see `alternate`); `sampled` is a number whose mean over all rounds must be alike, to SAMPLED_ALIKE. With
    `per` seconds are compared for as much of that number. A row `by_hand` takes too long for `make bench`."""

    name: str
    work: str
    alike: Mapping[str, float]
    sampled: str | None = None
    per: str | None = None
    by_hand: bool = False


def ratios(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], per: str | None) -> list[float]:
    """CPU seconds of theirs / ours, pair by pair, smallest first."""

    def cost(answer: Mapping[str, float]) -> float:
        return answer["seconds"] / (answer[per] if per else 1.0)

    return sorted(cost(their) / cost(our) for their, our in zip(theirs, ours, strict=True))


def result_of(row: Row, found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """What a row came to; the first side is ours. Raises RuntimeError where what was sampled differs."""
    ours = next(iter(found.values()))
    sides = []
    for name, answers in found.items():
        each = ratios(ours, answers, row.per)
        told = {key: statistics.fmean(answer[key] for answer in answers) for key in answers[0]}
        sides.append(
            {
                "side": name,
                "cpu_seconds": statistics.median(answer["seconds"] for answer in answers),
                "peak_mb": max(answer["peak_mb"] for answer in answers),
                "ratio": {"median": statistics.median(each), "lowest": each[0], "highest": each[-1]},
                "work": {key: number for key, number in told.items() if key not in ("seconds", "peak_mb")},
            }
        )
    if row.sampled:
        require_alike(row.sampled, {side["side"]: side["work"][row.sampled] for side in sides}, SAMPLED_ALIKE)
    return {**asdict(row), "pairs": len(ours), "sides": sides, **circumstances()}


def circumstances() -> dict[str, Any]:
    """When and where something was measured, and with which versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": names[0] if names else "an unknown CPU",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def save(result: Mapping[str, Any]) -> None:
    """Where the page is made of it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1, default=float)
    (RESULTS / f"{result['name']}.json").write_text(text + "\n")


def show(result: Mapping[str, Any]) -> None:
    """A line for each side."""
    print(f"{result['work']}: {result['pairs']} pairs, load {result['load']}")
    for side in result["sides"]:
        ratio, work = side["ratio"], ", ".join(f"{name} {number:,.6g}" for name, number in side["work"].items())
        print(
            f"{side['side']:<28} {side['cpu_seconds']:8.3f} CPU s  {side['peak_mb']:6.0f} MB  theirs / ours "
            f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})  {work}"
        )


@contextmanager
def build_of(commit: str | None) -> Iterator[Path | None]:
    """A worktree of it while it is needed; None where no commit is given. Raises SystemExit for one that git lacks."""
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        if subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=False).returncode:
            raise SystemExit(f"--commit: git has no {commit}")
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def compare(
    row: Row,
    arguments: argparse.ArgumentParser,
    sides: Mapping[str, Callable[[Path], None]],
    lay_out: Callable[[argparse.Namespace, Path], None],
    *,
    older: Sequence[str] = (),
) -> int:
    """The command of a row: its sides, ours first, take turns at what `lay_out` has put into a folder.

    `older` are sides whose packages in the folder `--libraries` come before those that are installed. Ends with 1 where
    two sides do not do the same work.
    """
    if sys.argv[1:2] == ["--side"]:  # a process that `Side` has started
        name, folder = sys.argv[2:]
        sides[name](Path(folder))
        return 0
    arguments.add_argument("--rounds", type=int, default=7, help="pairs that are timed")
    arguments.add_argument("--tree", type=Path, help="another checkout of Halter, which takes part as one more side")
    arguments.add_argument("--commit", help="an earlier build, which takes part as one more side and is kept")
    if older:
        arguments.add_argument("--libraries", type=Path, required=True, help=f"folder with {', '.join(older)}")
    arguments.add_argument("--save", action="store_true", help=f"keep it as benchmarks/results/{row.name}.json")
    given = arguments.parse_args()
    before = {side: given.libraries.resolve() for side in older}
    with tempfile.TemporaryDirectory() as name, build_of(given.commit) as earlier:
        lay_out(given, Path(name))
        commands = {side: ["-m", f"benchmarks.peers.{row.name}", "--side", side, name] for side in sides}
        taking = [Side(side, command, libraries=before.get(side)) for side, command in commands.items()]
        ours = commands[next(iter(sides))]
        taking += [Side(f"Halter at {given.commit}", ours, tree=earlier)] if earlier else []
        taking += [Side(OTHER, ours, tree=given.tree.resolve())] if given.tree else []
        try:
            result = result_of(row, alternate(taking, given.rounds, row.alike))
        except RuntimeError as error:
            print(f"{row.name}: {error}", file=sys.stderr)
            return 1
    show(result)
    if given.save:
        save({**result, "sides": [side for side in result["sides"] if side["side"] != OTHER]})
    return 0
