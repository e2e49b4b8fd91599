"""`halter study`: variants of one run, compared."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.layout import MARKER
from data_store.read_only import check_writable
from flows.commands.command import JsonOption, console, errors, guarded, print_json, say
from flows.commands.terminal import StepDisplay, print_table
from flows.recipe.plan import build_plan
from flows.server.server import prefect_server
from flows.session import home, outside_home, session_of, store_root
from flows.study.config import Study, StudyConfig, is_study, load_study, open_study, own_steps, study_of
from flows.study.results import Row, interval_in_words, rows_of, saved_in_words, tables
from flows.study.scaling import Point, laws_in_words, lines_of, loss_in_words, table_of
from flows.study.scaling import as_json as lines_as_json
from flows.study.scaling_picture import picture_of
from flows.up_to_date import look, one_look


@guarded
def study(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A run's config, to be varied, or a study file of configs/studies")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE", help="Values to try for a key of the config; may be given several times"
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=30, help="Runs of each variant: the config's seed and those after it [1]")
    ] = None,
    share_v0: Annotated[
        bool, typer.Option("--share-v0", help="All seeds go on from one V0: they differ from V1 on. Much cheaper.")
    ] = False,
    cross: Annotated[
        bool, typer.Option("--cross", help="Every combination of the values, not one key at a time.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say which runs there would be, and how many steps each has of its own.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write the picture of the figures there")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare variants of one run: each is a run of its own, and what two have in common is computed once. The same
    command goes on where it was stopped."""
    config = _read(file, vary or [], seeds, share_v0=share_v0, cross=cross)
    opened = open_study(config)
    store_root(opened.base.name)  # it is read by every variant, so it has to be whose it says
    target = None if out is None else _target(out)
    if plan:
        _show_plan(opened, as_json)
        return
    check_writable(home())
    told = ""
    if os.environ.get("PREFECT_API_URL") or not _is_done(opened):
        told = _run(opened, as_json)
    else:
        say(as_json, "there is nothing to do, and no Prefect server was started")
    rows = rows_of(opened)
    svg = picture_of(config, rows)
    if target is not None and svg is not None:
        atomic_write(target, svg)
        say(as_json, f"wrote {escape(str(target))}")
    _show(config, rows, as_json, told)
    if told:
        raise typer.Exit(1)


def _read(file: Path, vary: Sequence[str], seeds: int | None, *, share_v0: bool, cross: bool) -> StudyConfig:
    if not is_study(file):
        if not vary:
            raise InputError(f"{file} is the config of a run: say what is varied with --vary KEY=VALUE,VALUE")
        return study_of(file, vary, seeds or 1, share_v0=share_v0, cross=cross)
    if vary or cross:
        raise InputError(f"{file} says itself what is varied: take --vary and --cross out, or change the file")
    config = load_study(file)
    given = {"seeds": seeds or config.seeds, "share_v0": share_v0 or config.share_v0}
    return config.model_copy(update=given)


def _target(out: Path) -> Path:
    """Where the picture goes. Raises InputError where it cannot be written, before anything is computed."""
    if out.suffix != ".svg":
        raise InputError(f"--out {out}: the picture is an SVG: name a file that ends with .svg")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.absolute().parent}")
    return outside_home(out.absolute())


def _is_done(opened: Study) -> bool:
    """Whether every run would compute nothing and write nothing."""
    for _, run in opened.runs:
        if not (store_root(run.name) / MARKER).exists():
            return False
        with session_of(run) as session, one_look(session):
            if not look(session).nothing_to_do:
                return False
    return True


def _run(opened: Study, as_json: bool) -> str:
    """Do what is missing; gives which runs did not come to their end, and why."""
    with prefect_server(home() / ".prefect") as url:
        say(as_json, f"Prefect UI: {url}   {len(opened.runs)} runs   stores: {home()}/{opened.config.name}.*")
        from flows.ends import result_of
        from flows.study.flow import INCOMPLETE, Audience, heard_by
        from flows.study.flow import study as flow

        display = StepDisplay(errors if as_json else console)
        try:
            with heard_by(Audience(display.heard, lambda text: say(as_json, escape(text)))):
                ended = flow(opened.config, return_state=True)
        finally:
            display.close()
        if ended.name == INCOMPLETE:
            return str(ended.message)
        result_of(ended)
    return ""


def _show(config: StudyConfig, rows: Sequence[Row], as_json: bool, told: str) -> None:
    if as_json:
        found = {"study": config.name, "variants": [row.as_json() for row in rows], "incomplete": told}
        lines = {} if config.scaling is None else {"scaling": lines_as_json(lines_of(rows, config.scaling))}
        print_json({**found, **lines})
        return
    first, further, costs = tables(rows)
    if config.scaling is None:
        print_table(console, f"{config.name}: last policy of each variant", first)
        print_table(console, "further figures", further)
        console.print(interval_in_words(rows), highlight=False)
    else:
        _show_scaling(config, lines_of(rows, config.scaling), loss_in_words(rows))
    print_table(console, "what it cost", costs)
    console.print(saved_in_words(rows), highlight=False)
    if told:
        errors.print(f"[red]incomplete:[/red] {escape(told)}", highlight=False)


def _show_scaling(config: StudyConfig, lines: Mapping[float, Sequence[Point]], words: str) -> None:
    print_table(console, f"{config.name}: loss on held-out documents, nats per token", table_of(lines))
    for line in (words, *laws_in_words(lines)):
        console.print(escape(line), highlight=False)


def _show_plan(opened: Study, as_json: bool) -> None:
    plans = [build_plan(run) for _, run in opened.runs]
    own = own_steps(plans)
    rows = [
        {"variant": variant.label, "seed": run.seed, "run": run.name, "steps": len(plan), "of its own": count}
        for (variant, run), plan, count in zip(opened.runs, plans, own, strict=True)
    ]
    if as_json:
        print_json({"study": opened.config.name, "runs": rows})
        return
    table = Table(title=f"{opened.config.name}: the runs of the study", title_justify="left", header_style="bold")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
    told = (
        f"{sum(own)} of {sum(map(len, plans))} steps differ; of these only what is not finished yet would be computed"
    )
    console.print(f"{told}; nothing was started", highlight=False)
