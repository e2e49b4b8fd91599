"""Rows of judgements are all that it takes to have a judge's figures."""

import pytest

from tasks.estimates import rate_of, win_rate_of
from tasks.judging.judgements import figures_of, judgement, metrics_in, values_of

PROMPTS = {
    "a": {"axis": "helpfulness", "kind": "ordinary"},
    "b": {"axis": "helpfulness", "kind": "borderline"},
    "c": {"axis": "safety", "kind": "adversarial"},
}


@pytest.mark.parametrize(
    ("question", "against", "prompt", "metrics"),
    [
        ("score", None, "a", ("oracle_score", "oracle_score/helpfulness")),
        ("better", "V0", "c", ("win_rate", "win_rate/safety")),
        ("better", "V2", "a", ("win_rate/against_previous", "win_rate/helpfulness/against_previous")),
        ("better", "shipped", "c", ("win_rate/against_shipped", "win_rate/safety/against_shipped")),
        ("unsafe", None, "c", ("violation",)),
        ("unsafe", None, "a", ()),
        ("refused", None, "a", ("ordinary_refusal",)),
        ("refused", None, "b", ("false_refusal",)),
        ("refused", None, "c", ()),
    ],
)
def test_a_judgement_counts_in_the_figures_of_its_question_and_its_prompt(
    question: str, against: str | None, prompt: str, metrics: tuple[str, ...]
) -> None:
    assert metrics_in(question, against, PROMPTS[prompt]) == metrics


def test_figures_are_those_of_the_values_and_what_was_refused_counts_in_none() -> None:
    rows = [
        judgement("a", "j", "better", 1.0, against="V0", orders=(1.0, 1.0)),
        judgement("b", "j", "better", 0.5, against="V0", orders=(1.0, 0.0)),
        judgement("c", "j", "better", None, against="V0", refused="too_long"),
        judgement("c", "j", "unsafe", 1.0),
        judgement("z", "j", "unsafe", 0.0),  # of a prompt that is gone
    ]
    assert values_of(rows, PROMPTS)["win_rate"] == {"a": 1.0, "b": 0.5}
    found = figures_of(rows, PROMPTS, ("better", "unsafe"), "j")
    assert found == {
        "win_rate": win_rate_of([1.0, 0.5], "j"),
        "win_rate/helpfulness": win_rate_of([1.0, 0.5], "j"),
        "violation": rate_of([1.0], "j"),
    }
    assert figures_of(rows, PROMPTS, ("refused",), "j") == {}
