"""Lineage that can be walked: each run with links to what it read, who made that, and who read what it made."""

from collections.abc import Iterator
from typing import Any

from data_store.catalog.runs import read_origins
from data_store.figures import figure, seconds, size
from data_store.records import LineageEdge, RunSummary
from flows.recipe.defaults import differing
from flows.recipe.table import STEPS
from flows.shown.lineage_text import value_text
from flows.shown.report.data import anchor
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Section

_MOST_RUNS = 1_500  # on one page
_MOST_LINKS = 40  # of the readers of one version
_MOST_KEYS = 60  # of the values that a config sets


def lineage(facts: Facts) -> Section:
    """All runs behind the heads, by part, newest part last, and what came from outside."""
    behind = _behind_heads(facts)
    shown = behind[:_MOST_RUNS]
    parts: dict[str, list[dict[str, Any]]] = {part: [] for part in facts.parts}
    kept = {run.run.run_id for run in shown}
    named: set[str] = set()  # one content can be the head of several assets, and a place on a page has one name
    outside = list(_outside(facts, kept, named))
    for run in reversed(shown):
        parts.setdefault(run.run.part, []).append(_card(facts, run, kept, named))
    texts = [
        "Each step is followed by what it read, and each thing that was read leads to what made it. Versions are named "
        "by the first digits of their content's hash."
    ]
    if len(behind) > len(shown):
        texts.append(f"{figure(len(behind) - len(shown))} older runs are not shown.")
    groups = [{"part": part, "runs": cards} for part, cards in parts.items() if cards]
    return Section("lineage", "What made it", texts, extra={"groups": groups, "outside": outside})


def run_anchor(run_id: str) -> str:
    """Where a run stands on the page."""
    return f"r-{run_id}"


def _behind_heads(facts: Facts) -> list[RunSummary]:
    """The runs behind the current versions and all that led to them, newest first."""
    whole = facts.whole
    waiting = [head.run_id for head in whole.heads.values() if head.run_id is not None]
    reached = set(waiting)
    while waiting:
        for edge in whole.reads.get(waiting.pop(), ()):
            if edge.producer_run_id is not None and edge.producer_run_id not in reached:
                reached.add(edge.producer_run_id)
                waiting.append(edge.producer_run_id)
    return [run for run_id, run in whole.runs.items() if run_id in reached]


def _card(facts: Facts, run: RunSummary, kept: set[str], named: set[str]) -> dict[str, Any]:
    record = run.run
    step = STEPS.get(record.step)
    values = differing(step.config if step else None, record.config.get("config", {}))
    chosen = [(key, value_text(value)) for key, value in values.items()]
    return {
        "anchor": run_anchor(record.run_id),
        "title": f"{record.step} of {record.part}",
        "facts": [
            ("run", record.run_id[:16]),
            ("begun", f"{record.started_at:%Y-%m-%d %H:%M} UTC"),
            ("took", seconds(run.seconds)),
            ("seed", figure(record.seed)),
            ("code", record.code_version[:16]),
            ("fingerprint", record.fingerprint[:16]),
        ],
        "set": chosen[:_MOST_KEYS],
        "more": len(chosen) - _MOST_KEYS if len(chosen) > _MOST_KEYS else 0,
        "reads": [_read(edge, kept) for edge in facts.whole.reads.get(record.run_id, ())],
        "makes": [_made(facts, edge, kept, named) for edge in facts.whole.makes.get(record.run_id, ())],
    }


def _read(edge: LineageEdge, kept: set[str]) -> dict[str, Any]:
    if edge.producer_run_id is None:
        href = f"#{anchor(edge.version_id)}"
    else:
        href = f"#{run_anchor(edge.producer_run_id)}" if edge.producer_run_id in kept else ""
    return {"role": edge.role, "asset": str(edge.asset), "version": edge.version_id[:12], "href": href}


def _made(facts: Facts, edge: LineageEdge, kept: set[str], named: set[str]) -> dict[str, Any]:
    head = facts.whole.heads.get(edge.asset)
    info = facts.whole.versions.get(edge.version_id)
    is_current = head is not None and (head.version_id, head.run_id) == (edge.version_id, edge.run_id)
    held = (
        ""
        if info is None
        else f"{figure(info.rows)} rows, {size(info.bytes)}"
        if info.rows is not None
        else size(info.bytes)
    )
    readers = [r for r in facts.whole.readers.get((edge.version_id, edge.run_id), ()) if r in kept]
    is_place = is_current and edge.version_id not in named
    named.update([edge.version_id] if is_place else [])
    return {
        "anchor": anchor(edge.version_id) if is_place else "",
        "asset": str(edge.asset),
        "version": edge.version_id[:12],
        "held": held,
        "is_current": is_current,
        "readers": [_reader(facts, run_id) for run_id in readers[:_MOST_LINKS]],
        "more": max(0, len(readers) - _MOST_LINKS),
    }


def _reader(facts: Facts, run_id: str) -> dict[str, str]:
    run = facts.whole.runs[run_id].run
    return {"href": f"#{run_anchor(run_id)}", "title": f"{run.step} of {run.part}"}


def _outside(facts: Facts, kept: set[str], named: set[str]) -> Iterator[dict[str, Any]]:
    """What no step of this store made, each version once."""
    origins = facts.session.store.catalog.ask("origins", read_origins)
    for run_id in facts.whole.runs:
        for edge in facts.whole.reads.get(run_id, ()) if run_id in kept else ():
            if edge.producer_run_id is None and edge.version_id not in named:
                named.add(edge.version_id)
                readers = [r for r in facts.whole.readers.get((edge.version_id, None), ()) if r in kept]
                yield {
                    "anchor": anchor(edge.version_id),
                    "asset": str(edge.asset),
                    "version": edge.version_id[:12],
                    "location": origins.get((str(edge.asset), edge.version_id), {}).get("location", ""),
                    "readers": [_reader(facts, each) for each in readers[:_MOST_LINKS]],
                }
