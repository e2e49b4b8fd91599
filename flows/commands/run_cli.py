"""`halter run` and `halter rerun`: the recipe, and one step of it, with their progress in the terminal."""

import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape

from data_store.commands import halter
from data_store.read_only import check_writable
from flows.commands.command import JsonOption, RunOption, console, errors, guarded, print_json, say
from flows.commands.dry_run import show_dry_run
from flows.commands.terminal import StepDisplay, print_figures, print_trained
from flows.data_look import look_into_files, unread
from flows.orders import read_order, rerun_command
from flows.recipe.config import load_config
from flows.server.server import prefect_server
from flows.session import Session, home, recall, session_of, sole_config
from flows.shown.status import stale_keys
from flows.shown.trained import trained_in
from flows.up_to_date import figures_if_done, look, one_look
from tasks.incoming.judged import waits_of


@guarded
def run(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/smoke.yaml")],
    keep_server: Annotated[
        bool, typer.Option("--keep-server", help="Keep the Prefect UI up at the end, until Ctrl-C.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only say which steps would be computed, and why; nothing is started or written."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole recipe; what is finished is taken up again. Where all is, no Prefect server is started."""
    config = load_config(config_file)
    if plan:
        show_dry_run(config, as_json)
        return
    with sole_config(config), session_of(config) as session:
        session.remember()
        session.adopt()
        with one_look(session):
            standing = look(session)
            count, waiting = len(standing.cells), len(stale_keys(standing.cells))
            if waiting:
                session.workers.start()  # torch loads while the server starts
            say(as_json, f"[bold]{escape(config.name)}[/bold]: {count - waiting} of {count} steps are finished")
            _tell_overrides(session, as_json)
            if told := unread(config):
                say(as_json, told)
            is_recorded = keep_server or bool(os.environ.get("PREFECT_API_URL"))
            done = None if is_recorded else figures_if_done(session, standing)
            if done is not None:
                say(as_json, f"there is nothing to do, and no Prefect server was started   store: {session.store.root}")
                _finish(done, as_json, session)
                return
        look_into_files(session, stale_keys(standing.cells))
        with prefect_server(home() / ".prefect") as url:
            say(as_json, f"Prefect UI: {url}   store: {session.store.root}")
            from flows.ends import result_of
            from flows.pipeline import recipe

            with _Displayed(session, as_json):
                rows = cast(list[dict[str, object]], result_of(recipe(config, return_state=True)))
            _finish(rows, as_json, session)
            if keep_server:
                say(as_json, f"Prefect UI stays at {url}; Ctrl-C ends it")
                _wait_for_interrupt()


@guarded
def rerun(
    iteration: Annotated[str, typer.Argument(help="V1, V2 …; V0 for SFT, base for the foundation")],
    step: Annotated[str, typer.Argument(help="A step, such as safety-reward")],
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Config value for this step of this iteration."),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Take a value set by hand back.")
    ] = None,
    downstream: Annotated[bool, typer.Option("--downstream", help="Then bring all that it feeds up to date.")] = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Redo one step of one iteration. A value set here stays set for it until it is unset."""
    config = recall(name)
    with session_of(config) as session:
        check_writable(session.store.root)
        order = read_order(session, iteration, step, values or [], unset or [])  # wrong input ends here
        session.workers.start()
        with prefect_server(home() / ".prefect", "rerun") as url:
            say(as_json, f"Prefect UI: {url}   store: {session.store.root}")
            from flows.ends import result_of
            from flows.rerun import rerun as rerun_flow

            with _Displayed(session, as_json):
                ended = rerun_flow(
                    iteration, order.step, values or [], unset or [], downstream, config.name, return_state=True
                )
            stale = cast(list[dict[str, object]], result_of(ended))
        if as_json:
            print_json({"step": order.step, "part": iteration, "stale": stale})
            return
        _tell_waits(session)
        if stale:
            console.print(
                f"{len(stale)} steps are stale now: " + ", ".join(f"{cell['part']} {cell['step']}" for cell in stale),
                highlight=False,
            )
            again = rerun_command(iteration, step, config.name, downstream=True)
            console.print(f"bring them up to date: {again}", highlight=False)
        else:
            console.print("everything that depends on it is up to date")


class _Displayed:
    """Show a session's progress in the terminal for the length of a block."""

    def __init__(self, session: Session, as_json: bool) -> None:
        self.session = session
        self.display = StepDisplay(errors if as_json else console)

    def __enter__(self) -> None:
        self.session.listeners.append(self.display.heard)

    def __exit__(self, *_: object) -> None:
        self.session.listeners.remove(self.display.heard)
        self.display.close()


def _finish(rows: list[dict[str, object]], as_json: bool, session: Session) -> None:
    config, trained = session.config, trained_in(session)
    if as_json:
        waits = [wait.as_json() for wait in waits_of(session.store, session.plan).values()]
        told = {"run": config.name, "figures": rows, "waiting": waits, "taken_in": session.taken_in}
        print_json(told if trained is None else {**told, "trained": asdict(trained)})
    else:
        print_figures(console, config.name, rows)
        if trained is not None:
            print_trained(console, config.name, trained)
        if session.taken_in:
            console.print(escape(session.taken_in), highlight=False)
        _tell_waits(session)


def _tell_waits(session: Session) -> None:
    for wait in waits_of(session.store, session.plan).values():
        console.print(f"{wait.part} waits for people: {wait}", highlight=False)
        console.print(
            f"they judge on the page of `{halter('annotate')}`; then the same command goes on from here",
            highlight=False,
        )


def _tell_overrides(session: Session, as_json: bool) -> None:
    for override in session.store.overrides():
        say(as_json, f"set by hand: {override.part} {override.step} {override.key}={escape(override.value_json)}")


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
