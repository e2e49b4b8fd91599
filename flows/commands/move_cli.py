"""`halter move-store`: the objects of a run's store to a bucket, or back."""

from dataclasses import asdict
from typing import Annotated

import typer

from data_store.commands import halter
from data_store.errors import InputError
from data_store.figures import size
from data_store.layout import MARKER, prepare
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep.moving_objects import HERE, move_objects
from flows.commands.command import JsonOption, console, guarded, print_json
from flows.commands.terminal import ByteDisplay
from flows.session import nobody_at_work, recall, store_root


@guarded
def move_store(
    run: Annotated[str, typer.Argument(metavar="STORE", help="The run whose store is moved")],
    objects: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help=f"Where its objects are to lie: s3://BUCKET/PREFIX, or {HERE}: its folder"),
    ] = None,
    cache_gb: Annotated[
        float | None,
        typer.Option(metavar="GB", min=0.001, help="What copies of objects in a bucket may take here"),
    ] = None,
    remove_old: Annotated[
        bool, typer.Option("--remove-old", help="Remove them where they were, once the new place has them all")
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="The run has not begun: make its store, and let its objects lie there at once")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the objects of a store to a bucket, or back; each is read in the new place before it counts."""
    if objects is None:
        raise InputError(f"say where to: --objects s3://BUCKET/PREFIX, or --objects {HERE}")
    root = store_root(run)
    if new and (root / MARKER).exists():
        raise InputError(f"there is a run {run!r} already: leave --new out to move its store")
    if not new:
        recall(run)
    check_writable(root)
    prepare(root)
    with nobody_at_work(root), ByteDisplay("moved") as display:
        done = move_objects(
            Store.open(root), objects, remove_old=remove_old, cache_gb=cache_gb, on_progress=display.heard
        )
    if as_json:
        print_json({"run": run, **asdict(done)})
        return
    console.print(
        f"{done.objects} objects ({size(done.bytes)}) of {run} lie in "
        f"{root if done.place == HERE else done.place}, all read there; {done.copied} were copied",
        highlight=False,
    )
    if done.removed:
        console.print(f"{done.removed} were removed where they were", highlight=False)
    elif done.left:
        again = halter("move-store", run, "--objects", objects, "--remove-old")
        where = f"in {root}" if done.left == HERE else f"in {done.left}"
        console.print(f"those {where} stay until `{again}`", highlight=False)
