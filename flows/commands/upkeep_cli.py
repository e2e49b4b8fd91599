"""The commands by which one looks after a run's store: `stale`, `verify`, `repair`, `gc`, `backup`, `restore`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from data_store.commands import halter
from data_store.errors import BrokenJournalError, InputError
from data_store.figures import figure, seconds, size
from data_store.files import atomic_write
from data_store.identity import CONFIG_FILE, check_run_name, run_of
from data_store.layout import DAMAGED_FOLDER, MARKER
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep import backups, repairs, verification
from data_store.upkeep.foreign_files import read_inside
from data_store.upkeep.retention import Retention
from data_store.upkeep.seals import notes_of
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import Damage, Fault, Verification
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.commands.terminal import ByteDisplay
from flows.orders import rerun_command
from flows.recipe.changed_values import with_values
from flows.recipe.config import RunConfig, dump_config, parse_config
from flows.recipe.plan import Plan, plan_today
from flows.session import home, opened, outside_home, recall, session_of, store_root
from flows.shown.stale import stale_steps
from flows.shown.status import other_code_in_words
from flows.up_to_date import look, one_look
from tasks.engine.alone import is_at_work
from tasks.engine.leftovers import sweep

_LINES = 40


@guarded
def stale(name: RunOption = None, as_json: JsonOption = False) -> None:
    """What is out of date, why, and the command that redoes it."""
    config = recall(name)
    with session_of(config) as session, one_look(session):
        cells = look(session).cells
        steps = stale_steps(session.store, session.plan, cells, config.name)
    if as_json:
        code = [{"part": c.part, "step": c.step, "files": c.other_code} for c in cells if c.other_code]
        print_json({"run": config.name, "stale": [step.as_json() for step in steps], "other_code": code})
        return
    if told := other_code_in_words(cells):
        console.print(escape(told), highlight=False)
    if not steps:
        console.print(f"nothing is stale in {config.name}", highlight=False)
        return
    table = Table(title=f"{config.name}: stale steps", title_justify="left", header_style="bold")
    for column in ("step", "why", "because of", "took"):
        table.add_column(column)
    for step in steps:
        itself = step.roots == (f"{step.part} {step.step}",)
        took = "" if step.seconds is None else seconds(step.seconds)
        table.add_row(f"{step.part} {step.step}", escape(step.reason), "" if itself else ", ".join(step.roots), took)
    console.print(table)
    console.print("bring them up to date:")
    for command in dict.fromkeys(step.command for step in steps):
        console.print(f"  {escape(command)}", highlight=False)


@guarded
def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only; read no object and no book.")] = False,
    backup_folder: Annotated[
        Path | None,
        typer.Option("--backup", metavar="BACKUP", help="A backup instead of the run's store; it is only read"),
    ] = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is the store sound: every object hashed again, every edge whole, the journal's chain intact. Or a backup: is it
    all that was sealed."""
    if backup_folder is not None:
        _verify_backup(backup_folder, quick, as_json)
        return
    config, store = opened(name)
    with ByteDisplay("verified") as display:
        found = verification.verify(store, deep=not quick, on_progress=display.heard)
    document = _document(config, store, found)
    if as_json:
        print_json({"run": config.name, "quick": quick, **document})
    else:
        _print_verification(document)
    if found.problems:
        raise typer.Exit(1)


def _verify_backup(folder: Path, quick: bool, as_json: bool) -> None:
    with ByteDisplay("verified") as display:
        found = backups.verify_backup(folder, deep=not quick, on_progress=display.heard)
    notes = [] if found.problems else notes_of(folder)
    if as_json:
        counts = {"events": found.n_events, "objects": found.n_objects, "bytes": found.bytes}
        told = {"sound": not found.problems, "problems": found.problems, "notes": notes}
        print_json({"backup": str(folder.absolute()), "quick": quick, **counts, **told})
    else:
        for problem in found.problems:
            console.print(f"[red]not sound:[/red] {escape(problem)}", highlight=False)
        for note in notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)
        what = f"{found.n_events} events, {found.n_objects} objects, {size(found.bytes)}"
        if found.problems:
            console.print(
                f"{len(found.problems)} problems in {what}; remove what is damaged there, and "
                f"`{halter('backup', str(folder))}` copies it again, while the store is there",
                highlight=False,
            )
        else:
            console.print(f"sound: {what}", highlight=False)
    if found.problems:
        raise typer.Exit(1)


