"""`halter status` and `halter lineage`: where a run stands, and what made what is there."""

import json
from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from data_store.figures import figure
from data_store.names import AssetName
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.commands.terminal import print_figures
from flows.intakes import describe, intake_rows
from flows.recipe.config import RunConfig
from flows.session import Session, opened, recall, session_of
from flows.shown.lineage_text import DEPTH, lineage_lines
from flows.shown.lineage_view import lineage_document
from flows.shown.status import Cell, other_code_in_words
from flows.shown.summary import summary_rows
from flows.up_to_date import look, one_look


@guarded
def status(name: RunOption = None, as_json: JsonOption = False) -> None:
    """The grid: iterations by steps, each fresh, stale, tainted, missing, failed, running, waiting or at a gate."""
    config = recall(name)
    with session_of(config) as session, one_look(session):
        _print_status(session, as_json)


def _print_status(session: Session, as_json: bool) -> None:
    config, store = session.config, session.store
    cells = look(session).cells
    rows = summary_rows(session, cells)
    if as_json:
        overrides = [
            {"part": o.part, "step": o.step, "key": o.key, "value": json.loads(o.value_json)} for o in store.overrides()
        ]
        document = {"run": config.name, "steps": [c.as_json() for c in cells], "overrides": overrides, "figures": rows}
        places = store.places.model_dump(include={"objects", "journal"}, exclude_none=True)
        more = {"iterations": session.parts, "taken_in": intake_rows(store), "elsewhere": places}
        print_json({**document, **more})
        return
    _print_grid(config, cells)
    for override in store.overrides():
        console.print(
            f"set by hand: {override.part} {override.step} {override.key}={override.value_json}", highlight=False
        )
    _tell_intakes(config, store)
    _tell_places(store)
    print_figures(console, config.name, rows)


@guarded
def lineage(
    asset: Annotated[str, typer.Argument(help="An asset, such as model/policy@V2")],
    name: RunOption = None,
    depth: Annotated[int, typer.Option(min=0, help="How many runs back are shown whole; 0: all")] = DEPTH,
    code: Annotated[bool, typer.Option("--code", help="Name every file of the code with its hash")] = False,
    as_json: JsonOption = False,
) -> None:
    """What made an asset: data, judgements, configs as far as they are not the defaults, code. `--json` has all of it,
    down to the hashes of source files."""
    document = lineage_document(opened(name)[1], AssetName.parse(asset))
    if as_json:
        print_json(document)
    else:
        for line in lineage_lines(document, depth=depth, code=code):
            console.print(escape(line), highlight=False, soft_wrap=True)


def _print_grid(config: RunConfig, cells: list[Cell]) -> None:
    colours = {
        "fresh": "green",
        "stale": "yellow",
        "tainted": "bright_red",
        "missing": "dim",
        "running": "cyan",
        "waiting": "magenta",
    }
    parts = list(dict.fromkeys(cell.part for cell in cells))
    steps = list(dict.fromkeys(cell.step for cell in cells))
    by_key = {(cell.step, cell.part): cell for cell in cells}
    table = Table(title=f"{config.name}: steps by iteration", title_justify="left", header_style="bold")
    table.add_column("step", no_wrap=True)
    table.add_column("its figure", style="dim")
    for part in parts:
        table.add_column(part)
    for step in steps:
        shown = []
        for part in parts:
            cell = by_key.get((step, part))
            if cell is None:
                shown.append("")
                continue
            value = "" if cell.figure is None else f" {figure(cell.figure)}"
            state = "at gate" if cell.gate else cell.state
            colour = colours.get(state, "red")
            shown.append(f"[{colour}]{state}[/{colour}]{value}")
        named = {cell.metric for cell in cells if cell.step == step and cell.figure is not None}
        table.add_row(step, ", ".join(sorted(named)), *shown)
    console.print(table)
    for cell in cells:
        if cell.state not in ("fresh", "missing"):
            console.print(f"{cell.part} {cell.step} is {cell.state}: {escape(cell.reason)}", highlight=False)
        if cell.gate:
            console.print(f"{cell.part} {cell.step} is at a gate: {escape(cell.gate)}", highlight=False)
    if told := other_code_in_words(cells):
        console.print(escape(told), highlight=False)


def _tell_places(store: Store) -> None:
    """What of the store does not lie in its folder."""
    for part, place in (("objects", store.places.objects), ("journal", store.places.journal)):
        if place is not None:
            console.print(f"the {part} of the store: {escape(place)}", highlight=False, soft_wrap=True)


def _tell_intakes(config: RunConfig, store: Store) -> None:
    if text := describe(config, store):
        console.print(text, highlight=False)
    for row in intake_rows(store):
        files = ", ".join(cast(list[str], row["files"])) or "another round of judging"
        console.print(f"{row['part']} took in {escape(files)} ({row['at']})", highlight=False)
