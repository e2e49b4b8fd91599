"""`halter move-store` and `halter join-store`: parts of a store elsewhere, and a second machine that shares them."""

from pathlib import Path
from typing import Annotated

import typer

from data_store.commands import halter
from data_store.content.contents import uses_by_object
from data_store.errors import InputError
from data_store.layout import MARKER
from data_store.places import read_places
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep.moving_journal import bring_journal_back, join, move_journal
from flows.commands.command import JsonOption, console, guarded, print_json
from flows.commands.rename_cli import nobody_at_work
from flows.recipe.config import load_config
from flows.session import remember, store_root

_HERE = "here"


@guarded
def move_store(
    run: Annotated[str, typer.Argument(help="The run whose store it is, by name")],
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="URL", help="postgresql://host/database, or here")
    ] = None,
    remove_old: Annotated[bool, typer.Option("--remove-old", help="Remove what was moved from its old place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Move a store's journal to PostgreSQL, so that several machines can share it, or back into the folder."""
    root = store_root(run)
    if not (root / MARKER).is_file():
        raise InputError(f"there is no store of run {run!r}: {root} is none")
    if journal is None:
        raise InputError(f"say where to: {halter('move-store', run, '--journal', 'postgresql://host/database')}")
    check_writable(root)
    with nobody_at_work(root):
        store = Store.open(root)
        if journal == _HERE:
            moved = bring_journal_back(store, remove_old=remove_old)
        else:
            moved = move_journal(store, journal, remove_old=remove_old)
    if as_json:
        print_json({"run": run, "journal": moved.place, "before": moved.before, "events": moved.entries})
        return
    console.print(f"{moved.entries:,} events of run {run} now in {moved.place}, all verified", highlight=False)
    if not remove_old:
        console.print(f"what lies in {moved.before} was left there; --remove-old removes it", highlight=False)
    if journal != _HERE:
        objects = read_places(root).objects or "OBJECTS"
        told = halter("join-store", "CONFIG", "--journal", journal, "--objects", objects)
        console.print(f"another machine joins by `{told}`", highlight=False)
    console.print("processes that were started before have to be started again", highlight=False)


@guarded
def join_store(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's config file")],
    journal: Annotated[
        str, typer.Option("--journal", metavar="URL", help="The address that `halter move-store` was given")
    ],
    objects: Annotated[
        str | None, typer.Option("--objects", metavar="URL", help="Where the objects of the store lie")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Share, from this machine, a store whose journal lies on PostgreSQL: its own folder, its own catalog."""
    config = load_config(config_file)
    root = store_root(config.name)
    if root.exists():
        check_writable(root)
    store = join(root, journal, objects)
    remember(config, store)
    with store.catalog.reading() as connection:
        wanted = uses_by_object(connection, retired=False)
    missing = sum(not store.objects.exists(sha256) for sha256 in wanted)
    events = store.catalog.seq()
    if as_json:
        facts = {"events": events, "objects": len(wanted), "missing_objects": missing}
        print_json({"run": config.name, "store": str(root), "journal": store.catalog.journal.place, **facts})
        return
    console.print(f"run {config.name}: {events:,} events read into {root}", highlight=False)
    if missing:
        console.print(
            f"[yellow]note:[/yellow] {missing} of its {len(wanted)} objects cannot be read from here: steps that need "
            "them are computed anew; let the objects lie where both machines reach them",
            highlight=False,
        )
