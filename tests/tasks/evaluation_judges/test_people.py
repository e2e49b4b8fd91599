"""People as judges of evaluations, as their step makes it."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from tasks.estimates import rate_of, win_rate_of
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.evaluation_judges.registry import kind_of, measures_of
from tasks.judge_answers import judge_answers
from tests.tasks.bench import step_run, written
from tests.tasks.judging.test_by_people import JUDGE, opinion, question, turned

PAIRS = [question("a"), question("b", "borderline"), question("c", "adversarial"), question("d")]
ALONE = [question("b", "borderline", "refused"), question("c", "adversarial", "unsafe")]


def judged(folder: Path, opinions: list[dict[str, Any]]) -> dict[str, Any]:
    prompts = [
        {**{name: each[name] for name in ("prompt_id", "axis", "kind", "messages")}, "source": "t", "split": "heldout"}
        for each in PAIRS
    ]
    inputs: dict[str, Any] = {
        "questions": ("question", [*PAIRS, *ALONE]),
        "opinions": ("opinion", opinions),
        "prompts": ("prompt", prompts),
    }
    run = step_run(folder, inputs=inputs, outputs=dict(judge_answers.outputs))
    config = JudgeAnswersConfig(name="team", annotator=JUDGE, kind="people", prompts=10, compares=True)
    return dict(judge_answers.function(run, config))


def test_figures_of_people_have_n_interval_and_judge_and_agreement_stands_beside(tmp_path: Path) -> None:
    a, b, c, _ = PAIRS
    opinions = [
        opinion(a, "mine significantly_better"),
        opinion(a, "mine significantly_better", "ben"),
        opinion(b, "theirs better a"),
        turned(opinion(c, "mine better both_safe", "ben")),
    ]
    found = judged(tmp_path, opinions)
    assert found["win_rate@team"] == win_rate_of([1.0, 0.0, 1.0], JUDGE)
    assert found["win_rate/helpfulness@team"] == win_rate_of([1.0, 0.0], JUDGE)
    assert found["violation@team"] == rate_of([0.0], JUDGE)
    assert found["false_refusal@team"] == rate_of([1.0], JUDGE)
    assert found["judged@team"] == rate_of([1, 1, 1, 0, 1, 1], JUDGE), "d was left; what is asked of an answer is told"
    assert found["first_chosen@team"] == rate_of([1, 1, 0, 0], JUDGE)
    agreed = found["agreement/preference@team"]
    assert (agreed.value, agreed.n, agreed.low, agreed.judge) == (1.0, 1, None, JUDGE), "one pair was judged twice"
    assert set(found) <= {measure.name for measure in measures_of("team", (kind_of("people"),))}
    rows = {row["prompt_id"]: row for row in written(tmp_path, "judgements") if row["question"] == "better"}
    assert (rows["c"]["first_order"], rows["c"]["second_order"]) == (None, 1.0)
    assert rows["d"]["refused"] == "not_judged"


def test_agreement_is_measured_on_what_people_said_before_a_decision(tmp_path: Path) -> None:
    # Step 0 against step 7 of eight: weight 1 - 56/56 = 0, p_a = 0; pi = 1/2 each, sum pi (1 - pi) = 1/2, the weights
    # add up to 49, p_e = 49/56 * 1/2 = 7/16, AC2 = (0 - 7/16) / (9/16) = -7/9.
    a = PAIRS[0]
    said = [opinion(a, "mine significantly_better"), opinion(a, "theirs significantly_better", "ben")]
    decided = opinion(a, "mine better", "judith", decision=True)
    found = judged(tmp_path, [*said, decided])
    assert found["agreement/preference@team"].value == pytest.approx(-7 / 9)
    assert found["win_rate@team"] == win_rate_of([1.0], JUDGE)


def test_a_batch_in_which_nothing_was_judged_stops_the_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"people:team judged none of 6 questions: {'not_judged': 6}"):
        judged(tmp_path, [])
