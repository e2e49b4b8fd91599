"""The `halter` command. Exit code 2 for wrong input, 1 for a failure."""

import os
import signal
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from data_store.commands import halter
from data_store.identity import CONFIG_FILE
from data_store.read_only import check_writable
from data_store.store import Store
from flows.commands import (
    annotate_cli,
    deploy_cli,
    diff_cli,
    export_cli,
    forecast_cli,
    preferences_cli,
    query_cli,
    red_team_cli,
    rename_cli,
    report_cli,
    status_cli,
    study_cli,
    upkeep_cli,
    withdraw_cli,
)
from flows.commands.command import JsonOption, RunOption, console, errors, guarded, print_json, say
from flows.commands.dry_run import show_dry_run
from flows.commands.help_panels import InPanels
from flows.commands.terminal import StepDisplay, print_figures
from flows.data_look import check_data
from flows.orders import read_order, rerun_command
from flows.recipe.config import load_config
from flows.recipe.plan import plan_today
from flows.server.server import prefect_server, serving
from flows.session import Session, home, recall, remember, session_of, sole_config, store_root
from flows.shown.status import stale_keys
from flows.up_to_date import figures_if_done, look, one_look
from tasks.incoming.judged import judged_and_unread, waits_of

app = typer.Typer(
    cls=InPanels,
    help="The Llama 2-Chat recipe as a pipeline that one person can run, watch, and rerun a step of.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("annotate")(annotate_cli.annotate)
app.add_typer(annotate_cli.people, name="annotators")
app.command("deploy")(deploy_cli.deploy)
app.command("status")(status_cli.status)
app.command("lineage")(status_cli.lineage)
app.command("query")(query_cli.query)
app.command("study")(study_cli.study)
app.command("plan")(forecast_cli.plan)
app.command("report")(report_cli.report)
app.command("diff")(diff_cli.diff)
for command in (upkeep_cli.stale, upkeep_cli.verify, upkeep_cli.repair, upkeep_cli.gc):
    app.command()(command)
for command in (upkeep_cli.backup, upkeep_cli.restore):
    app.command()(command)
app.command("rename")(rename_cli.rename)
app.add_typer(export_cli.exports, name="export")
app.command("import")(export_cli.import_run)
app.add_typer(withdraw_cli.rows, name="withdraw")
app.command("withdrawals")(withdraw_cli.withdrawals)
app.add_typer(preferences_cli.preferences, name="preferences")
app.add_typer(red_team_cli.commands, name="red-team")


def main() -> None:
    """Entry point."""
    app()


@app.command()
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
            is_recorded = keep_server or bool(os.environ.get("PREFECT_API_URL"))
            done = None if is_recorded else figures_if_done(session, standing)
            if done is not None:
                say(as_json, f"there is nothing to do, and no Prefect server was started   store: {session.store.root}")
                _finish(done, as_json, session)
                return
        check_data(session, standing.cells)
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


@app.command()
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


@app.command()
@guarded
def serve(
    config_file: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A YAML file; the config of the last run if not given")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="CRON", help='Run the recipe at these times: "0 2 * * *"')
    ] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="Of the schedule, such as Europe/Berlin")] = "UTC",
) -> None:
    """Bring up the Prefect UI, to start and schedule the recipe and every step of it from there, until Ctrl-C."""
    config = recall() if config_file is None else load_config(config_file)
    remember(config)
    path = store_root(config.name) / CONFIG_FILE if config_file is None else config_file.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    webhook = None if config.notify is None else config.notify.take_address()
    folder = home() / ".prefect"
    with serving(folder) as url:
        from flows.commands.deploying import Offer
        from flows.commands.serve import schedule_of, served

        os.environ["HALTER_HOME"] = str(home())
        with served(folder, Offer(path), schedule_of(schedule, timezone) if schedule else None, webhook) as now:
            console.print(f"Prefect UI: {url}/deployments   store: {store_root(config.name)}", highlight=False)
            table = Table(title="what can be started there", title_justify="left", header_style="bold")
            table.add_column("deployment", no_wrap=True)
            table.add_column("what it does")
            for form in now.deployments:
                table.add_row(form.full_name, escape(form.description))
            console.print(table)
            times = f"at {schedule!r} ({timezone})" if schedule else "off; --schedule or its page switches it on"
            if config.notify is not None:
                told = config.notify.webhook_url_env
                console.print(f"failures and gates go to the webhook of {told}", highlight=False)
            console.print(f"schedule of {config.name}: {times}\nCtrl-C ends all of it", highlight=False)
            try:
                now.wait(lambda: _judged(config.name), _tell_start, _tell)
            except KeyboardInterrupt:
                console.print("stopping what is running; it goes on from there when it is started again")
    console.print("stopped")


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
    config = session.config
    if as_json:
        waits = [wait.as_json() for wait in waits_of(session.store, session.plan).values()]
        print_json({"run": config.name, "figures": rows, "waiting": waits, "taken_in": session.taken_in})
    else:
        print_figures(console, config.name, rows)
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


def _judged(name: str) -> list[str]:
    """The batches of the served run that people are done with, and that its config, as it was last run, waits for."""
    config = recall(name)
    if config.collect.people is None:
        return []
    store = Store.open(store_root(name))
    with store.one_state():
        return judged_and_unread(store, plan_today(config, store))


def _tell_start(batch: str) -> None:
    console.print(f"people are done with batch {batch}; the recipe goes on", highlight=False)


def _tell(text: str) -> None:
    console.print(text, highlight=False, markup=False)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
