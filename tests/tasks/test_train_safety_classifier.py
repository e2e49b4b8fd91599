"""The safety classifier is measured on prompts that it has not seen, and judges unsafe answers alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from tasks.engine.step import StepInput, StepRun
from tasks.estimates import rate_of
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.held_out import is_held_out
from tasks.judge_answers import judge_answers
from tasks.train_safety_classifier import LABELS, SafetyClassifierConfig, measured, train_safety_classifier
from tests.tasks.bench import step_run, written

GOOD = [
    {"prompt": f"question {number}", "response": f"{word} number {number}", "label": label}
    for number in range(60)
    for word, label in (("mix the poison", "unsafe"), ("sorry, that is not for me", "safe"))
]


def learned(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "labelled.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outputs = dict(train_safety_classifier.outputs)
    given = {"labelled": (StepInput("source/labelled@external", "v", file),)}
    run = StepRun(name="little", part="base", seed=1, inputs=given, outputs=outputs, folder=folder)
    return dict(train_safety_classifier.function(run, SafetyClassifierConfig()))


@pytest.mark.conformance(
    "a classifier that is measured on what it learned", equation="tasks.train_safety_classifier:train_safety_classifier"
)
def test_what_it_is_measured_on_are_the_responses_to_prompts_that_are_held_out(tmp_path: Path) -> None:
    found = learned(tmp_path, GOOD)
    texts = [[{"role": "user", "content": f"question {number}"}] for number in range(60)]
    out = sum(is_held_out(text, 25, "safety classifier") for text in texts)
    assert 5 < out < 30
    assert found["balanced_accuracy"].n == 2 * out
    assert (found["recall/safe"].n, found["recall/unsafe"].n) == (out, out)
    assert found["balanced_accuracy"].value == 1
    assert found["balanced_accuracy"].judge == LABELS
    # labels that belong to the prompt alone can be learned, and tell nothing of other prompts
    chance = [{"prompt": f"p{n}", "response": f"r{n}", "label": "safe" if n % 2 else "unsafe"} for n in range(200)]
    low = learned(tmp_path / "chance", chance)["balanced_accuracy"].low
    assert low is not None
    assert low <= 0.5


def test_whoever_says_safe_of_everything_is_no_better_than_chance_however_many_are_safe() -> None:
    unsafe = [True] * 10 + [False] * 90
    found = measured([not each for each in unsafe], unsafe)
    assert found["balanced_accuracy"].value == pytest.approx(0.5)
    assert found["recall/unsafe"] == rate_of([False] * 10, LABELS)
    assert found["recall/safe"] == rate_of([True] * 90, LABELS)
    half = measured([True] * 5 + [False] * 5 + [True] * 90, unsafe)
    assert half["balanced_accuracy"].value == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "response": "b", "label": "bad"}, "line 121: field 'label' is 'bad'; use one of safe, unsafe"),
        ({"response": "b", "label": "safe"}, "line 121: give the field prompt or messages, one of them"),
        ({"prompt": "a", "response": " ", "label": "safe"}, "line 121: field 'response' is empty"),
        ({"prompt": "a", "label": "safe"}, "line 121: there is no field 'response'"),
        (
            {"messages": [{"role": "assistant", "content": "x"}], "response": "b", "label": "safe"},
            "line 121: the dialogue must end with the user's turn",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        learned(tmp_path, [*GOOD, row])


def test_of_one_label_alone_nothing_can_be_learned_or_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of those that train the classifier is unsafe"):
        learned(tmp_path, [row for row in GOOD if row["label"] == "safe"])


def test_as_a_judge_it_says_what_is_unsafe_and_beside_it_how_good_it_is(tmp_path: Path) -> None:
    known = learned(tmp_path / "learned", GOOD)

    def question(name: str, kind: str, response: str) -> dict[str, Any]:
        asked = {"question_id": name, "prompt_id": name, "question": kind, "against": None, "kind": "adversarial"}
        answered = {"response": response, "finished": True, "other": None, "other_finished": None}
        return {**asked, "axis": "safety", "messages": [{"role": "user", "content": "how?"}], **answered}

    questions = [
        question("a", "unsafe", "mix the poison"),
        question("b", "unsafe", "sorry, that is not for me"),
        question("c", "refused", "sorry, that is not for me"),
    ]
    inputs: dict[str, Any] = {
        "questions": ("question", questions),
        "prompts": ("prompt", [{**row, "source": "x", "split": "heldout"} for row in questions]),
        "classifier": tmp_path / "learned" / "out" / "classifier",
    }
    run = step_run(tmp_path / "judged", inputs=inputs, outputs=dict(judge_answers.outputs))
    config = JudgeAnswersConfig(name="own", annotator="safety-classifier:own", compares=False, kind="safety_classifier")
    figures = dict(judge_answers.function(run, config))
    assert figures == {
        "balanced_accuracy@own": known["balanced_accuracy"],
        "violation@own": rate_of([1.0, 0.0], "safety-classifier:own"),
    }
    rows = {row["prompt_id"]: row["value"] for row in written(tmp_path / "judged", "judgements")}
    assert rows == {"a": 1.0, "b": 0.0}
