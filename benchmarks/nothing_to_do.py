"""What it costs to learn that nothing is to be done: `halter run` and `halter status` of a run that is finished.

    python benchmarks/nothing_to_do.py configs/demo.yaml [--against ../other-checkout] [--runs 5] [--json]

Finish the run first; its store is the one that HALTER_HOME names. Each figure is the median of the repeats, with the
least and the most beside it. What counts is the processor's time, of the command and all that it starts: the clock
depends on what else the machine does. With `--against` the same commands of another checkout of halter take turns with
these.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds of the processor and on the clock."""

    processor: float
    clock: float


def cost(command: list[str], code: Path) -> Cost:
    """Run a command of the `halter` that lies in this folder. Raises CalledProcessError where it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(code)}
    subprocess.run(
        [sys.executable, "-P", "-m", "flows.cli", *command], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(used, time.monotonic() - started)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description="The cost of learning that nothing is to be done")
    parser.add_argument("config", type=Path)
    parser.add_argument("--against", type=Path, help="Another checkout of halter")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    codes = {"here": ROOT, **({"there": given.against.resolve()} if given.against else {})}
    commands = {"run": ["run", str(given.config.resolve())], "status": ["status"]}
    found: dict[str, dict[str, list[Cost]]] = {name: {each: [] for each in codes} for name in commands}
    for _ in range(given.runs):
        for name, command in commands.items():
            for each, code in codes.items():
                found[name][each].append(cost(command, code))
    if given.json:
        costs = {name: {each: [asdict(one) for one in all_] for each, all_ in by.items()} for name, by in found.items()}
        print(json.dumps({"load": os.getloadavg()[0], **costs}, indent=1))
        return
    print(f"load {os.getloadavg()[0]:.1f}; seconds, the median of {given.runs} (least – most)")
    for name, by_code in found.items():
        for each, costs_of in by_code.items():
            used, clock = [one.processor for one in costs_of], [one.clock for one in costs_of]
            told = [f"{statistics.median(v):6.2f} ({min(v):.2f} – {max(v):.2f})" for v in (used, clock)]
            print(f"halter {name:<7} {each:<6} processor {told[0]:<24} clock {told[1]}")


if __name__ == "__main__":
    main()
