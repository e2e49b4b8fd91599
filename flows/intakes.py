"""What a start of the recipe takes in: where the config says `schedule.take_in: next_iteration`, new preferences become
an iteration of their own, and what an iteration has taken in stays its own.

Told by the catalog alone, so that it does not matter who starts the recipe, nor where it was cut off. Knows no Prefect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_store.errors import InputError
from data_store.incoming.intakes import Intake, TakenFile, names, read_intakes, write_intake
from data_store.locks import locked
from data_store.names import AssetName
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.places import FOUNDATION
from flows.recipe.plan import intakes_of, parts_of
from flows.session import Session
from flows.shown.status import look_at, status_cells
from tasks.file_roles import PAIRS
from tasks.import_data import import_data

_LOCK = "intakes.lock"
_MADE = ("fresh", "stale", "tainted")


@dataclass(frozen=True)
class Start:
    """What a start has found. `text` says it in words; `idle`: nothing is to be done at all."""

    text: str
    idle: bool


def take_in(session: Session) -> Start | None:
    """Append the next iteration where the config asks for it and it is due; None where the config does not.

    It is due when every step of the iterations in force has been made, nothing waits, no gate holds, and there is
    something new: files of preferences that no iteration has taken in, or, where pairs are drawn and judged, another
    start. Raises InputError where a file is not as it was taken in.
    """
    config, store = session.config, session.store
    if config.schedule.take_in == "nothing":
        check_taken(session)
        return None
    with locked(store.root / _LOCK, exclusive=True):
        told = "" if config.draws_pairs else _renew(config, store)
        check_taken(session)
        if not told:
            told, intake = _next(session)
            if intake is not None:
                write_intake(store, intake)
    return Start(told, idle=look_at(store, session.plan, config.gates).nothing_to_do)


def foretell(session: Session) -> str | None:
    """What `take_in` would say where it would take in nothing, and so write nothing; None where it would. Raises
    InputError as it does."""
    config, store = session.config, session.store
    if config.schedule.take_in == "nothing":
        check_taken(session)
        return ""
    if not config.draws_pairs and not _is_fixed(store, list(intakes_of(store) or [FOUNDATION])[-1]):
        return None
    check_taken(session)
    told, intake = _next(session)
    return told if intake is None else None


def check_taken(session: Session) -> None:
    """Raises InputError where a file that an iteration has learned from is gone or has changed."""
    taken = intakes_of(session.store)
    for part, intake in taken.items():
        call = session.plan.get((part, import_data.name))
        needed = {path for paths in call.files.values() for path in paths} if call else set()
        for file in intake.files if _is_fixed(session.store, part) else ():
            path = Path(file.path)
            if path not in needed:  # withdrawn
                continue
            way_out = f"put it back as it was (sha256 {file.sha256[:16]}…), and give new pairs in a new file"
            if not path.is_file():
                raise InputError(f"{path}, which {part} took in, is gone: {way_out}")
            if TakenFile.of(file.role, path) != file:
                raise InputError(f"{path} has changed since {part} took it in: {way_out}")


def intake_rows(store: Store) -> list[dict[str, object]]:
    """What was taken in, one row for the foundation and each appended iteration, as plain values."""
    return [
        {"part": part, "at": at.isoformat(timespec="seconds"), "trigger": intake.trigger, "files": names(intake.files)}
        for part, (intake, at) in read_intakes(store).items()
    ]


def describe(config: RunConfig, store: Store) -> str:
    """How many iterations are in force, in words; empty where none was appended and none will be."""
    intakes = intakes_of(store)
    appended = [part for part in intakes if part != FOUNDATION]
    growing = config.schedule.take_in == "next_iteration"
    if not appended and not growing:
        return ""
    count = len(parts_of(config, intakes))
    limit = f", at most {config.schedule.max_iterations}" if growing else ""
    return f"{count} iterations in force: {config.iterations} of the config, {len(appended)} appended{limit}"


def _renew(config: RunConfig, store: Store) -> str:
    """What the newest part takes in is fixed once its preferences are made; until then, files may come and go. The
    first time all files are the foundation's. Gives in words what the newest part takes in; nothing where it stood."""
    intakes = intakes_of(store)
    part = list(intakes)[-1] if intakes else FOUNDATION
    if part in intakes and _is_fixed(store, part):
        return ""
    files = new_files(config, {each: intake for each, intake in intakes.items() if each != part})
    write_intake(store, Intake(part, config.iterations, "files" if files else "nothing", files))
    if part == FOUNDATION:
        return f"the run begins with {_named(files)}"
    return f"{part} takes in {_named(files)}" if files else f"{part} is taken back: its files are gone"


def _next(session: Session) -> tuple[str, Intake | None]:
    """The next iteration, where it is due, and in words what is appended, or why nothing is."""
    config, store = session.config, session.store
    intakes = intakes_of(store)
    number = len(parts_of(config, intakes)) + 1
    for cell in status_cells(store, session.plan, config.gates):
        if cell.state not in _MADE or cell.gate:
            return (
                f"no iteration is appended: {cell.step} of {cell.part} is {'at a gate' if cell.gate else cell.state}",
                None,
            )
    files = () if config.draws_pairs else new_files(config, intakes)
    if not config.draws_pairs and not files:
        return "no new preferences have come", None
    if number > config.schedule.max_iterations:
        waiting = f", and {_named(files)} wait" if files else ""
        return (
            f"no iteration is appended: there are {number - 1}, as many as schedule.max_iterations allows{waiting}",
            None,
        )
    part = f"V{number}"
    told = f"{part} is appended" + (f" and takes in {_named(files)}" if files else "")
    return told, Intake(part, config.iterations, "files" if files else "night", files)


def new_files(config: RunConfig, intakes: Mapping[str, Intake]) -> tuple[TakenFile, ...]:
    """The files of preferences that no part has taken in. Raises InputError for one named as one that was: rows are
    known by their file's name."""
    known = {file.path for intake in intakes.values() for file in intake.files}
    taken = {(file.role, Path(file.path).name): part for part, intake in intakes.items() for file in intake.files}
    found = []
    for role, paths in config.data.files().items():
        for path in paths if role in PAIRS else ():
            if str(path) in known:
                continue
            if (role, path.name) in taken:
                raise InputError(
                    f"{path}: {taken[role, path.name]} took in a file of this name, and rows are known by their file's "
                    "name: give it another"
                )
            found.append(TakenFile.of(role, path))
    return tuple(found)


def _is_fixed(store: Store, part: str) -> bool:
    first = "V1" if part == FOUNDATION else part
    return store.head(AssetName("dataset", "preferences", first)) is not None


def _named(files: tuple[TakenFile, ...]) -> str:
    found = names(files)
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return f"{len(found)} new file{'s' * (len(found) != 1)} ({shown})"
