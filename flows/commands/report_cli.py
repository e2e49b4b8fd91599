"""`halter report`: a run as one page that can be sent to somebody."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_store.errors import InputError
from data_store.files import atomic_write
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.recipe.config import RunConfig
from flows.session import outside_home, recall, session_of, stored_config
from flows.up_to_date import one_look

if TYPE_CHECKING:
    from flows.shown.report.page import Report


@guarded
def report(
    a: Annotated[str | None, typer.Argument(metavar="[A]", help="A run to lay beside another")] = None,
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The other one; without both it is of one run")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the page goes; NAME-report.html if not given.")
    ] = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """One HTML file: what changed and how surely, plots, tables, dialogues, data, lineage, cost, how to redo it."""
    from flows.shown.report.page import render

    named = [each for each in (a, b) if each is not None]
    if len(named) == 1 or (named and name is not None):
        raise InputError("give the names of two runs to compare, or --run for the report of one")
    configs = [stored_config(each) for each in named] or [recall(name)]
    target = outside_home(out or Path(f"{'-and-'.join(config.name for config in configs)}-report.html"))
    if not target.parent.is_dir():
        raise InputError(f"--out {target}: there is no folder {target.parent}; make it, or give another place")
    made = _of_two(*named) if named else _of_one(configs[0])
    atomic_write(target, render(made))
    if as_json:
        print_json({"file": str(target.absolute()), **made.as_json()})
    else:
        console.print(f"{target}: open it in a browser", highlight=False)


def _of_one(config: RunConfig) -> "Report":
    from flows.shown.report.build import build_report

    with session_of(config) as session, one_look(session):
        return build_report(session)


def _of_two(a: str, b: str) -> "Report":
    from flows.shown.diff.sides import OF_RUNS, open_sides
    from flows.shown.report.compare import build_comparison

    with open_sides(a, b, None) as sides:
        if sides.what != OF_RUNS:
            raise InputError(f"{a} and {b}: give the names of two runs")
        return build_comparison(sides)
