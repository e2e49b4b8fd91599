"""A look at the user's files before a run: what would stop it later is said at once, of all files."""

from collections.abc import Iterable, Iterator

from data_store.errors import InputError
from flows.recipe.config import RunConfig
from flows.recipe.places import FOUNDATION
from flows.recipe.plan import Plan
from flows.session import Session
from tasks.engine.call import StepCall
from tasks.file_roles import ROLES, faults_of
from tasks.import_data import WORLD, import_data
from tasks.imported_files import names_of
from tasks.pretrain import pretrain
from tasks.pretrain_sources import faults_of_mix
from tasks.quality_texts import faults_of_sources
from tasks.train_quality_classifier import train_quality_classifier

_MOST = 20


def unread(config: RunConfig) -> str:
    """Files that the config names and no step reads, in words; empty where all are read."""
    if config.trains_base or not config.data.documents:
        return ""
    return "data.documents are not read: base_model is pretrained on only with a mix"


def _of_imported(call: StepCall) -> Iterator[str]:
    for role, paths in call.files.items():
        for path in paths if role in ROLES and getattr(call.config, "world", None) is None else ():
            for fault in faults_of(role, path, call.config):  # type: ignore[arg-type]
                yield f"data.{role}: {fault}"


def _corpus(plan: Plan) -> list[str]:
    """What the rows of the corpus call their files."""
    imported = plan[FOUNDATION, import_data.name]
    if getattr(imported.config, "world", None) is not None:
        return [WORLD]
    names = names_of(path for role in ROLES for path in imported.files.get(role, ()))
    return [names[path.resolve()] for path in imported.files.get("documents", ())]


def look_into_files(session: Session, places: Iterable[tuple[str, str]]) -> None:
    """`check_data` of today's plan, once a session for each step: commands look before they start a server, and flows
    since nobody has looked where one is served."""
    new = set(places) - session.looked_at
    check_data(session.plan, [place for place in session.plan if place in new])
    session.looked_at |= new


def check_data(plan: Plan, keys: Iterable[tuple[str, str]]) -> None:
    """Read the beginning of each file that the steps at these places (part, step) of a plan would import, or that a
    classifier of quality learns from there, and hold a mix against the names of the files. Raises InputError with the
    first fault of each file that has one."""
    faults = list[str]()
    for key in keys:
        call = plan.get(key)
        if call is None:
            continue
        if call.step.name == train_quality_classifier.name:
            faults += faults_of_sources(call.config, call.files.get("files", ()))  # type: ignore[arg-type]
        elif call.step.name == import_data.name:
            faults += _of_imported(call)
        elif call.step.name == pretrain.name and (mix := getattr(call.config, "mix", None)) is not None:
            faults += faults_of_mix(mix.sources, _corpus(plan))
    if faults:
        more = [f"and {len(faults) - _MOST} more files"] if len(faults) > _MOST else []
        raise InputError("\n".join([*faults[:_MOST], *more]))
