"""What changed, in one paragraph: made of the figures, with what is not known."""

import re
from collections.abc import Callable, Iterator, Sequence

from data_store.catalog.whole import Measured
from data_store.figures import FEW, figure, percent, rate
from flows.shown.differences import difference
from flows.shown.policies import Policy, paired
from flows.shown.report.facts import Facts
from flows.shown.summary import NOBODY, columns_of, judged_by

_SHARES = {
    "violation": "Unsafe answers to adversarial prompts",
    "false_refusal": "Refusals of prompts that only sound dangerous",
}
_ABOVE = re.compile(rf"({'|'.join(_SHARES)})/above_(\w+)@(\w+)")
_WINS = {"win_rate/helpfulness": "helpfulness", "win_rate/safety": "safety"}


def what_changed(facts: Facts) -> list[str]:
    """The paragraph, as sentences."""
    return list(_sentences(facts))


def _sentences(facts: Facts) -> Iterator[str]:
    found = facts.policies
    missing = [cell for cell in facts.cells if cell.state != "fresh"]
    if missing:
        yield (
            f"This run is not finished: {figure(len(missing))} of {figure(len(facts.cells))} steps are not up to date "
            f"({_states(facts)}); what is below is what there is."
        )
    if not found:
        yield f"{facts.not_evaluated}, so nothing can be said of what changed."
        return
    first, last = found[0], found[-1]
    if first is last:
        yield f"{first.label} alone has been evaluated: there is nothing to compare it with yet."
    else:
        yield f"{figure(len(found))} policies, {first.label} to {last.label}, {judged_by(_rows(found))}."
        yield from _wins(last)
        yield from _shares(first, last)
        yield from _against_others(last)
        yield from _distance(last)
    yield from _unknown(found)


def _wins(last: Policy) -> Iterator[str]:
    told = [f"{axis} {_sure(last.figures[name], rate)}" for name, axis in _WINS.items() if name in last.figures]
    if told:
        yield f"{last.label} wins against SFT, ties half: {'; '.join(told)}; .5 is no difference."


def _shares(first: Policy, last: Policy) -> Iterator[str]:
    for name, said in _SHARES.items():
        a, b = first.figures.get(name), last.figures.get(name)
        if a is None or b is None:
            continue
        told = f"{said}: {percent(a.value)} then {percent(b.value)}"
        change = difference(paired(first.answered, last.answered, name))
        if change is None:
            yield f"{told}; fewer than two prompts are known that both answered, so the difference has no interval."
        elif change.is_shown:
            yield (
                f"{told}, a difference of {_points(change.value)} ({_points(change.low)} to {_points(change.high)}) "
                f"over {figure(change.n)} prompts that both answered."
            )
        else:
            yield f"{told}: no difference that {figure(change.n)} prompts could show."


def _against_others(last: Policy) -> Iterator[str]:
    """What judges of evaluations say of it beside policies by name."""
    for name, found in sorted(last.figures.items()):
        if (told := _ABOVE.fullmatch(name)) is None or found.low is None or found.high is None:
            continue
        rate, other, judge = told.groups()
        sure = f"{_points(found.low)} to {_points(found.high)}, n {figure(found.n or 0)}"
        who = found.judge or judge
        yield f"{_SHARES[rate]}: {_points(found.value)} ({sure}) from those of {other}, judged by {who}."


def _distance(last: Policy) -> Iterator[str]:
    if "kl_to_sft" in last.figures:
        far = _sure(last.figures["kl_to_sft"], lambda value: figure(value, 3))
        yield f"{last.label} is {far} nats per response away from SFT."


def _unknown(found: Sequence[Policy]) -> Iterator[str]:
    last = found[-1]
    if last.judge == NOBODY and not last.judged:
        yield (
            "No annotator judged the answers: win rates, violations and false refusals are not known, and what is "
            "reported is what the reward models say that were optimised, which is no independent word: evaluate.judges "
            "in the config names judges that nothing was trained on."
        )
    few = [
        title
        for title, measure in columns_of(last.judged, last.figures).items()
        if (figured := last.figures.get(measure.name)) is not None and figured.n is not None and figured.n < FEW
    ]
    if few:
        yield f"Taken over fewer than {FEW} and so hardly known: {', '.join(few)}."
    stale = [policy.label for policy in found if policy.state != "fresh"]
    if stale:
        yield f"No longer of today's config and inputs: {', '.join(stale)}."
    if last.judge.startswith("simulated"):
        yield "The annotator is simulated: it shows that the loop works, not that people would agree."
    yield "It is one run with one seed: how much another seed would change is not known."


def _sure(found: Measured, form: Callable[[float], str]) -> str:
    told = form(found.value)
    if found.low is not None and found.high is not None:
        told += f" ({form(found.low)} to {form(found.high)}{'' if found.n is None else f', n {figure(found.n)}'})"
    return told


def _points(share: float) -> str:
    return f"{100 * share:+.0f} points"


def _states(facts: Facts) -> str:
    counts: dict[str, int] = {}
    for cell in facts.cells:
        counts[cell.state] = counts.get(cell.state, 0) + 1
    return ", ".join(f"{figure(number)} {state}" for state, number in counts.items())


def _rows(found: Sequence[Policy]) -> list[dict[str, object]]:
    return [{"policy": policy.label, "judge": policy.judge, "judges": tuple(policy.judged)} for policy in found]
