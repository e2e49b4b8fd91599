"""Questions on a policy's answers, and a judge's answers to them, as the steps make them."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.row_checks import conform
from data_store.rows import ROW_KINDS
from tasks.engine.step import StepRun
from tasks.estimates import rate_of, win_rate_of
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.evaluation_judges.registry import kind_of, measures_of
from tasks.judge_answers import judge_answers
from tasks.judging.of_answers import for_endpoint
from tasks.pose_questions import PoseConfig, pose_questions
from tests.tasks.bench import step_run, written

KINDS = (("helpfulness", "ordinary"), ("helpfulness", "borderline"), ("safety", "adversarial"))


def prompt(number: int) -> dict[str, Any]:
    axis, kind = KINDS[number % 3]
    messages = [{"role": "user", "content": f"question {number}"}]
    return {
        "prompt_id": f"p{number}",
        "source": "a.jsonl:1",
        "kind": kind,
        "axis": axis,
        "split": "heldout",
        "messages": messages,
    }


def response(number: int, part: str, text: str) -> dict[str, Any]:
    return {
        "response_id": f"{part}-{number}",
        "prompt_id": f"p{number}",
        "iteration": part,
        "policy_version": part,
        "temperature_milli": 700,
        "seed": 1,
        "text": text,
        "token_ids": [1],
        "finished": True,
        "tokenizer": "t",
        "messages": prompt(number)["messages"],
    }


PROMPTS = [prompt(number) for number in range(6)]
MINE = [response(number, "V2", f"mine {number}") for number in range(6)]


def posed(folder: Path, *others: str) -> list[dict[str, Any]]:
    inputs: dict[str, Any] = {"prompts": ("prompt", PROMPTS), "responses": ("response", MINE)}
    if others:
        rows = [response(number, part, f"{part} {number}") for part in others for number in range(6)]
        inputs["others"] = ("response", rows)
    run = step_run(folder, inputs=inputs, outputs=dict(pose_questions.outputs))
    assert pose_questions.function(run, PoseConfig())["questions"] == len(written(folder, "questions"))
    return written(folder, "questions")


def config(**values: Any) -> JudgeAnswersConfig:
    return JudgeAnswersConfig.model_validate(
        {"name": "j", "annotator": "lm:j", "compares": True, "against": ("previous",), **values}
    )


def test_each_answer_is_compared_with_each_others_and_asked_what_its_prompt_is_for(tmp_path: Path) -> None:
    rows = posed(tmp_path, "V0", "V1")
    asked = [(row["prompt_id"], row["question"], row["against"]) for row in rows]
    compared = [(f"p{number}", "better", part) for number in range(6) for part in ("V0", "V1")]
    alone = [("p1", "refused", None), ("p4", "refused", None), ("p2", "unsafe", None), ("p5", "unsafe", None)]
    assert sorted(map(str, asked)) == sorted(map(str, [*compared, *alone]))
    for row in rows:
        number = row["prompt_id"].removeprefix("p")
        assert row["response"] == f"mine {number}"
        assert row["other"] == (None if row["against"] is None else f"{row['against']} {number}")


def test_policies_by_name_are_called_so_also_where_two_gave_the_answers_of_one_part(tmp_path: Path) -> None:
    inputs: dict[str, Any] = {
        "prompts": ("prompt", PROMPTS),
        "responses": ("response", MINE),
        "others": ("response", [response(0, "V1", "of V1")]),
    }
    run = step_run(tmp_path, inputs=inputs, outputs=dict(pose_questions.outputs))
    theirs = [[response(0, "V1", "of V1")], [response(0, "far", "of another"), response(9, "far", "of no prompt")]]
    for number, rows in enumerate(theirs):
        made = step_run(tmp_path / str(number), inputs={"named": ("response", rows)})
        run._inputs["named"] = (*run.all_inputs("named"), *made.all_inputs("named"))  # type: ignore[index]
    pose_questions.function(run, PoseConfig(named=("first", "far")))
    found = {row["against"]: row["other"] for row in written(tmp_path, "questions") if row["question"] == "better"}
    assert found == {"V1": "of V1", "first": "of V1", "far": "of another"}


def named_start(folder: Path) -> list[dict[str, Any]]:
    """Questions where the policy `start` is named, beside SFT."""
    sft, start = ([response(number, part, f"{part} {number}") for number in range(6)] for part in ("V0", "start"))
    inputs: dict[str, Any] = {
        "prompts": ("prompt", PROMPTS),
        "responses": ("response", MINE),
        "others": ("response", sft),
        "named": ("response", start),
    }
    run = step_run(folder, inputs=inputs, outputs=dict(pose_questions.outputs))
    pose_questions.function(run, PoseConfig(named=("start",)))
    return written(folder, "questions")


def test_what_is_asked_of_an_answer_alone_is_asked_of_those_of_policies_by_name_and_not_of_sfts(tmp_path: Path) -> None:
    alone = [row for row in named_start(tmp_path) if row["question"] != "better"]
    asked = {(row["prompt_id"], row["question"], row["against"]): row["response"] for row in alone}
    kinds = {"p1": "refused", "p2": "unsafe", "p4": "refused", "p5": "unsafe"}
    assert asked == {
        (key, kind, against): f"{against or 'mine'} {key[1:]}"
        for key, kind in kinds.items()
        for against in (None, "start")
    }
    assert len({row["question_id"] for row in alone}) == len(alone)


@pytest.mark.parametrize("kind", ["lm", "refusal_phrases"])
def test_figures_of_a_policy_by_name_stand_beside_the_policys_own(tmp_path: Path, kind: str) -> None:
    questions = named_start(tmp_path / "posed")
    texts = {"better": {"first": "A", "second": "B"}, "unsafe": {"word": "safe"}, "refused": {"word": "yes"}}
    answers = [
        {"pair_id": row["question_id"], "question": name, "answer": texts[row["question"]][name], "refused": None}
        for row in questions
        for name in for_endpoint(row)
    ]
    if kind == "refusal_phrases":
        said = {"start": "I can't help with that.", None: "Gladly."}
        questions = [{**row, "response": said[row["against"]]} for row in questions if row["question"] != "better"]
    inputs: dict[str, Any] = {"questions": ("question", questions), "prompts": ("prompt", PROMPTS)}
    if kind == "lm":
        inputs["answers"] = ("answer", answers)
    run = step_run(tmp_path / "judged", inputs=inputs, outputs=dict(judge_answers.outputs))
    figures: dict[str, Any] = dict(judge_answers.function(run, config(kind=kind, against=("start",))))
    if kind == "lm":
        assert figures["violation/of_start@j"] == figures["violation@j"] == rate_of([0, 0], "lm:j")
        assert figures["false_refusal/above_start@j"].value == 0
    else:
        assert figures["false_refusal/of_start@j"] == rate_of([1, 1], "lm:j")
        assert figures["adversarial_refusal@j"] == rate_of([0, 0], "lm:j")
        assert figures["adversarial_refusal/above_start@j"].value == -1
    names = {each.name for each in measures_of("j", (kind_of(kind),), against=("start",))}
    assert set(figures) <= names, "each is declared"


def test_of_sft_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert {row["question"] for row in posed(tmp_path)} == {"refused", "unsafe"}


def by_endpoint(folder: Path, texts: dict[str, dict[str, str]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(judgements, figures) of an endpoint that answers by question and name, as `texts` says."""
    questions = posed(folder / "posed", "V0", "V1")
    answers = [
        {"pair_id": row["question_id"], "question": name, "answer": texts[row["question"]][name], "refused": None}
        for row in questions
        for name in for_endpoint(row)
    ]
    inputs: dict[str, Any] = {
        "questions": ("question", questions),
        "prompts": ("prompt", PROMPTS),
        "answers": ("answer", answers),
    }
    run = step_run(folder / "judged", inputs=inputs, outputs=dict(judge_answers.outputs))
    figures = dict(judge_answers.function(run, config()))
    return written(folder / "judged", "judgements"), figures


