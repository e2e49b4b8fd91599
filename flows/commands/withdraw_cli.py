"""`halter withdraw` takes an annotator's or a source's rows out of what is made from now on, and says what they
reached; `halter withdrawals` lists whose rows are out."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from data_store.commands import halter
from data_store.errors import InputError
from data_store.figures import size
from data_store.read_only import check_writable
from data_store.records import Withdrawal, now
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json
from flows.recipe.config import RunConfig
from flows.session import opened
from flows.withdrawals import Reach, check_known, erase, reaches, set_withdrawal, take_back

What = Literal["annotator", "source"]

rows = typer.Typer(
    help="Take rows out of what is made from now on; says which versions they reached, and what redoes just those.",
    no_args_is_help=True,
)
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays in the journal.")]
UndoOption = Annotated[bool, typer.Option("--undo", help="The rows may be used again.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
EraseOption = Annotated[
    bool, typer.Option("--erase", help="Delete the content of all versions they reached, once none is current.")
]


@rows.command("annotator")
@guarded
def annotator(
    who: Annotated[str, typer.Argument(metavar="NAME", help="As the judgements name them, such as anna")],
    reason: ReasonOption = "",
    undo: UndoOption = False,
    dry_run: DryOption = False,
    erase_rows: EraseOption = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw an annotator's judgements: a person's, imported ones, or those of a model."""
    _withdraw("annotator", who, reason, undo, dry_run, erase_rows, name, as_json)


@rows.command("source")
@guarded
def source(
    which: Annotated[str, typer.Argument(metavar="NAME", help="A data file, such as prompts.jsonl")],
    reason: ReasonOption = "",
    undo: UndoOption = False,
    dry_run: DryOption = False,
    erase_rows: EraseOption = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw all rows of a data file: prompts, demonstrations, documents or imported preferences."""
    _withdraw("source", which, reason, undo, dry_run, erase_rows, name, as_json)


@guarded
def withdrawals(name: RunOption = None, as_json: JsonOption = False) -> None:
    """Whose rows are withdrawn, since when and why, and which versions they reached."""
    config, store = opened(name)
    listed = [(each, reaches(config, store, each)) for each in store.withdrawals()]
    if as_json:
        print_json({"run": config.name, "withdrawals": [_document(each, found) for each, found in listed]})
        return
    if not listed:
        console.print(f"nothing is withdrawn from {config.name}", highlight=False)
    for each, found in listed:
        console.print(
            f"[bold]{escape(str(each))}[/bold]  since {each.at:%F %R} UTC  {escape(each.reason)}", highlight=False
        )
        _tell(found)


def _withdraw(
    what: What, name: str, reason: str, undo: bool, dry_run: bool, erase_rows: bool, run: str | None, as_json: bool
) -> None:
    if undo and erase_rows:
        raise InputError("--undo and --erase are opposites: give one of them")
    config, store = opened(run)
    if not dry_run:
        check_writable(store.root)
    held = {(each.what, each.name): each for each in store.withdrawals()}.get((what, name))
    if undo or erase_rows:
        if held is None:
            raise InputError(f"{what} {name!r} is not withdrawn; `{halter('withdrawals')}` lists who is")
        if undo:
            _undo(config, store, held, reason, dry_run, as_json)
        else:
            _erase(config, store, held, dry_run, as_json)
        return
    if held is not None:
        raise InputError(
            f"{held} is withdrawn since {held.at:%F %R} UTC; `{halter('withdrawals')}` says what is left to redo"
        )
    if not reason and not dry_run:
        raise InputError("say why with --reason TEXT; it stays in the journal beside the name")
    check_known(config, store, what, name)
    planned = Withdrawal(what, name, reason, now(), 0)
    found = reaches(config, store, planned)
    if not dry_run:
        set_withdrawal(store, what, name, reason)
    if as_json:
        print_json({"run": config.name, "dry_run": dry_run, **_document(planned, found)})
        return
    console.print(
        f"{escape(str(planned))} {'would be' if dry_run else 'is'} withdrawn from {config.name}", highlight=False
    )
    _tell(found)


def _undo(config: RunConfig, store: Store, held: Withdrawal, reason: str, dry_run: bool, as_json: bool) -> None:
    commands = take_back(config, store, held, reason, dry_run=dry_run)
    if as_json:
        document = {"what": held.what, "name": held.name, "undone": not dry_run, "commands": commands}
        print_json({"run": config.name, "dry_run": dry_run, **document})
        return
    console.print(f"the rows of {escape(str(held))} {'would be' if dry_run else 'are'} back", highlight=False)
    _tell_commands("bring them into what is made from them:", commands)


def _erase(config: RunConfig, store: Store, held: Withdrawal, dry_run: bool, as_json: bool) -> None:
    done = erase(reaches(config, store, held), held, dry_run=dry_run)
    if as_json:
        erased = {run: {"versions": each.retired, "bytes": each.bytes} for run, each in done.items()}
        print_json({"run": config.name, "dry_run": dry_run, "what": held.what, "name": held.name, "erased": erased})
        return
    for run, each in done.items():
        verb = "would be" if dry_run else "are"
        console.print(f"{run}: {len(each.retired)} versions {verb} erased, {size(each.bytes)}", highlight=False)


def _document(withdrawal: Withdrawal, found: Sequence[Reach]) -> Mapping[str, Any]:
    return {
        "what": withdrawal.what,
        "name": withdrawal.name,
        "reason": withdrawal.reason,
        "at": withdrawal.at.isoformat(),
        "reached": [each.as_json() for each in found],
        "commands": [command for each in found for command in each.commands],
    }


def _tell(found: Sequence[Reach]) -> None:
    for each in found:
        for version in each.versions:
            state = "erased" if version.erased else "current" if version.current else "old"
            names = ", ".join(version.assets)
            console.print(
                f"  {each.run}  {names}  {version.version[:16]}  {state}: {escape(version.why)}", highlight=False
            )
        for asset in each.left_behind:
            console.print(f"  {each.run}  {asset} is tainted, and today's config does not make it", highlight=False)
    if not any(each.versions for each in found):
        console.print("  no version holds such rows", highlight=False)
    commands = [command for each in found for command in each.commands]
    if commands:
        _tell_commands("redo just what is tainted:", commands)
    else:
        console.print("nothing current is tainted", highlight=False)


def _tell_commands(title: str, commands: Sequence[str]) -> None:
    if commands:
        console.print(title, highlight=False)
    for command in commands:
        console.print(f"  {escape(command)}", highlight=False)
