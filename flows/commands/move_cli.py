"""`halter move-store` and `halter join-store`: parts of a store elsewhere, and a second machine that shares them."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from data_store.commands import halter
from data_store.content.contents import uses_by_object
from data_store.errors import InputError
from data_store.figures import size
from data_store.layout import MARKER, prepare
from data_store.places import read_places
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep import moving_journal, moving_objects
from flows.commands.command import JsonOption, console, guarded, print_json
from flows.commands.terminal import ByteDisplay
from flows.recipe.config import load_config
from flows.session import nobody_at_work, recall, remember, store_root

HERE = moving_objects.HERE


@guarded
def move_store(
    run: Annotated[str, typer.Argument(metavar="STORE", help="The run whose store is moved")],
    objects: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help=f"Where its objects are to lie: s3://BUCKET/PREFIX, or {HERE}: its folder"),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help=f"Where its journal is to lie: postgresql://HOST/DATABASE, or {HERE}"),
    ] = None,
    cache_gb: Annotated[
        float | None,
        typer.Option(metavar="GB", min=0.001, help="What copies of objects in a bucket may take here"),
    ] = None,
    remove_old: Annotated[
        bool, typer.Option("--remove-old", help="Remove what was moved where it was, once the new place has it all")
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="The run has not begun: make its store, and let its parts lie there at once")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the objects of a store to a bucket, its journal to PostgreSQL, or either back; each is read in the new
    place before it counts."""
    if objects is None and journal is None:
        raise InputError(
            f"say where to: --objects s3://BUCKET/PREFIX, --journal postgresql://HOST/DATABASE, or {HERE} for either"
        )
    root = store_root(run)
    if new and (root / MARKER).exists():
        raise InputError(f"there is a run {run!r} already: leave --new out to move its store")
    if not (new or (root / MARKER).is_file()):
        recall(run)  # says that there is none
    check_writable(root)
    prepare(root)
    told: dict[str, Any] = {"run": run}
    with nobody_at_work(root):
        if objects is not None:
            with ByteDisplay("moved") as display:
                moved = moving_objects.move_objects(
                    Store.open(root), objects, remove_old=remove_old, cache_gb=cache_gb, on_progress=display.heard
                )
            told |= {"objects": asdict(moved)}
        if journal == HERE:
            told |= {"journal": asdict(moving_journal.bring_journal_back(Store.open(root), remove_old=remove_old))}
        elif journal is not None:
            told |= {"journal": asdict(moving_journal.move_journal(Store.open(root), journal, remove_old=remove_old))}
    if as_json:
        print_json(told)
        return
    if objects is not None:
        _tell_objects(run, root, objects, moved)
    if journal is not None:
        _tell_journal(run, root, journal, told["journal"], removed=remove_old)


def _tell_objects(run: str, root: Path, asked: str, moved: moving_objects.Moved) -> None:
    console.print(
        f"{moved.objects} objects ({size(moved.bytes)}) of {run} lie in "
        f"{root if moved.place == HERE else moved.place}, all read there; {moved.copied} were copied",
        highlight=False,
    )
    if moved.removed:
        console.print(f"{moved.removed} were removed where they were", highlight=False)
    elif moved.left:
        again = halter("move-store", run, "--objects", asked, "--remove-old")
        where = f"in {root}" if moved.left == HERE else f"in {moved.left}"
        console.print(f"those {where} stay until `{again}`", highlight=False)


def _tell_journal(run: str, root: Path, asked: str, moved: dict[str, Any], *, removed: bool) -> None:
    console.print(f"{moved['entries']:,} events of run {run} now in {moved['place']}, all verified", highlight=False)
    if not removed:
        console.print(f"what lies in {moved['before']} was left there; --remove-old removes it", highlight=False)
    if asked != HERE:
        objects = read_places(root).objects or "OBJECTS"
        told = halter("join-store", "CONFIG", "--journal", asked, "--objects", objects)
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
    store = moving_journal.join(root, journal, objects)
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
