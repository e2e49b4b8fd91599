"""`halter export` copies the catalog for other tools; `halter import` brings a run from another store."""

from pathlib import Path
from typing import Annotated

import typer

from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.figures import size
from data_store.files import atomic_write
from data_store.identity import CONFIG_FILE, check_identity, check_run_name
from data_store.layout import MARKER
from data_store.store import Store
from data_store.upkeep.export import export_openlineage, export_parquet
from data_store.upkeep.foreign_files import read_inside
from data_store.upkeep.transfer import import_store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.recipe.config import dump_config, parse_config
from flows.session import home, opened, outside_home, store_root

exports = typer.Typer(help="Copy a run's catalog for other tools.", no_args_is_help=True)


@exports.command("parquet")
@guarded
def parquet(
    target: Annotated[Path, typer.Argument(help="A folder that is absent or empty.")],
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every table of the catalog and the rows of all current data sets as Parquet files."""
    _, store = opened(name)
    outside_home(target)
    written = export_parquet(store, target)
    if as_json:
        print_json({"target": str(target.absolute()), "files": [str(path) for path in written]})
    else:
        console.print(f"{len(written)} Parquet files in {target}", highlight=False)


@exports.command("openlineage")
@guarded
def openlineage(
    file: Annotated[Path, typer.Argument(help="A file for JSON lines; one that is there is replaced.")],
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every run of every step as OpenLineage run events, one JSON text a line."""
    config, store = opened(name)
    outside_home(file)
    count = export_openlineage(store, file, name=config.name)
    if as_json:
        print_json({"file": str(file.absolute()), "events": count})
    else:
        console.print(f"{count} events in {file}", highlight=False)


@guarded
def import_run(
    store: Annotated[Path, typer.Argument(help="The store of a run, or a folder with the stores of several.")],
    name: Annotated[str | None, typer.Option("--run", help="Which run; needed where STORE holds several.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a run's current versions and their lineage from another store into the run of the same name here."""
    root = _chosen(store.absolute(), name)
    if root.parent.resolve() in (home().resolve(), store.resolve()):  # elsewhere a store's folder may have any name
        check_identity(root)
    try:
        config = parse_config(read_inside(root, CONFIG_FILE), str(root / CONFIG_FILE))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{root} holds no {CONFIG_FILE}: it is not the store of a run of the recipe") from None
    run = check_run_name(config.name)
    if name not in (None, run):
        raise InputError(f"{root} is the store of run {run!r}, not of {name!r}")
    target = store_root(run)
    if target.resolve() == root.resolve():
        raise InputError(f"{root} is the store of run {run} here; give a store elsewhere")
    added = import_store(Store.open(target), root)
    if not (target / CONFIG_FILE).exists():
        atomic_write(target / CONFIG_FILE, dump_config(config))
    if as_json:
        print_json({"run": run, "steps": added.steps, "heads": added.heads, "objects": added.objects})
        return
    console.print(
        f"{run}: {added.steps} steps and {added.heads} current versions imported, {added.objects} objects "
        f"({size(added.bytes)}) copied and verified",
        highlight=False,
    )


def _chosen(folder: Path, name: str | None) -> Path:
    """The store that is meant."""
    if (folder / MARKER).is_file():
        return folder
    known = sorted(path.parent.name for path in folder.glob(f"*/{MARKER}"))
    listed = ", ".join(known) or "none"
    if name is None and len(known) != 1:
        raise InputError(f"{folder}: say with --run which run; there are: {listed}")
    if name is not None and name not in known:
        raise InputError(f"{folder}: there is no run {name!r}; there are: {listed}{did_you_mean(name, known)}")
    return folder / (name or known[0])
