"""How time and memory of each stage grow: `python -m benchmarks.slopes [STAGE …]` writes docs/scale.md and its picture.

Each size of a stage is a process of its own, of one thread. What counts is processor time of the work alone, without
imports and what is laid out for it, and the peak of the process less what it held before. The slope is that of the line
through the two largest sizes, both axes logarithmic: 1 is linear. Nothing is kept for a stage that was not asked for
but what an earlier run measured.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_memory
from benchmarks.peers.page import table
from benchmarks.peers.rows import circumstances
from benchmarks.peers.turns import ENVIRONMENT, ROOT
from benchmarks.slopes.picture import picture
from benchmarks.slopes.works import WORKS

KEPT = Path(__file__).with_name("measured.json")
PAGE, PICTURE = ROOT / "docs" / "scale.md", ROOT / "docs" / "images" / "slopes.svg"
BEGIN, END = "<!-- figures, written by python -m benchmarks.slopes -->\n", "<!-- end of figures -->\n"
AT_LEAST = 0.02
"""Seconds of processor time below which a size tells nothing of a slope."""

Points = list[list[float]]
"""(size, processor seconds, MB) of each size, smallest first."""


def measure(name: str, size: int) -> tuple[float, float]:
    """(processor seconds, MB) of one size, here and now."""
    import torch

    torch.set_num_threads(1)
    work = WORKS[name]
    with tempfile.TemporaryDirectory() as scratch:
        timed = work.at(size, Path(scratch))
        before, started = peak_memory(), time.process_time()
        found = timed()
        if work.tells:
            return float(found[0]), float(found[2])
        return time.process_time() - started, (peak_memory() - before) / 1e6


def in_own_process(name: str, size: int) -> list[float]:
    """The same, by a process that ends with it."""
    command = [sys.executable, "-m", "benchmarks.slopes", "--one", name, str(size)]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [float(size), *json.loads(done.stdout.splitlines()[-1])]


def slope(points: Points) -> float | None:
    """The exponent between the two largest sizes; None where they take too little time to tell."""
    (size, seconds, _), (more, longer, _) = points[-2:]
    return math.log(longer / seconds) / math.log(more / size) if seconds >= AT_LEAST else None


def drawn_on(points: Sequence[Sequence[float]], size: float) -> float:
    """The second number of the points at a larger size: by what each more costs between the two largest, or with their
    slope where that is steeper than linear."""
    (less, few, *_), (more, many, *_) = points[-2:]
    straight = many + (many - few) / (more - less) * (size - more)
    if few <= 0 or many <= few:
        return many
    return max(straight, many * (size / more) ** (math.log(many / few) / math.log(more / less)))


def figures(kept: dict[str, Any]) -> str:
    """All that the page tells of what was measured."""
    lines = []
    for name, work in WORKS.items():
        if name not in kept["stages"]:
            continue
        points: Points = kept["stages"][name]
        (least, few, _), (most, many, memory) = points[0], points[-1]
        exponent = slope(points)
        on = ""
        if work.reaches is not None:
            size, words = work.reaches
            held = drawn_on([[each, used] for each, _, used in points], size)
            on = f"{words}: {duration(drawn_on(points, size))}, {megabytes(held)}"
        lines.append(
            [
                work.about,
                work.along,
                f"{least:,.0f} to {most:,.0f}",
                f"{few:.2g} to {many:.3g} s",
                "–" if exponent is None else f"**{exponent:.2f}**",
                megabytes(memory),
                on or "–",
            ]
        )
    head = ["stage", "along", "sizes", "CPU s", "slope", "memory of the largest", "drawn on"]
    at = ", ".join(str(kept[key]) for key in ("date", "cpu"))
    return f"\n{table(head, lines)}\n{at}, load {kept['load']} on {kept['cores']} cores.\n\n"


def megabytes(memory: float) -> str:
    """As a person would read it."""
    return f"{memory:,.0f} MB" if memory >= 1 else "hardly any"


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def main() -> None:
    """Measure what is asked for, and write the page."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
        return
    asked = sys.argv[1:] or list(WORKS)
    if unknown := set(asked) - set(WORKS):
        sys.exit(f"there is no stage {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"stages": {}}
    for name in asked:
        points = [in_own_process(name, size) for size in WORKS[name].sizes]
        kept["stages"][name] = points
        told = ", ".join(f"{size:,.0f}: {seconds:.3g} s {memory:.0f} MB" for size, seconds, memory in points)
        print(f"{name}: {told}; slope {slope(points)}", flush=True)
    kept |= circumstances()
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + figures(kept) + END + rest.partition(END)[2])
    PICTURE.write_text(picture({name: kept["stages"][name] for name in WORKS if name in kept["stages"]}))


if __name__ == "__main__":
    main()
