"""A look at the user's files before a run: what would stop it later is said at once, of all files."""

from collections.abc import Iterable

from data_store.errors import InputError
from flows.session import Session
from flows.shown.status import Cell, stale_keys
from tasks.file_roles import ROLES, faults_of
from tasks.import_data import import_data
from tasks.quality_texts import faults_of_sources
from tasks.train_quality_classifier import train_quality_classifier

_MOST = 20


def check_data(session: Session, cells: Iterable[Cell]) -> None:
    """Read the beginning of each file that is to be imported, or that a classifier of quality learns from. Raises
    InputError with the first fault of each file that has one."""
    faults = list[str]()
    for part, step in stale_keys(list(cells)):
        call = session.plan.get((part, step))
        if call is not None and step == train_quality_classifier.name:
            faults += faults_of_sources(call.config, call.files.get("files", ()))  # type: ignore[arg-type]
        if call is None or step != import_data.name:
            continue
        for role, paths in call.files.items():
            for path in paths if role in ROLES and getattr(call.config, "world", None) is None else ():
                faults += [f"data.{role}: {fault}" for fault in faults_of(role, path, call.config)]  # type: ignore[arg-type]
    if faults:
        more = [f"and {len(faults) - _MOST} more files"] if len(faults) > _MOST else []
        raise InputError("\n".join([*faults[:_MOST], *more]))
