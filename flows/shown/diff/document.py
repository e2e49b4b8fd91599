"""What differs between two iterations, runs or versions, as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_store.catalog.whole import Measured
from data_store.records import RunSummary
from flows.recipe.changes import changed_keys
from flows.shown.diff.contents import ContentDifference, compare
from flows.shown.diff.sides import OF_ITERATIONS, OF_RUNS, Side, Sides
from flows.shown.differences import Difference, difference
from flows.shown.policies import Policy, paired, place, policies
from flows.shown.report.dialogues import SCORE, Change, changed

_OF_THE_RUN = ("name", "description")  # keys of a config that make nothing different


@dataclass(frozen=True)
class KeyDifference:
    """A key of what steps were made with, and its value on either side; `steps` names them. For two runs, also one of
    the config files, under the name `config`."""

    key: str
    a: Any
    b: Any
    steps: tuple[str, ...]


@dataclass(frozen=True)
class FileDifference:
    """A source file with the sha256 that was recorded on either side, None where it was no part of the code then."""

    path: str
    a: str | None
    b: str | None
    steps: tuple[str, ...]


@dataclass(frozen=True)
class FigureDifference:
    """One metric of a step or policy on either side. `difference` is b minus a; `paired` is the same over the prompts
    that both answered, with an interval, where the rows allow it and the judge is the same."""

    of: str
    metric: str
    a: Measured
    b: Measured
    difference: float
    paired: Difference | None


@dataclass(frozen=True)
class AnswerDifference:
    """One held-out prompt that both sides answered, in the evaluations `runs`, and the scores by the `judge`, empty
    where each has its own."""

    of: str
    prompt_id: str
    messages: Sequence[Mapping[str, str]]
    runs: tuple[str, str]
    a: str
    b: str
    score_a: float | None
    score_b: float | None
    judge: str
    change: Change


@dataclass(frozen=True)
class Comparison:
    """All that differs. `only`: steps that one side alone has; `notes`: what must be known to read it."""

    what: str
    a: str
    b: str
    only: Mapping[str, Sequence[str]]
    config: Sequence[KeyDifference]
    code: Sequence[FileDifference]
    figures: Sequence[FigureDifference]
    data: Sequence[ContentDifference]
    answers: Sequence[AnswerDifference]
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare_sides(sides: Sides, examples: int) -> Comparison:
    """`examples`: most rows of a kind of difference, and most answers."""
    a, b = sides.a, sides.b
    both = [(name, run, b.steps[name]) for name, run in a.steps.items() if name in b.steps]
    judged = list(_policies(a, b))
    notes = [
        f"{label}: judged by {one.judge} and by {other.judge}, so judgements are not paired"
        for label, one, other in judged
        if one.judge != other.judge
    ]
    return Comparison(
        what=sides.what,
        a=a.name,
        b=b.name,
        only={"a": [s for s in a.steps if s not in b.steps], "b": [s for s in b.steps if s not in a.steps]},
        config=_config(sides, both),
        code=_code(both),
        figures=list(_figures(sides, both, judged)),
        data=[found for found in _data(a, b, examples) if not found.is_same],
        answers=_answers(judged, examples),
        notes=notes,
    )


Both = Sequence[tuple[str, RunSummary, RunSummary]]
Judged = Sequence[tuple[str, Policy, Policy]]


def _policies(a: Side, b: Side) -> Iterator[tuple[str, Policy, Policy]]:
    shared = [label for label in a.evaluations if label in b.evaluations]
    ours = policies(a.answers, [a.evaluations[label] for label in shared])
    theirs = policies(b.answers, [b.evaluations[label] for label in shared])
    return zip(shared, ours, theirs, strict=True)


def _config(sides: Sides, both: Both) -> list[KeyDifference]:
    """Keys with the same two values are told once, with all the steps."""
    steps: dict[str, tuple[KeyDifference, list[str]]] = {}

    def add(key: str, a: Any, b: Any, step: str) -> None:
        found = steps.setdefault(repr((key, a, b)), (KeyDifference(key, a, b, ()), []))
        found[1].append(step)

    if sides.what == OF_RUNS:
        files = [side.config.model_dump(mode="json", exclude=set(_OF_THE_RUN)) for side in (sides.a, sides.b)]
        for key, one, other in changed_keys(files[0], files[1]):
            add(key, one, other, "config")
    for name, run, other_run in both:
        for key, one, other in changed_keys(_made_with(sides, run), _made_with(sides, other_run)):
            add(key, one, other, name)
    return [KeyDifference(found.key, found.a, found.b, tuple(names)) for found, names in steps.values()]


def _made_with(sides: Sides, run: RunSummary) -> dict[str, Any]:
    """What decides a result and is not the name of a place. Every iteration draws a seed of its own."""
    recorded = run.run.config
    kept = ("version",) if sides.what == OF_ITERATIONS else ("version", "seed")
    config = recorded.get("config", {})
    return {**(config if isinstance(config, Mapping) else {}), **{f"({key})": recorded.get(key) for key in kept}}


def _code(both: Both) -> list[FileDifference]:
    found: dict[tuple[str, str | None, str | None], list[str]] = {}
    for name, run, other in both:
        ours, theirs = run.run.code_files, other.run.code_files
        for path in sorted({*ours, *theirs}):
            if ours.get(path) != theirs.get(path):
                found.setdefault((path, ours.get(path), theirs.get(path)), []).append(name)
    return [FileDifference(*key, tuple(names)) for key, names in sorted(found.items(), key=lambda each: each[0][0])]


def _figures(sides: Sides, both: Both, judged: Judged) -> Iterator[FigureDifference]:
    """Those of policies, then those of the other steps."""
    evaluated = set()
    for label, one, other in judged:
        evaluated |= {one.run.run.run_id, other.run.run.run_id}
        for name in sorted(one.figures.keys() & other.figures.keys(), key=place):
            pairs = paired(one.answered, other.answered, name) if one.judge == other.judge else []
            yield _figure(label, one.figures[name], other.figures[name], difference(pairs))
    for name, run, other_run in both:
        if run.run.run_id in evaluated:
            continue
        ours, theirs = (
            side.whole.measured.get(made.run.run_id, {}) for side, made in ((sides.a, run), (sides.b, other_run))
        )
        for metric in (each for each in ours if each in theirs):
            yield _figure(name, ours[metric], theirs[metric], None)


def _figure(of: str, a: Measured, b: Measured, found: Difference | None) -> FigureDifference:
    return FigureDifference(of, a.name, a, b, b.value - a.value, found)


def _data(a: Side, b: Side, examples: int) -> Iterator[ContentDifference]:
    names = list(dict.fromkeys([*a.data, *b.data]))
    for name in names:
        yield compare(name, (a.store, a.data.get(name)), (b.store, b.data.get(name)), examples)


def _answers(judged: Judged, most: int) -> list[AnswerDifference]:
    """Those that changed most, largest first, ties by policy and prompt."""
    found = []
    for label, one, other in judged:
        changes = changed(one.answered, other.answered, same_judge=one.judge == other.judge)
        ours, theirs = one.answered, other.answered
        for key, change in changes.items():
            if change.is_any and ours.prompts[key]["messages"] == theirs.prompts[key]["messages"]:
                found.append(
                    AnswerDifference(
                        of=label,
                        prompt_id=key,
                        messages=ours.prompts[key]["messages"],
                        runs=(one.run.run.run_id, other.run.run.run_id),
                        a=ours.answers[key]["text"],
                        b=theirs.answers[key]["text"],
                        score_a=ours.values.get(SCORE, {}).get(key),
                        score_b=theirs.values.get(SCORE, {}).get(key),
                        judge=one.judge if one.judge == other.judge else "",
                        change=change,
                    )
                )
    found.sort(key=lambda each: (*each.change.order, each.of, each.prompt_id))
    return found[:most]
