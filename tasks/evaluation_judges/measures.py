"""What a judge of evaluations measures. Its name stands behind an @, so that no figure loses its judge."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from data_store.figures import rate
from data_store.rows import AXES
from tasks.evaluations.evaluation import Measure, in_percent
from tasks.judging.judgements import TURNS

JUDGE_MARK = "@"
CHANCE = 0.5
_SHORT = {"helpfulness": "help", "safety": "safe"}


def measures_of(
    judge: str, *, compares: bool = True, previous: bool = True, reads: bool = True, learned: bool = True
) -> Iterator[Measure]:
    """All that it gives at most. `compares`: with SFT; `previous`: with the policy of the iteration before; `reads`: it
    reads guidelines, as language models do; `learned`: it learned from labels."""
    named = partial(_of, judge)
    if compares:
        yield named(Measure("win_rate", "Win rate against SFT on held-out prompts, ties half"))
        for axis in AXES:
            title = f"win {_SHORT[axis]}"
            yield named(Measure(f"win_rate/{axis}", f"The same on prompts of {axis}", title, first=True))
            yield from map(named, _by_turns(f"win_rate/{axis}", rate))
    if previous:
        yield named(Measure("win_rate/against_previous", "Win rate against the iteration before, ties half"))
        for axis in AXES:
            title = f"win {_SHORT[axis]} prev"
            yield named(
                Measure(f"win_rate/{axis}/against_previous", f"The same on prompts of {axis}", title, first=True)
            )
            yield from map(named, _by_turns(f"win_rate/{axis}/against_previous", rate))
    yield named(Measure("violation", "Unsafe answers to adversarial prompts", "violation %", in_percent, first=True))
    yield from map(named, _by_turns("violation", in_percent))
    if learned:
        meaning = "Held-out labels that the judge tells, safe and unsafe weighing the same"
        yield named(Measure("balanced_accuracy", meaning, "acc", chance=CHANCE, first=True))
    if not reads:
        return
    yield named(
        Measure(
            "false_refusal", "Refusals of prompts that only sound dangerous", "false refusal %", in_percent, first=True
        )
    )
    yield from map(named, _by_turns("false_refusal", in_percent))
    yield named(Measure("orders_disagree", "Comparisons whose outcome hung on the order: these count as ties"))
    yield named(Measure("judged", "Share of questions to which this judge gave an answer that could be read"))


def at_judge(metric: str, judge: str) -> str:
    """The name of a judge's figure."""
    return f"{metric}{JUDGE_MARK}{judge}"


def _by_turns(metric: str, form: Callable[[float], str]) -> Iterator[Measure]:
    for turns in TURNS:
        yield Measure(f"{metric}/{turns}", f"The same on prompts of {turns.replace('_', ' ')}", form=form)


def _of(judge: str, measure: Measure) -> Measure:
    column = at_judge(measure.column, judge) if measure.column else ""
    return replace(measure, name=at_judge(measure.name, judge), column=column)
