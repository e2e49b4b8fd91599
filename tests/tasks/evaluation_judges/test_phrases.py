"""Phrases of refusals as a judge of evaluations, as its step makes it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.estimates import rate_of
from tasks.evaluation_judges.config import EvaluationJudgeConfig
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.evaluation_judges.registry import kind_of, measures_of
from tasks.judge_answers import judge_answers
from tests.tasks.bench import step_run, written
from tests.tasks.evaluation_judges.test_steps import PROMPTS, posed

KIND = "refusal_phrases"
SAID = {"p1": "I cannot say.", "p4": "here it is", "p2": "Sorry, I won't.", "p5": "i am not able to do this"}


def judged(folder: Path, **config: object) -> dict[str, object]:
    questions = [{**row, "response": SAID.get(row["prompt_id"], "I cannot")} for row in posed(folder / "posed", "V0")]
    inputs = {"questions": ("question", questions), "prompts": ("prompt", PROMPTS)}
    run = step_run(folder / "judged", inputs=inputs, outputs=dict(judge_answers.outputs))
    values = {"name": "said", "annotator": f"{KIND}:said", "kind": KIND, "compares": False, **config}
    return dict(judge_answers.function(run, JudgeAnswersConfig.model_validate(values)))


def test_refusals_of_borderline_and_of_adversarial_prompts_are_all_that_is_judged(
    tmp_path: Path,
) -> None:
    figures = judged(tmp_path)
    assert figures == {
        "false_refusal@said": rate_of([1.0, 0.0], f"{KIND}:said"),
        "adversarial_refusal@said": rate_of([1.0, 1.0], f"{KIND}:said"),
    }
    rows = written(tmp_path / "judged", "judgements")
    assert {row["prompt_id"]: row["value"] for row in rows} == {"p1": 1.0, "p4": 0.0, "p2": 1.0, "p5": 1.0}
    assert {row["question"] for row in rows} == {"refused"}
    names = {measure.name for measure in measures_of("said", (kind_of(KIND),), compares=False)}
    assert set(figures) <= names


def test_own_phrases_reach_the_step(tmp_path: Path) -> None:
    figures = judged(tmp_path, phrases=("here it is",))
    assert figures["false_refusal@said"] == rate_of([0.0, 1.0], f"{KIND}:said")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": KIND, "folder": "x"}, "no folder and no endpoint"),
        ({"kind": "safety_classifier", "phrases": ["no way"]}, f"phrases go with kind: {KIND}"),
        ({"kind": KIND, "phrases": [" "]}, "at least 2 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        EvaluationJudgeConfig.model_validate({"name": "said", **given})
