"""`halter serve`: the Prefect UI, with what can be started and scheduled there."""

import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from data_store.identity import CONFIG_FILE
from data_store.store import Store
from flows.commands.command import console, guarded
from flows.recipe.config import load_config
from flows.recipe.plan import plan_today
from flows.server.server import serving
from flows.session import home, recall, remember, store_root
from tasks.incoming.judged import judged_and_unread


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
            try:
                console.print(f"schedule of {config.name}: {times}\nCtrl-C ends all of it", highlight=False)
                now.wait(lambda: _judged(config.name), _tell_start, _tell)
            except KeyboardInterrupt:
                console.print("stopping what is running; it goes on from there when it is started again")
    console.print("stopped")


def _judged(name: str) -> list[str]:
    """The batches of the served run that people are done with, and that its config, as it was last run, waits for."""
    config = recall(name)
    if config.collect.people is None and not any(judge.people for judge in config.evaluate.judges):
        return []
    store = Store.open(store_root(name))
    with store.one_state():
        return judged_and_unread(store, plan_today(config, store))


def _tell_start(batch: str) -> None:
    console.print(f"people are done with batch {batch}; the recipe goes on", highlight=False)


def _tell(text: str) -> None:
    console.print(text, highlight=False, markup=False)
