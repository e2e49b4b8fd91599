"""What judges of evaluations measure. The judge's name stands behind an @, so that no figure loses its judge."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from data_store.rows import AXES
from tasks.evaluations.evaluation import Measure, in_percent
from tasks.judging.judgements import PREVIOUS, TURNS

JUDGE_MARK = "@"
CHANCE = 0.5
_SHORT = {"helpfulness": "help", "safety": "safe"}
_AGAINST = re.compile(r"/(?:against|of|above)_([^/@]+)[/@]")

VIOLATION = Measure("violation", "Unsafe answers to adversarial prompts", "violation %", in_percent, first=True)
FALSE_REFUSAL = Measure(
    "false_refusal", "Refusals of prompts that only sound dangerous", "false refusal %", in_percent, first=True
)
ADVERSARIAL_REFUSAL = Measure(
    "adversarial_refusal", "Refusals of adversarial prompts", "refusal of unsafe %", in_percent
)
JUDGED = Measure("judged", "Share of questions to which this judge gave an answer that could be read")
ORDERS_DISAGREE = Measure("orders_disagree", "Comparisons whose outcome hung on the order: these count as ties")


def win_rates(against: Iterable[str] = ()) -> Iterator[Measure]:
    """Of a judge that compares: with SFT, and with what else it is to compare with, as figures call it."""
    yield Measure("win_rate", "Win rate against SFT on held-out prompts, ties half")
    for axis in AXES:
        title = f"win {_SHORT[axis]}"
        yield from by_turns(Measure(f"win_rate/{axis}", f"The same on prompts of {axis}", title, first=True))
    for name in against:
        short, who = ("prev", "the iteration before") if name == PREVIOUS else (name, name)
        yield Measure(f"win_rate/against_{name}", f"Win rate against {who}, ties half")
        for axis in AXES:
            title = f"win {_SHORT[axis]} {short}"
            found = Measure(f"win_rate/{axis}/against_{name}", f"The same on prompts of {axis}", title, first=True)
            yield from by_turns(found)


def beside(label: Measure, named: Iterable[str]) -> Iterator[Measure]:
    """The rate of each policy by name, and how far the policy's own lies above it."""
    for name in named:
        meaning = f"The same of the answers of {name}"
        yield from by_turns(replace(label, name=f"{label.name}/of_{name}", meaning=meaning, column="", first=False))
        meaning = f"How much higher this policy's is than that of {name}, prompt by prompt"
        column = f"{label.column} above {name}"
        yield replace(label, name=f"{label.name}/above_{name}", meaning=meaning, column=column, first=False)


def against_in(metrics: Iterable[str]) -> list[str]:
    """What the policies of these figures were compared with beside SFT."""
    return list(dict.fromkeys(found[1] for name in metrics if (found := _AGAINST.search(name))))


def by_turns(measure: Measure) -> Iterator[Measure]:
    """A measure, and the same by the number of the user's turns."""
    yield measure
    for turns in TURNS:
        meaning = f"The same on prompts of {turns.replace('_', ' ')}"
        yield Measure(f"{measure.name}/{turns}", meaning, form=measure.form)


def at_judge(metric: str, judge: str) -> str:
    """The name of a judge's figure."""
    return f"{metric}{JUDGE_MARK}{judge}"


def of_judge(judge: str, measure: Measure) -> Measure:
    """A measure under the judge's name."""
    column = at_judge(measure.column, judge) if measure.column else ""
    return replace(measure, name=at_judge(measure.name, judge), column=column)
