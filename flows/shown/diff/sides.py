"""What `halter diff A B` compares: two iterations, two runs, or two versions, laid out as steps, data and policies by
names that both sides share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from data_store.catalog.whole import WholeCatalog, read_whole
from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from data_store.identity import CONFIG_FILE, is_beside
from data_store.names import AssetName
from data_store.records import RunSummary
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.session import Session, home, recall, session_of, stored_config
from flows.shown.answered import AnswerReader
from flows.shown.policies import Evaluation, evaluations

_VERSION = re.compile(r"[0-9a-f]{8,64}")
_LEAST_DIGITS = 8
OF_ITERATIONS, OF_RUNS, OF_VERSIONS = "iterations", "runs", "versions"


@dataclass(frozen=True)
class Side:
    """One of the two: its name, the run it is of, and what is compared of it, by a name that both sides share."""

    name: str
    config: RunConfig
    store: Store
    whole: WholeCatalog
    answers: AnswerReader
    steps: Mapping[str, RunSummary]
    data: Mapping[str, str]
    evaluations: Mapping[str, Evaluation]


@dataclass(frozen=True)
class Sides:
    """Both, and what they are."""

    what: str
    a: Side
    b: Side


@contextmanager
def open_sides(a: str, b: str, run: str | None) -> Iterator[Sides]:
    """Read what two words mean: parts of a run, names of runs, or assets and versions of a run. Raises InputError for
    what is none of these, or two of different kinds."""
    with ExitStack() as stack:
        if run is None and _are_runs(a, b):
            one, other = (_open(stack, stored_config(name)) for name in (a, b))
            parts = list(dict.fromkeys(part for opened in (one, other) for part, _ in opened.session.plan))
            yield Sides(OF_RUNS, *(_whole_run(each, parts) for each in (one, other)))
            return
        opened = _open(stack, recall(run))
        kinds = {word: _kind(opened, word) for word in (a, b)}
        if len(set(kinds.values())) > 1:
            raise InputError(
                f"{a} and {b}: give two of a kind, not {' and '.join(f'{word} ({kinds[word]})' for word in (a, b))}"
            )
        one_side = _part if kinds[a] == OF_ITERATIONS else _version
        yield Sides(kinds[a], one_side(opened, a), one_side(opened, b))


@dataclass(frozen=True)
class _Opened:
    session: Session
    whole: WholeCatalog

    @property
    def parts(self) -> list[str]:
        return list(dict.fromkeys(part for part, _ in self.session.plan))


def _open(stack: ExitStack, config: RunConfig) -> _Opened:
    session = stack.enter_context(session_of(config))
    stack.enter_context(session.store.one_state())
    return _Opened(session, session.store.catalog.ask("whole", read_whole))


def _are_runs(a: str, b: str) -> bool:
    """Whether both name stores beside each other; a name leads nowhere else."""
    return all(is_beside(name) and (home() / name / CONFIG_FILE).is_file() for name in (a, b))


def _kind(opened: _Opened, word: str) -> str:
    if word in opened.parts:
        return OF_ITERATIONS
    if "@" in word or _VERSION.fullmatch(word):
        return OF_VERSIONS
    known = [
        *opened.parts,
        *map(str, opened.whole.heads),
        *(path.parent.name for path in home().glob(f"*/{CONFIG_FILE}")),
    ]
    raise InputError(
        f"{word!r} is no iteration of {opened.session.config.name} ({', '.join(opened.parts)}), no asset such as "
        f"dataset/preferences@V1, no version and no run{did_you_mean(word, known)}"
    )


def _side(
    opened: _Opened, name: str, steps: Mapping[str, RunSummary], data: Mapping[str, str], found: Sequence[Evaluation]
) -> Side:
    session = opened.session
    answers = AnswerReader(session.store, opened.whole)
    return Side(
        name, session.config, session.store, opened.whole, answers, steps, data, {each.label: each for each in found}
    )


def _makers(opened: _Opened) -> Iterator[tuple[str, str, RunSummary]]:
    """(part, step, the run behind its outputs) of the plan."""
    for (part, step), call in opened.session.plan.items():
        heads = [opened.whole.heads[asset] for asset in call.outputs.values() if asset in opened.whole.heads]
        ids = [head.run_id for head in heads if head.run_id in opened.whole.runs]
        if ids:
            yield part, step, opened.whole.runs[str(ids[0])]


def _evaluations(opened: _Opened) -> list[Evaluation]:
    session = opened.session
    return evaluations(opened.whole, session.plan, session.parts, session.config.final_stage)


def _part(opened: _Opened, part: str) -> Side:
    """Steps, data and policies of a part by names without the part."""
    steps = {step: run for each, step, run in _makers(opened) if each == part}
    data = {f"{a.kind}/{a.name}": head.version_id for a, head in opened.whole.heads.items() if a.part == part}
    # the newest of both is the policy that the part ends with
    (*_, last) = [None, *(each for each in _evaluations(opened) if each.part == part)]
    found = [] if last is None else [Evaluation("policy", last.part, last.step, last.run)]
    return _side(opened, part, steps, data, found)


def _whole_run(opened: _Opened, parts: Sequence[str]) -> Side:
    steps = {f"{part} {step}": run for part, step, run in _makers(opened)}
    data = {str(asset): head.version_id for asset, head in opened.whole.heads.items() if asset.part in parts}
    return _side(opened, opened.session.config.name, steps, data, _evaluations(opened))


def _version(opened: _Opened, word: str) -> Side:
    """One version with the run that made it."""
    whole = opened.whole
    if "@" in word:
        asset = AssetName.parse(word)
        head = whole.heads.get(asset)
        if head is None:
            near = did_you_mean(word, map(str, whole.heads))
            raise InputError(f"there is no asset {word}; `{halter('status')}` shows the assets there are{near}")
        version, maker = head.version_id, head.run_id
    else:
        found = [version for version in whole.versions if version.startswith(word)]
        if len(found) != 1:
            raise InputError(
                f"{word} begins {len(found) or 'no'} version{'s' * (len(found) != 1)} of {opened.session.config.name}: "
                f"give at least {_LEAST_DIGITS} digits of one; `{halter('query', 'FROM versions')}` lists them"
            )
        version = found[0]
        maker = next((run_id for run_id in whole.runs if _makes(whole, run_id, version)), None)
    run = whole.runs.get(maker) if maker is not None else None
    steps = {} if run is None else {"made by": run}
    found_evaluations = []
    if run is not None and run.run.step in ("evaluate", "evaluate_sampled"):
        found_evaluations = [Evaluation("policy", run.run.part, run.run.step, run)]
    return _side(opened, word, steps, {"content": version}, found_evaluations)


def _makes(whole: WholeCatalog, run_id: str, version: str) -> bool:
    return any(edge.version_id == version for edge in whole.makes.get(run_id, ()))
