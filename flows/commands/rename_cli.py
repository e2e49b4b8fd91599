"""`halter rename`: another name for a run, or its own name for a store whose folder was copied or renamed by hand."""

import json
from pathlib import Path
from typing import Annotated

import typer

from data_store.catalog.postgres import Address
from data_store.commands import halter
from data_store.errors import InputError
from data_store.files import atomic_write, sync_folder
from data_store.identity import CONFIG_FILE, CURRENT_FILE, check_run_name, run_of
from data_store.incoming.adoption import adopted_from
from data_store.layout import MARKER
from data_store.places import read_places
from data_store.read_only import check_writable
from data_store.store import Store
from flows.commands.command import JsonOption, console, guarded, print_json
from flows.recipe.config import RunConfig, dump_config, parse_config
from flows.session import home, nobody_at_work


@guarded
def rename(
    folder: Annotated[str, typer.Argument(help="The run, by the name of its folder")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Its new name; that of its folder if not given")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a run another name, or a store that was copied or renamed by hand the name of its folder."""
    root = _store_in(folder)
    old, new = run_of(root), check_run_name(folder if name is None else name)
    if old is None:
        raise InputError(f"{root} has no {CONFIG_FILE} that names a run; `{halter('run', 'CONFIG')}` writes one")
    target = home() / new
    if target != root and target.exists():
        raise InputError(f"{target} is there already; give another name")
    if (journal := read_places(root).journal) is not None:
        raise InputError(
            f"the journal of {root} lies on {Address.parse(journal)}, and other machines may know the run by its name: "
            f"`{halter('backup', 'FOLDER', run=folder)}`, then `{halter('restore', 'FOLDER', '--as', new)}` makes "
            "another run of it"
        )
    config = _named(root, new)
    if (old, root) != (new, target):
        for place in (home(), root):
            check_writable(place)
        if old != new:
            _check_takers(root, old)
            _check_alone(root, old)
        with nobody_at_work(root):
            # Cut off in between, the store is one that was renamed by hand, and this command takes it up.
            if target != root:
                root.rename(target)
                sync_folder(home())
            atomic_write(target / CONFIG_FILE, dump_config(config))
            _make_current(old, new)
    if as_json:
        print_json({"run": new, "before": old, "store": str(target)})
        return
    console.print(f"run {new}, before {old!r}: {target}", highlight=False)
    if old != new:
        console.print(f"a config file with `name: {old}` is of another run now; `name: {new}` goes on with this one")


def _store_in(folder: str) -> Path:
    """The store in a folder of the home, whatever it says of itself."""
    root = home() / folder
    if folder != Path(folder).name or folder == ".." or not (root / MARKER).is_file():
        known = sorted(path.parent.name for path in home().glob(f"*/{MARKER}"))
        raise InputError(f"there is no store {folder!r} in {home()}; there are: {', '.join(known) or 'none'}")
    return root


def _named(root: Path, name: str) -> RunConfig:
    """The store's config under another name; the old one may be one that is not allowed any more."""
    content = json.loads((root / CONFIG_FILE).read_text(encoding="utf-8"))
    return parse_config(json.dumps({**content, "name": name}))


def _check_takers(root: Path, old: str) -> None:
    """Raises InputError where other runs have learned from this one under its old name, and no store of that name is
    left: what is withdrawn here has to reach them."""
    if run_of(home() / old) == old and home() / old != root:
        return  # this one is a copy
    there = {version for (version,) in Store(root).catalog.read("SELECT version_id FROM version")}
    for place in sorted(home().glob(f"*/{CONFIG_FILE}")):
        if place.parent != root and adopted_from(Store.open(place.parent)).get(old, set()) & there:
            raise InputError(
                f"run {place.parent.name!r} has learned from run {old!r}, and what is withdrawn from that must reach "
                f"it: {root.name!r} has to be called {old!r}, as it was"
            )


def _check_alone(root: Path, old: str) -> None:
    """Raises InputError for a copy of a store whose objects lie elsewhere: what one of the two removes, the other would
    lack."""
    places = read_places(root)
    if places.objects and home() / old != root and read_places(home() / old).store == places.store:
        copied = f"`{halter('backup', 'FOLDER', run=old)}` and `{halter('restore', 'FOLDER', '--as', 'NAME')}`"
        raise InputError(
            f"{root} is a copy of {home() / old}, and the objects of both lie in {places.objects}: make the second run "
            f"from a backup, by {copied}"
        )


def _make_current(old: str, new: str) -> None:
    """Where the last run was this one, it is so under its new name."""
    current = home() / CURRENT_FILE
    if current.exists() and current.read_text(encoding="utf-8").strip() == old and not (home() / old).exists():
        atomic_write(current, new)