@guarded
def repair(
    backup_folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="BACKUP", help="A backup of this store"),
    ] = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put right what `verify` finds: from a backup, or by setting damage aside so that its step makes it anew."""
    try:
        config, store = opened(name)
    except BrokenJournalError:
        if backup_folder is None:
            raise
        config = recall(name)
        store = Store(store_root(config.name))
    with ByteDisplay("verified") as display:
        done = repairs.repair(store, backup_folder, on_progress=display.heard)
    document = _document(config, store, done.left)
    if as_json:
        changes = {
            "restored": done.restored,
            "set_aside": done.set_aside,
            "remade": done.remade,
            "notes": done.notes,
        }
        print_json({"run": config.name, **changes, **document})
    else:
        for note in done.notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)
        for what, names in (
            ("restored from the backup", done.restored),
            (f"set aside in {store.root / DAMAGED_FOLDER}", done.set_aside),
            ("made anew", done.remade),
        ):
            for each in names:
                console.print(f"{what}: {escape(each)}", highlight=False)
        _print_verification(document)
    if done.left.problems:
        raise typer.Exit(1)


@guarded
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without this nothing is removed.")] = False,
    keep_versions: Annotated[
        int | None, typer.Option("--keep-versions", min=0, help="Instead of retention.keep_versions of the config.")
    ] = None,
    keep_days: Annotated[
        float | None, typer.Option("--keep-days", min=0.0, help="Instead of retention.keep_days of the config.")
    ] = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which content nothing needs any more, by name and size; with --delete it is removed."""
    config, store = opened(name)
    given = {"keep_versions": keep_versions, "keep_days": keep_days}
    retention = Retention(
        **{**config.retention.model_dump(), **{key: value for key, value in given.items() if value is not None}}
    )
    done = collect(
        store,
        dry_run=not delete,
        retention=retention,
        is_at_work=lambda fingerprint: is_at_work(store, fingerprint),
    )
    done = replace(done, garbage=(*done.garbage, *sweep(store, dry_run=not delete)))
    if as_json:
        garbage = [asdict(item) for item in done.garbage]
        rule = retention.model_dump()
        print_json({"run": config.name, "deleted": delete, "retention": rule, "bytes": done.bytes, "garbage": garbage})
        return
    for item in done.garbage[:_LINES]:
        console.print(f"{size(item.bytes):>10}  {escape(item.what)}  [dim]{escape(item.why)}[/dim]", highlight=False)
    if len(done.garbage) > _LINES:
        console.print(f"            … and {len(done.garbage) - _LINES} more; --json lists all", highlight=False)
    count = f"{len(done.garbage)} things, {size(done.bytes)}"
    rule_text = (
        f"kept are {retention.keep_versions} superseded versions of each asset and {figure(retention.keep_days)} days"
    )
    if delete:
        console.print(f"removed {count} ({rule_text})", highlight=False)
    elif done.garbage:
        console.print(f"{count} can go ({rule_text}); nothing was removed: --delete does it", highlight=False)
    else:
        console.print(f"nothing can go ({rule_text})", highlight=False)


