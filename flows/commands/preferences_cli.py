"""`halter preferences export` writes a run's judgements in the format of another tool."""

from pathlib import Path
from typing import Annotated, Any

import typer

from data_store.annotation.book import Book
from data_store.annotation.export import rows_so_far
from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.reading.preference_export import export_preferences
from data_store.reading.preference_formats.registry import EXPORT_FORMATS
from data_store.row_sources import without
from data_store.rows import AXES
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, guarded, print_json, say
from flows.recipe.plan import intakes_of, parts_of
from flows.session import opened, outside_home

preferences = typer.Typer(help="The judgements of a run.", no_args_is_help=True)


@preferences.callback()
def _group() -> None:
    """The judgements of a run."""


@preferences.command("export")
@guarded
def export(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The file to write: .parquet, .json for the tools, .jsonl for hh")
    ],
    format: Annotated[str, typer.Option("--format", help=", ".join(EXPORT_FORMATS))],
    iteration: Annotated[str | None, typer.Option("--iteration", help="V1, V2 …; all of them if not given")] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", help="Of the annotation book, such as chat-v2-1; no iteration then"),
    ] = None,
    axis: Annotated[str | None, typer.Option("--axis", help="helpfulness or safety; both if not given")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write preferences for `datasets` and TRL, for Argilla or Label Studio, or as Anthropic HH dialogues."""
    if axis is not None and axis not in AXES:
        raise InputError(f"--axis is {axis!r}; use one of {', '.join(AXES)}")
    if format not in EXPORT_FORMATS:
        raise InputError(f"--format is {format!r}; use one of {', '.join(EXPORT_FORMATS)}")
    config, store = opened(name)
    outside_home(target)
    if batch is not None and iteration is not None:
        raise InputError("--batch and --iteration each say what is written: give one of them")
    rows = _rows(store, parts_of(config, intakes_of(store)), iteration) if batch is None else _of_batch(store, batch)
    kept = [row for row in rows if axis in (None, row["axis"])]
    done = export_preferences(kept, format, target, overwrite=overwrite)
    if as_json:
        print_json({"target": str(target), "format": format, "rows": done.rows, "left_out": done.left_out})
        return
    say(as_json, f"{done.rows} judgements in {target}")
    for reason, count in done.left_out.items():
        say(as_json, f"{count} left out: {reason}")


def _of_batch(store: Store, batch: str) -> list[dict[str, Any]]:
    """The judgements of a batch as they stand, without those of people who have withdrawn."""
    book = Book.open(store.root)
    gone = [each.name for each in store.withdrawals() if each.what == "annotator"]
    rows: list[dict[str, Any]] = without(rows_so_far(book, batch), "annotator", gone).to_pylist()
    return rows


def _rows(store: Store, parts: list[str], iteration: str | None) -> list[dict[str, Any]]:
    """The preferences of one iteration, or of all that have some, oldest first."""
    if iteration is not None and iteration not in parts:
        raise InputError(f"--iteration is {iteration!r}; there are {', '.join(parts)}{did_you_mean(iteration, parts)}")
    heads = store.heads()
    assets = [AssetName("dataset", "preferences", part) for part in parts if iteration in (None, part)]
    there = [asset for asset in assets if asset in heads]
    if not there:
        raise InputError(f"there are no preferences of {iteration or 'any iteration'} yet: run the recipe first")
    return [
        row
        for asset in there
        for row in sorted(store.rows(heads[asset].version_id).to_pylist(), key=lambda row: str(row["preference_id"]))
    ]
