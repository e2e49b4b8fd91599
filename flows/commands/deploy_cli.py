"""`halter deploy`: what `halter serve` offers, on a Prefect server that somebody else keeps."""

import os
from pathlib import Path
from typing import Annotated

import typer

from data_store.commands import halter
from data_store.errors import InputError
from flows.commands.command import console, guarded
from flows.recipe.config import load_config
from flows.session import store_root


@guarded
def deploy(config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file")]) -> None:
    """Lay out on a Prefect server of your own, which PREFECT_API_URL names, what can be started from its UI.

    Give the command again when the config has changed, or a run has appended an iteration: the forms offer what the
    plan had when it was given.
    """
    config = load_config(config_file)
    store_root(config.name)  # wrong input ends here
    if not os.environ.get("PREFECT_API_URL"):
        raise InputError(
            "PREFECT_API_URL names no server: set it, or take "
            f"`{halter('serve', str(config_file))}`, which brings a server "
            "and a worker"
        )
    from prefect.client.orchestration import get_client

    from flows.commands.deploying import Offer
    from flows.commands.deploying import deploy as lay_out
    from flows.commands.serve import POOL, open_pool
    from flows.commands.step_pools import deploy_steps
    from flows.resources import pools_of

    forms = Offer(config_file.absolute()).forms()
    with get_client(sync_client=True) as client:
        open_pool(client)
        lay_out(client, forms, POOL)
        steps = deploy_steps(client, pools_of(config.resources))
    for name in (*(form.full_name for form in forms), *steps):
        console.print(name, highlight=False)
    console.print(f"a worker for them, in this folder: prefect worker start --pool {POOL}", highlight=False)
    for pool in pools_of(config.resources):
        told = f"a worker of steps, on a machine of its own: prefect worker start --pool {pool} --limit 1"
        console.print(told, highlight=False)