@guarded
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder, best on another disk")],
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store to a folder; the second time only what is new. Runs may go on meanwhile."""
    config, store = opened(name)
    outside_home(target)
    if (other := run_of(target)) not in (None, config.name):
        raise InputError(f"{target} is the backup of run {other!r}, not of {config.name!r}; give another folder")
    with ByteDisplay("copied") as display:
        done = backups.backup(
            store,
            target,
            lambda folder: atomic_write(folder / CONFIG_FILE, dump_config(config)),
            on_progress=display.heard,
        )
    if as_json:
        print_json({"run": config.name, "backup": str(target.absolute()), **asdict(done)})
    else:
        console.print(f"{done.files} files, {size(done.bytes)} copied to {target}", highlight=False)
        for problem in done.problems:
            console.print(f"[red]not in the backup:[/red] {escape(problem)}", highlight=False)
        if done.problems:
            console.print(f"`{halter('verify')}` tells what depends on it and how to put it right", highlight=False)
    if done.problems:
        raise typer.Exit(1)


@guarded
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder that `halter backup` wrote")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the run that it becomes; a new one")],
    as_json: JsonOption = False,
) -> None:
    """Make a run of a backup, under a new name. It is verified to the last byte before it is there."""
    check_run_name(name)
    check_writable(home())
    for needed in (MARKER, CONFIG_FILE):
        if not (source / needed).is_file():
            raise InputError(
                f"{source} is no whole backup: it has no {needed}; give a folder that `halter backup` wrote, "
                "and finish one that was cut short by the same command"
            )
    notes = notes_of(source)
    stored = parse_config(read_inside(source, CONFIG_FILE), str(source / CONFIG_FILE))
    config = with_values(stored, {"name": name}, f"--as {name}")
    with ByteDisplay("copied") as display:
        found = backups.restore(
            source,
            store_root(name),
            lambda draft: atomic_write(draft / CONFIG_FILE, dump_config(config)),
            on_progress=display.heard,
        )
    if as_json:
        facts = {"events": found.n_events, "objects": found.n_objects, "bytes": found.bytes}
        print_json({"run": name, "store": str(store_root(name)), **facts, "notes": notes})
    else:
        for note in notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)
        console.print(
            f"restored {found.n_objects} objects ({size(found.bytes)}) and {found.n_events} events, all verified; "
            f"look at it: {halter('status', run=name)}",
            highlight=False,
        )


def _document(config: RunConfig, store: Store, found: Verification) -> dict[str, Any]:
    """A verification as plain values, each problem with the commands that put it right."""
    plan = plan_today(config, store)
    return {
        "sound": not found.problems,
        "events": found.n_events,
        "objects": found.n_objects,
        "bytes": found.bytes,
        "damages": [
            {
                "fault": damage.fault,
                "object": damage.sha256,
                "place": str(damage.place),
                "versions": [{"asset": use.asset, "version": use.version_id, "path": use.path} for use in damage.uses],
                "current": list(damage.heads),
                "built_on_it": list(damage.dependents),
                "superseded_built_on_it": list(damage.older_dependents),
                "repair": _commands(damage, plan, config.name),
            }
            for damage in found.damages
        ],
        "faults": [{**asdict(fault), "repair": [_command(fault)]} for fault in found.faults],
    }


def _commands(damage: Damage, plan: Plan, run: str) -> list[str]:
    """What makes a broken object anew: its step, where today's plan has it; else only a backup does."""
    makers = {str(asset): key for key, call in plan.items() for asset in call.outputs.values()}
    keys = dict.fromkeys(makers[asset] for asset in damage.heads if asset in makers)
    if not keys:
        return [_from_backup()]
    return [halter("repair"), *(rerun_command(*key, run) for key in keys)]


def _command(fault: Fault) -> str:
    return _from_backup() if fault.where in ("journal", "book") else halter("repair")


def _from_backup() -> str:
    return halter("repair", "--from", "BACKUP")


def _print_verification(document: dict[str, Any]) -> None:
    for fault in document["faults"]:
        console.print(f"[red]{fault['where']}[/red]: {escape(fault['text'])}", highlight=False)
        console.print(f"    repair: {fault['repair'][0]}", highlight=False)
    for damage in document["damages"]:
        first, *others = [f"{use['asset']} {use['version'][:12]} {use['path']}" for use in damage["versions"]]
        console.print(f"[red]{damage['fault']}[/red] {escape(first)}", highlight=False)
        for other in others:
            console.print(f"    also {escape(other)}", highlight=False)
        console.print(f"    lies in {damage['place']}", highlight=False)
        if not damage["current"]:
            console.print("    superseded: no asset points to it now", highlight=False)
        if damage["built_on_it"] or damage["superseded_built_on_it"]:
            older = len(damage["superseded_built_on_it"])
            names = [*damage["built_on_it"], *([f"{older} superseded versions"] if older else [])]
            console.print(f"    built on it: {', '.join(names)}", highlight=False)
        console.print(f"    repair: {', then '.join(damage['repair'])}", highlight=False)
    read = f"{document['events']} events, {document['objects']} objects, {size(document['bytes'])}"
    if document["sound"]:
        console.print(f"sound: {read}", highlight=False)
    else:
        count = len(document["damages"]) + len(document["faults"])
        console.print(
            f"{count} problems in {read}; with a backup, `{_from_backup()}` puts right what it has", highlight=False
        )
