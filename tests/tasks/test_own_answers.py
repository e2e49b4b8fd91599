"""A base model's own answers to ordinary prompts, and what SFT learns of them."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from models.config import TEMPLATE_DATE, SamplingConfig, SFTConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.answers import rendered
from tasks.engine.step import Output
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.own_answers import KIND, OwnAnswersStepConfig, draw_own_answers
from tasks.sft import SFTStepConfig, sft
from tests.tasks.bench import NOT_SAMPLED, step_run, written
from tests.tasks.little_policy import terse_policy

SAMPLING = SamplingConfig(max_new_tokens=3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that ends about every second answer with each token."""
    return terse_policy(tmp_path_factory.mktemp("base"))


def prompt(number: int, **changes: Any) -> dict[str, Any]:
    asked = [{"role": "user", "content": f"ask the llama {number}"}]
    row = {"prompt_id": f"p{number}", "source": "p.jsonl", "kind": "import", "axis": "helpfulness", "split": "train"}
    return {**row, "messages": asked, **changes}


LATER = [
    {"role": "user", "content": "the llama"},
    {"role": "assistant", "content": "never spits"},
    {"role": "user", "content": "be kind"},
]
PROMPTS = [
    *(prompt(n) for n in range(24)),
    prompt(100, axis="safety"),
    prompt(101, split="heldout"),
    prompt(102, split="validation"),
    prompt(103, messages=[{"role": "user", "content": "the llama eats green grass " * 30}]),
    prompt(104, messages=LATER),
]
ORDINARY = {f"p{n}" for n in range(24)} | {"p104"}


def made(folder: Path, base: Path, **values: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(rows, metrics) of one run of the step."""
    inputs: dict[str, Any] = {"base": base, "prompts": ("prompt", PROMPTS)}
    run = step_run(folder, inputs=inputs, outputs={"dialogues": Output("dataset", "dialogue")})
    given = {"sampling": SAMPLING, "dialogue_tokens": 60, "prompts": 200, "template_date": TEMPLATE_DATE, **values}
    metrics = dict(draw_own_answers.function(run, OwnAnswersStepConfig(**given)))
    return written(folder, "dialogues"), metrics


@pytest.mark.conformance("own answers to what is held out", equation="tasks.own_answers:draw_own_answers")
def test_ordinary_prompts_to_train_on_that_have_room_are_answered_each_once(tmp_path: Path, base: Path) -> None:
    rows, metrics = made(tmp_path, base)
    asked = {row["prompt_id"]: row["messages"] for row in PROMPTS}
    answered = [next(name for name, messages in asked.items() if messages == row["messages"][:-1]) for row in rows]
    assert sorted(answered) == sorted(ORDINARY)
    assert {row["kind"] for row in rows} == {KIND}
    assert metrics["left_out/too_long"] == 1.0
    assert metrics["dialogues"] == len(rows) == 25


def test_no_more_prompts_are_asked_than_the_config_says(tmp_path: Path, base: Path) -> None:
    rows, _ = made(tmp_path, base, prompts=7)
    assert len(rows) == len({row["dialogue_id"] for row in rows}) == 7


def test_answers_are_drawn_at_the_temperature_of_the_config(tmp_path: Path, base: Path) -> None:
    """The end is the model's likeliest token: near 0 it says nothing else, and at 100 hardly ever that."""
    cold, _ = made(tmp_path / "cold", base, temperature=0.01)
    hot, _ = made(tmp_path / "hot", base, temperature=100.0)
    assert {len(row["token_ids"]) for row in cold} == {1}
    assert sum(len(row["token_ids"]) == 3 for row in hot) > 20


def test_cut_answers_are_learned_or_left_out_and_counted(tmp_path: Path, base: Path) -> None:
    every, told = made(tmp_path / "all", base, temperature=1.0)
    ended, told_of_ended = made(tmp_path / "ended", base, temperature=1.0, unfinished="leave_out")
    assert {row["finished"] for row in every} == {True, False}
    assert [row["dialogue_id"] for row in ended] == [row["dialogue_id"] for row in every if row["finished"]]
    assert told["left_out/cut"] == 0.0
    assert told_of_ended["left_out/cut"] == len(every) - len(ended)
    assert told["finished"] == told_of_ended["finished"] == len(ended) / len(every)


def test_where_no_prompt_has_room_or_no_answer_ends_the_step_says_what_to_change(tmp_path: Path, base: Path) -> None:
    with pytest.raises(InputError, match=r"none of 26 ordinary prompts has room for an answer of 3 tokens"):
        made(tmp_path / "room", base, dialogue_tokens=4)
    with pytest.raises(ValueError, match=r"none of 1 answers ended within 3 tokens"):
        made(tmp_path / "cut", base, prompts=1, temperature=100.0, unfinished="leave_out")


@pytest.mark.conformance("a cut answer is learned as a finished one", equation="tasks.answers:rendered")
def test_of_a_drawn_answer_the_very_ids_are_learned_and_of_a_written_dialogue_every_answer(
    tmp_path: Path, base: Path
) -> None:
    rows, _ = made(tmp_path, base)
    renderer = Renderer(load_tokenizer(base))
    for row in rows:
        (one,) = rendered(renderer, row)
        learned = [token for token, is_learned in zip(one.input_ids, one.loss_mask, strict=True) if is_learned]
        assert learned == row["token_ids"]
        assert (learned[-1] in renderer.end_ids) == row["finished"]
        assert one.input_ids == [*renderer.prompt(row["messages"][:-1]), *row["token_ids"]]
    written_one = {"messages": [*LATER, {"role": "assistant", "content": "people"}], **NOT_SAMPLED}
    assert rendered(renderer, written_one) == renderer.dialogues(written_one["messages"])


@pytest.mark.slow
def test_sft_and_replay_learn_demonstrations_and_own_answers(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = made(tmp_path / "own", base, prompts=5)
    refusal = [{"role": "user", "content": "spits"}, {"role": "assistant", "content": "never"}]
    shown = {"dialogue_id": "d", "source": "d.jsonl:1", "kind": "refusal", "messages": refusal, **NOT_SAMPLED}
    learned: list[list[list[int]]] = []

    def note(_: Any, dialogues: Any, *__: Any, **___: Any) -> dict[str, float]:
        learned.append(sorted(each.input_ids for each in dialogues))
        return {"loss": 0.0, "steps": 40.0}

    monkeypatch.setattr("models.training.sft.fine_tune", note)
    inputs: dict[str, Any] = {"base": base, "demonstrations": ("dialogue", [shown, *rows])}
    run = step_run(tmp_path / "sft", inputs=inputs, outputs={"policy": Output("model")})
    sft.function(run, SFTStepConfig(training=SFTConfig(sequence_length=64)))
    renderer = Renderer(load_tokenizer(base))
    ids = [each.input_ids for row in [shown, *rows] for each in rendered(renderer, row)]
    assert learned[0] == sorted(ids)

    pick = {**rows[0], "dialogue_id": "pick", "source": "rejection_sample@V1"}
    inputs = {"policy": base, "picks": ("dialogue", [pick]), "demonstrations": ("dialogue", [shown, *rows])}
    run = step_run(tmp_path / "tune", inputs=inputs, outputs={"policy": Output("model")})
    config = FineTuneStepConfig(training=SFTConfig(sequence_length=64), replay=50, replay_kinds=(KIND,))
    assert fine_tune.function(run, config)["replay"] == 5.0
    (of_pick,) = rendered(renderer, pick)
    assert learned[1] == sorted(
        [of_pick.input_ids, *(each.input_ids for row in rows for each in rendered(renderer, row))]
    )
