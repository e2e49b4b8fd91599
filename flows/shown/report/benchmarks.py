"""What policies come to on benchmarks."""

from collections.abc import Mapping

from data_store.catalog.whole import Measured
from data_store.figures import rate
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Section, Table, measured, text
from tasks.evaluations.evaluation import Measure

_RATE = Measure("", "", form=rate)
_COUNTS = ("items", "cut")
_SUITE = "suite/"


def benchmarks(facts: Facts) -> Section:
    """A line for each suite, benchmark and count, a column for each policy (Llama 2, table 3 and appendix A.2.2)."""
    found: dict[str, Mapping[str, Measured]] = {}
    for (part, step), run in facts.maker_of.items():
        if step == "run_benchmarks":
            found[part] = facts.whole.measured.get(run.run.run_id, {})
    if not found:
        return Section("benchmarks", "Benchmarks", ["No policy was put to a benchmark."])
    names = {name for figures in found.values() for name in figures} - {"seconds", *_COUNTS}
    ordered = [*sorted(names, key=lambda name: (not name.startswith(_SUITE), name)), *_COUNTS]
    rows = []
    for name in ordered:
        known = [figures.get(name) for figures in found.values()]
        judge = next((each.judge for each in known if each is not None and each.judge), "nobody: counted")
        form = None if name in _COUNTS else _RATE
        rows.append([text(name), text(judge), *(measured(each, form) for each in known)])
    notes = [
        "A suite is the mean of its benchmarks, each counted once. cut: items that the policy's context did not hold."
    ]
    table = Table("benchmarks", "Figures per policy on benchmarks", ["figure", "judge", *found], rows, notes)
    return Section("benchmarks", "Benchmarks", tables=[table])
