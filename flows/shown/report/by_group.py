"""Rates of policies by groups of prompts: categories, and one turn or several (Llama 2, figures 17 to 19 and 33)."""

from collections.abc import Iterator, Sequence

from flows.shown.policies import Policy, measure_of, place
from flows.shown.report.parts import Table, measured, text
from tasks.evaluation_judges.measures import JUDGE_MARK
from tasks.judging.judgements import CATEGORY, TURNS

_TITLES = {
    "violation": "Violations by category of the adversarial prompt",
    "false_refusal": "False refusals by category of the borderline prompt",
    "adversarial_refusal": "Refusals of adversarial prompts by category",
    "ordinary_refusal": "Refusals of ordinary prompts by category",
}


def by_group(found: Sequence[Policy]) -> Iterator[Table]:
    """A table for each rate that is known by category, a row for each policy and judge, and one by turns."""
    names = {name for policy in found for name in policy.figures}
    for rate, title in _TITLES.items():
        categories = sorted({_category(name) for name in names if name.startswith(f"{rate}{CATEGORY}")})
        if categories:
            notes = ["Judged prompt by prompt; a category of few prompts is marked. A refusal counts once."]
            yield _table(found, f"{rate}-by-category", title, [f"{rate}{CATEGORY}{each}" for each in categories], notes)
    turned = sorted({_bare(name) for name in names if _bare(name).endswith(TURNS)}, key=lambda name: (*place(name),))
    if turned:
        title = "Prompts of one user turn and of several"
        yield _table(found, "by-turns", title, turned, ["Only where there are prompts of both kinds."])


def _table(found: Sequence[Policy], key: str, title: str, wanted: Sequence[str], notes: Sequence[str]) -> Table:
    rows = []
    for policy in found:
        for mark in ("", *(f"{JUDGE_MARK}{judge}" for judge in policy.judged)):
            figures = [policy.figures.get(f"{name}{mark}") for name in wanted]
            known = [each for each in figures if each is not None]
            if known:
                cells = (
                    measured(each, measure_of(f"{name}{mark}")) for name, each in zip(wanted, figures, strict=True)
                )
                rows.append([text(policy.label), text(known[0].judge or ""), *cells])
    columns = ["policy", "judge", *(_said(name) for name in wanted)]
    return Table(key, title, columns, rows, notes)


def _bare(name: str) -> str:
    return name.partition(JUDGE_MARK)[0]


def _category(name: str) -> str:
    return _bare(name).partition(CATEGORY)[2]


def _said(name: str) -> str:
    return (_category(name) or name).replace("_", " ")
