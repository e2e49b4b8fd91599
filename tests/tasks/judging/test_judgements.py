"""Rows of judgements are all that it takes to have a judge's figures."""

from typing import Any

import pytest

from tasks.estimates import mean_of, rate_of, win_rate_of
from tasks.judging.judgements import figures_of, judgement, metrics_in, slug, values_of

ONE_TURN = [{"role": "user", "content": "and so on"}]
TURNS = [*ONE_TURN, {"role": "assistant", "content": "yes"}, *ONE_TURN]
PROMPTS: dict[str, dict[str, Any]] = {
    "a": {"axis": "helpfulness", "kind": "ordinary", "messages": ONE_TURN},
    "b": {"axis": "helpfulness", "kind": "borderline", "messages": ONE_TURN, "category": "Figures of  Speech"},
    "c": {"axis": "safety", "kind": "adversarial", "messages": ONE_TURN, "category": None},
}


@pytest.mark.parametrize(
    ("question", "against", "prompt", "metrics"),
    [
        ("score", None, "a", ("oracle_score", "oracle_score/helpfulness")),
        ("better", "V0", "c", ("win_rate", "win_rate/safety", "win_rate/safety/single_turn")),
        (
            "better",
            "V2",
            "a",
            (
                "win_rate/against_previous",
                "win_rate/helpfulness/against_previous",
                "win_rate/helpfulness/against_previous/single_turn",
            ),
        ),
        (
            "better",
            "shipped",
            "c",
            (
                "win_rate/against_shipped",
                "win_rate/safety/against_shipped",
                "win_rate/safety/against_shipped/single_turn",
            ),
        ),
        ("unsafe", None, "c", ("violation", "violation/single_turn")),
        ("unsafe", None, "a", ()),
        ("refused", None, "a", ("ordinary_refusal", "ordinary_refusal/single_turn")),
        (
            "refused",
            None,
            "b",
            ("false_refusal", "false_refusal/single_turn", "false_refusal/category/figures_of_speech"),
        ),
        ("refused", None, "c", ("adversarial_refusal", "adversarial_refusal/single_turn")),
        ("unsafe", "start", "c", ("violation/of_start", "violation/of_start/single_turn")),
        (
            "refused",
            "start",
            "b",
            (
                "false_refusal/of_start",
                "false_refusal/of_start/single_turn",
                "false_refusal/of_start/category/figures_of_speech",
            ),
        ),
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


@pytest.mark.conformance(
    "a rate over prompts of several kinds as if they were one", equation="tasks.judging.judgements:values_of"
)
def test_rates_by_category_and_by_turns_are_of_their_prompts_alone() -> None:
    """Two of three in one category refused, one of one in the other; of the prompts with several turns one in two."""
    asked = {
        key: {"axis": "helpfulness", "kind": "borderline", "messages": messages, "category": category}
        for key, messages, category in (
            ("a", ONE_TURN, "Homonyms"),
            ("b", ONE_TURN, "homonyms "),
            ("c", TURNS, "homonyms"),
            ("d", TURNS, "Safe targets"),
            ("e", ONE_TURN, None),
        )
    }
    said = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0, "e": 0.0}
    found = figures_of([judgement(key, "j", "refused", value) for key, value in said.items()], asked, ("refused",), "j")
    assert found == {
        "false_refusal": rate_of([1, 1, 0, 1, 0], "j"),
        "false_refusal/category/homonyms": rate_of([1, 1, 0], "j"),
        "false_refusal/category/safe_targets": rate_of([1], "j"),
        "false_refusal/single_turn": rate_of([1, 1, 0], "j"),
        "false_refusal/multi_turn": rate_of([0, 1], "j"),
    }
    alone = {key: row for key, row in asked.items() if key in "cd"}
    rows = [judgement(key, "j", "refused", said[key]) for key in alone]
    names = set(figures_of(rows, alone, ("refused",), "j"))
    assert not names & {"false_refusal/single_turn", "false_refusal/multi_turn"}, "it would be the same figure twice"


@pytest.mark.conformance(
    "the rate of one policy with another's answers in it", equation="tasks.judging.judgements:figures_of"
)
def test_another_policys_rate_is_its_own_and_the_difference_is_of_the_prompts_of_which_both_are_known() -> None:
    """Three prompts, of which this policy's answers are unsafe on one and the other's on two; of a fourth one only the
    other's is known. Prompt by prompt: 1 - 1, 0 - 1, 0 - 0."""
    asked = {key: {**PROMPTS["c"], "prompt_id": key} for key in "wxyz"}
    mine, theirs = {"w": 1.0, "x": 0.0, "y": 0.0}, {"w": 1.0, "x": 1.0, "y": 0.0, "z": 1.0}
    rows = [judgement(key, "j", "unsafe", value) for key, value in mine.items()]
    rows += [judgement(key, "j", "unsafe", value, against="start") for key, value in theirs.items()]
    assert figures_of(rows, asked, ("unsafe",), "j") == {
        "violation": rate_of([1, 0, 0], "j"),
        "violation/of_start": rate_of([1, 1, 0, 1], "j"),
        "violation/above_start": mean_of([0, -1, 0], "j"),
    }


def test_a_category_stands_in_names_without_what_they_mean_by_marks() -> None:
    assert slug("Suicide, Self-Harm, and Eating Disorders") == "suicide_self_harm_and_eating_disorders"
    assert slug("판단/평가@judge") == "판단_평가_judge"
    assert slug(" -- ") == ""
