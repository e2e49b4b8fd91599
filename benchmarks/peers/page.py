"""docs/speed.md, made of benchmarks/results/*.json."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.rows import RESULTS, SAMPLED_ALIKE
from benchmarks.peers.turns import ROOT

PAGE = ROOT / "docs" / "speed.md"
BEGIN, END = "<!-- figures, written by make bench -->\n", "<!-- end of figures -->\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def seconds(number: float) -> str:
    """Of processor time."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}"


def compared(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line for each of the others' ways to do a row's work."""
    lines = []
    for result in results:
        ours, *others = result["sides"]
        for side in others:
            ratio, share = side["ratio"], ours["peak_mb"] / side["peak_mb"]
            lines.append(
                [
                    result["work"] + (" *(by hand)*" if result["by_hand"] else ""),
                    side["side"],
                    f"**{ratio['median']:.2f}** ({ratio['lowest']:.2f}–{ratio['highest']:.2f})",
                    str(result["pairs"]),
                    f"{seconds(side['cpu_seconds'])} / {seconds(ours['cpu_seconds'])}",
                    f"{side['peak_mb']:.0f} / {ours['peak_mb']:.0f} ({share:.2f} of theirs)",
                ]
            )
    return lines


def alike(result: dict[str, Any]) -> str:
    """What was held equal, and to which bound."""
    held = [f"{name} (to {bound:g})" if bound else name for name, bound in result["alike"].items()]
    if result["sampled"]:
        means = " and ".join(f"{side['work'][result['sampled']]:.1f}" for side in result["sides"])
        held.append(f"{result['sampled']}, which are drawn (to {SAMPLED_ALIKE:g} in the mean of all turns: {means})")
    return "; ".join(held)


def circumstances(result: dict[str, Any]) -> str:
    """When, where and with what."""
    libraries = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{result['date']}, {result['cpu']}, load {result['load']} on {result['cores']} cores; {libraries}"


def figures(results: Sequence[dict[str, Any]]) -> str:
    """All that the page tells of results."""
    rows = [result for result in results if "sides" in result]
    text = "\n" + table(
        ["work", "beside", "theirs / ours", "n", "CPU s, theirs / ours", "peak MB, theirs / ours"], compared(rows)
    )
    for result in results:
        if "stages" in result:
            text += f"\n{result['work']}, beside nobody; medians of {result['pairs']}:\n\n" + table(
                ["stage", "CPU s", "peak MB"], stages(result)
            )
    text += "\n## What was held equal, and when it was measured\n\n"
    for result in results:
        command = f"`python -m benchmarks.{'' if 'stages' in result else 'peers.'}{result['name']}`"
        held = alike(result) if "sides" in result else "the version that each turn comes to"
        text += f"- {command}. Alike: {held}. {circumstances(result)}.\n"
    return text + "\n"


def stages(result: dict[str, Any]) -> list[list[str]]:
    """A line for each stage of what is compared with nobody."""
    lines = []
    for name, costs in result["stages"].items():
        processor, _, peak = (list(values) for values in zip(*costs, strict=True))
        spread = f"{seconds(min(processor))}–{seconds(max(processor))}"
        lines.append([name, f"{seconds(statistics.median(processor))} ({spread})", f"{max(peak):.0f}"])
    return lines


def with_figures(text: str, results: Sequence[dict[str, Any]]) -> str:
    """The page with these figures in the place of those that it has. Raises ValueError where it has no place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + figures(results) + end + after


def write() -> None:
    """From what is kept."""
    PAGE.write_text(with_figures(PAGE.read_text(), kept()))


def kept() -> list[dict[str, Any]]:
    """All results, those of `make bench` first, then by name."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return sorted(found, key=lambda result: (result.get("by_hand", False), result["name"]))
