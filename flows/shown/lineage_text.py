"""Lineage as people read it: what came from outside, who judged, and the last steps, on about one screen."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.figures import figure
from tasks.engine.code import code_version
from tasks.engine.code_today import few

DEPTH = 2
_WIDTH = 110
_FILES = 8  # of one source

Document = Mapping[str, Any]


def lineage_lines(document: Document, *, depth: int = DEPTH, code: bool = False) -> list[str]:
    """The text. `depth`: how far back runs are shown whole, 0 for all; those behind are named by iteration. `code`:
    name each source file of the code instead of the layers alone."""
    runs = document["runs"]
    shown = [run for run in runs if not depth or run["depth"] <= depth]
    lines = [f"{document['asset']}  {document['version']}"]
    lines += _section("From outside", (line for entry in document["sources"] for line in _source(entry)))
    lines += _section("Judged", (_judgements(entry) for entry in document["judgements"]))
    lines += _section("Runs, newest first", (line for run in shown for line in _run(run)))
    before = _count(len(runs) - len(shown), "run")
    lines += _section(f"Before these, {before} (--depth 0 shows all)", _earlier(runs, shown))
    lines += _section("Code", code_lines(runs, code))
    return lines


def _section(title: str, lines: Iterable[str]) -> list[str]:
    content = [f"  {line}" for line in lines]
    return ["", title, *content] if content else []


def _source(entry: Document) -> Iterable[str]:
    yield f"{entry['asset']}  {entry['version'][:16]}  {entry['origin']}"
    for file in entry["files"][:_FILES]:
        yield f"    {file['sha256']}  {file['path']}  {figure(file['bytes'])} bytes"
    if len(entry["files"]) > _FILES:
        yield f"    and {_count(len(entry['files']) - _FILES, 'file')} more (--json names them)"


def _judgements(entry: Document) -> str:
    by = ", ".join(f"{count} pairs by {name}" for name, count in entry["by_annotator"].items())
    return f"{entry['asset']}  {entry['version'][:16]}  {by}"


def _run(run: Document) -> Iterable[str]:
    made = ", ".join(_edge(edge) for edge in run["makes"])
    yield f"{run['part']} {run['step']} → {made}"
    begun = f"{run['started_at'][:16]} UTC"
    yield f"    run {run['run'][:12]}, {begun}, seed {run['seed']}, code {run['code_version'][:12]}"
    if run["other_code"]:
        yield f"    today's code differs: {few(run['other_code'])}"
    yield from _wrapped("    set ", (f"{key}={value_text(value)}" for key, value in run["set"].items()))
    yield from _wrapped("    read ", (_edge(edge) for edge in run["reads"]))


def _earlier(runs: list[Document], shown: list[Document]) -> Iterable[str]:
    steps: dict[str, list[str]] = {}
    for run in runs:
        if run not in shown:
            steps.setdefault(run["part"], []).append(run["step"])
    for part, names in steps.items():
        yield from _wrapped(f"{part:<5}", names)
    for run in runs:  # what all began with
        if run not in shown and not any(edge["made_by_run"] for edge in run["reads"]):
            values = (f"{key}={value_text(value)}" for key, value in run["set"].items())
            yield from _wrapped(f"{run['part']} {run['step']} set ", values)


def code_lines(runs: Sequence[Document], whole: bool = False) -> Iterable[str]:
    """Of the code of runs a line for each layer: how many files, and one hash over them all; more where runs had other
    versions. `whole`: each file, too. Then commits and libraries."""
    versions: dict[str, set[str]] = {}
    for run in runs:
        for path, sha256 in run["code_files"].items():
            versions.setdefault(path, set()).add(sha256)
    layers: dict[str, dict[str, str]] = {}
    for path, hashes in sorted(versions.items()):
        layers.setdefault(path.partition("/")[0], {})[path] = " ".join(sorted(hashes))
    for layer, files in layers.items():
        several = sum(" " in hashes for hashes in files.values())
        more = f", {several} of them not the same in all runs" if several else ""
        yield f"{layer:<12} {code_version(files)[:16]}  {_count(len(files), 'file')}{more}"
        if whole:
            yield from (f"    {sha256}  {path}" for path, hashes in files.items() for sha256 in hashes.split())
    commits = {run["git_commit"]: run["git_dirty"] for run in runs}
    yield from (
        f"commit {commit[:12]}{', with changes' if dirty else ''}" for commit, dirty in commits.items() if commit
    )
    environments = {json.dumps(run["environment"], sort_keys=True) for run in runs}
    if len(environments) > 1:
        yield f"{len(environments)} sets of libraries (--json names them)"
    else:
        yield from _wrapped("with ", (f"{k} {v}" for each in environments for k, v in json.loads(each).items()))


def _edge(edge: Document) -> str:
    return f"{edge['asset']} {edge['version'][:8]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def value_text(value: Any) -> str:
    """A value of a config."""
    return value if isinstance(value, str) else json.dumps(value)


def _wrapped(head: str, items: Iterable[str]) -> list[str]:
    """The items in lines of a readable length, each item whole; none where there is no item."""
    listed = [item.replace(" ", "\u00a0") for item in items]
    if not listed:
        return []
    text = textwrap.fill(
        head + ", ".join(listed),
        _WIDTH,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace("\u00a0", " ").splitlines()
