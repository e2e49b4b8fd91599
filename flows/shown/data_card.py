"""The README.md of exported rows: what they are, where they come from, and what was left out and why."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from data_store.figures import figure, named, percent
from data_store.reading.preference_formats.datasets import SCHEMA, written
from data_store.records import Head
from data_store.rows import row_kind
from data_store.store import Store
from flows.shown.card_parts import UNKNOWN, Stated, front_matter, redo, sources
from flows.shown.lineage_view import lineage_document

KINDS = {"preference": "preferences", "dialogue": "demonstrations"}
"""Kinds of rows that have a card → what is dropped of them, as steps name it."""
_DIALOGUE = ("messages", "kind", "source")
# Told in the card: `datasets` takes a column whose first 10 MB are null for one of nulls, and stops at the first value.
_SCHEMAS = {
    "preference": SCHEMA,
    "dialogue": pa.schema([row_kind("dialogue").schema.field(name) for name in _DIALOGUE]),
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_COUNTED = {
    "preference": ("axis", "rating", "safety_label", "annotator", "iteration"),
    "dialogue": ("kind",),
}
_MOST = 12  # values of a column, the most frequent ones

Rows = Sequence[Mapping[str, Any]]


def rows_by_split(rows: Rows, kind: str) -> dict[str, list[dict[str, Any]]]:
    """The rows as files hold them, by split; what has none is `train`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        made = written(row) if kind == "preference" else {name: row[name] for name in _DIALOGUE}
        found.setdefault(row.get("split") or "train", []).append(made)
    return found


def data_card(store: Store, head: Head, rows: Mapping[str, Rows], *, run: str, kind: str, known: Stated) -> str:
    """The text. `rows`: those of each file, by its split."""
    document = lineage_document(store, head.asset)
    every = [row for each in rows.values() for row in each]
    size = next((name for most, name in _SIZES if len(every) < most), "n>1M")
    files = [{"split": split, "path": f"{split}.jsonl"} for split, each in rows.items() if each]
    lines = [
        front_matter(
            known,
            pretty_name=f"{head.asset} of {run}",
            size_categories=[size],
            task_categories=["text-generation"],
            tags=["halter", "preference" if kind == "preference" else "conversational"],
            configs=[{"config_name": "default", "data_files": files}],
            dataset_info=[{"config_name": "default", "features": [_feature(each) for each in _SCHEMAS[kind]]}],
        ),
        "",
        f"# {head.asset} of {run}",
        "",
        _ABOUT[kind],
        "",
        f"Version `{head.version_id}`, exported by Halter.",
        "",
        "## How much",
        "",
        *_sizes(rows, every, kind),
        "",
        "## Where they come from",
        "",
        *sources(document, known),
        *_people(document),
        "",
        "## What was left out, and why",
        "",
        *_dropped(store, document, KINDS[kind]),
        "",
        "## Languages and licence",
        "",
        "Languages, as stated by whoever exported: " + (", ".join(map(named, known.languages)) or UNKNOWN) + ".",
        "Licence: "
        + (
            "unknown; it follows from those of the sources." if known.licence == UNKNOWN else f"{named(known.licence)}."
        ),
        "",
        "## How to make the same again",
        "",
        *redo(document, run),
    ]
    return "\n".join(lines) + "\n"


def _feature(column: pa.Field) -> dict[str, Any]:
    """A column as the hub's cards name its type."""
    if pa.types.is_list(column.type):
        return {"name": column.name, "list": [_feature(part) for part in column.type.value_type]}
    return {"name": column.name, "dtype": str(column.type)}


_ABOUT = {
    "preference": (
        "Pairs of responses with a judgement: `prompt`, `chosen` and `rejected` as messages, as TRL's trainers take "
        "them, with axis, rating, safety label, annotator, and what drew the responses."
    ),
    "dialogue": "Dialogues to learn from: `messages`, with the kind and the source of each.",
}


def _sizes(rows: Mapping[str, Rows], every: Rows, kind: str) -> Iterator[str]:
    yield from ("| split | rows |", "|---|---|")
    yield from (f"| {split} | {figure(len(each))} |" for split, each in rows.items())
    for column in _COUNTED[kind]:
        counts = Counter(str(row[column]) for row in every if row[column] is not None)
        if counts:
            shown = [
                f"{named(value)} {figure(count)} ({percent(count / len(every))})"
                for value, count in counts.most_common(_MOST)
            ]
            more = f", {figure(len(counts) - _MOST)} more" if len(counts) > _MOST else ""
            yield from ("", f"By {column.replace('_', ' ')}: {', '.join(shown)}{more}.")


def _people(document: Mapping[str, Any]) -> Iterator[str]:
    for judged in document["judgements"]:
        if judged["version"] == document["version"]:
            by = ", ".join(f"{figure(count)} by {named(name)}" for name, count in judged["by_annotator"].items())
            yield from ("", f"Judged: {by}.")


def _dropped(store: Store, document: Mapping[str, Any], what: str) -> Iterator[str]:
    """By step and reason, over all steps behind these rows."""
    counts: Counter[tuple[str, str]] = Counter()
    for run in document["runs"]:
        for made in run["makes"]:
            info = store.version(made["version"])
            if info.row_kind == "dropped":
                for row in store.rows(info.version_id).to_pylist():
                    if row["doc_id"].partition("/")[0].endswith(what):
                        counts[f"{run['step']} of {run['part']}", row["reason"]] += 1
    if not counts:
        yield "Nothing."
        return
    yield from ("| by | reason | rows |", "|---|---|---|")
    yield from (f"| {by} | {named(reason)} | {figure(count)} |" for (by, reason), count in sorted(counts.items()))