def test_figures_bear_the_judges_name_and_are_those_of_its_rows(tmp_path: Path) -> None:
    texts = {"better": {"first": "A", "second": "B"}, "unsafe": {"word": "safe"}, "refused": {"word": "yes"}}
    rows, figures = by_endpoint(tmp_path, texts)
    assert len(rows) == 16
    ones = win_rate_of([1.0] * 6, "lm:j")
    assert figures["win_rate@j"] == figures["win_rate/against_previous@j"] == ones
    assert figures["win_rate/helpfulness@j"] == win_rate_of([1.0] * 4, "lm:j")
    assert figures["violation@j"] == rate_of([0.0, 0.0], "lm:j")
    assert figures["false_refusal@j"] == rate_of([1.0, 1.0], "lm:j")
    assert figures["orders_disagree@j"].value == 0
    names = {measure.name for measure in measures_of("j", (kind_of("lm"),), against=("previous",))}
    assert set(figures) == {name for name in names if "_turn@" not in name}, "all prompts are of one turn"


def test_a_judge_that_always_says_a_finds_ties_alone_and_that_is_told(tmp_path: Path) -> None:
    texts = {"better": {"first": "A", "second": "A"}, "unsafe": {"word": "safe"}, "refused": {"word": "what?"}}
    rows, figures = by_endpoint(tmp_path, texts)
    assert figures["win_rate@j"].value == 0.5
    assert figures["orders_disagree@j"].value == 1
    assert "false_refusal@j" not in figures, "what was not answered as asked is in no figure"
    assert (figures["judged@j"].value, figures["judged@j"].n) == (14 / 16, 16)
    assert {row["refused"] for row in rows if row["value"] is None} == {"answer_not_as_asked"}


def test_a_judge_that_answers_nothing_stops_the_step(tmp_path: Path) -> None:
    texts = {"better": {"first": "x", "second": "x"}, "unsafe": {"word": "x"}, "refused": {"word": "x"}}
    with pytest.raises(InputError, match=r"lm:j judged none of 16 questions: {'answer_not_as_asked': 16}"):
        by_endpoint(tmp_path, texts)


@pytest.mark.slow
def test_a_folder_judges_each_question_and_exchanged_answers_mirror_its_wins(tmp_path: Path, judge: Path) -> None:
    def judged(folder: Path, questions: list[dict[str, Any]]) -> dict[str, float]:
        import pyarrow as pa

        inputs: dict[str, Any] = {"questions": ("question", questions), "judge": judge}
        run: StepRun = step_run(folder, inputs=inputs, outputs=dict(judge_answers.outputs))
        judge_answers.function(run, config(against=()))
        rows = written(folder, "judgements")
        conform(pa.Table.from_pylist(rows, schema=ROW_KINDS["judgement"].schema), ROW_KINDS["judgement"], "rows")
        return {(row["prompt_id"], row["question"]): row["value"] for row in rows}  # type: ignore[misc]

    questions = posed(tmp_path / "posed", "V0")
    swapped = [
        {**row, "response": row["other"], "other": row["response"]} if row["question"] == "better" else row
        for row in questions
    ]
    there, back = judged(tmp_path / "there", questions), judged(tmp_path / "back", swapped)
    assert len(there) == len(questions) == 10
    for key, value in there.items():
        assert back[key] == (1 - value if key[1] == "better" else value)  # type: ignore[index]
