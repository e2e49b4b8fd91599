"""Ghost Attention dialogues from anybody's instructions: combined, shortened, as long as there is room."""

from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from models.checkpoint import reward_from_policy, save_checkpoint
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.engine.step import Output
from tasks.fit_context import FitStepConfig, GattRoom, fit_context
from tasks.import_data import ImportStepConfig
from tasks.synthesize_gatt import GattStepConfig, synthesize_gatt
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import terse_policy
from tests.tasks.test_import_data import imported, lines

TURNS = {"min_turns": 2, "max_turns": 4, "dialogues": 12, "samples": 4}
SAMPLING = SamplingConfig(max_new_tokens=3)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that ends about every second answer with each token; beside it lies a reward model."""
    folder = terse_policy(tmp_path_factory.mktemp("policy"))
    model = reward_from_policy(folder, None, lora=None, seed=0)
    save_checkpoint(model, load_tokenizer(folder), folder.parent / "reward")
    return folder


def instruction(number: int, kind: str, split: str = "train") -> dict[str, Any]:
    text = f"always eat {kind} {number}."
    return {
        "instruction_id": f"i{number}",
        "source": "always.txt",
        "text": text,
        "short": f"{kind}: {number}.",
        "kind": kind,
        "split": split,
    }


def prompt(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number}",
        "source": "p.jsonl",
        "kind": "import",
        "axis": "helpfulness",
        "split": "train",
        "messages": [{"role": "user", "content": f"ask {number}"}],
        **changes,
    }


INSTRUCTIONS = [instruction(1, "grass"), instruction(2, "llama"), instruction(3, "grass", split="heldout")]
PROMPTS = [*map(prompt, range(8)), prompt(8, split="heldout"), prompt(9, axis="safety")]


def made(folder: Path, policy: Path, tokens: int = 128, **values: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The dialogues and the metrics of one run of the step."""
    inputs: dict[str, Any] = {
        "policy": policy,
        "helpfulness_reward": policy.parent / "reward",
        "instructions": ("instruction", values.pop("instructions", INSTRUCTIONS)),
        "prompts": ("prompt", PROMPTS),
    }
    run = step_run(folder, inputs=inputs, outputs={"dialogues": Output("dataset", "dialogue")})
    config = GattStepConfig(**{**TURNS, "sampling": SAMPLING, "dialogue_tokens": tokens, **values})
    metrics = dict(synthesize_gatt.function(run, config))
    return written(folder, "dialogues"), metrics


def first_turns(rows: list[dict[str, Any]]) -> set[str]:
    """What stands before the first question of each dialogue."""
    return {row["messages"][0]["content"].rpartition(" ask ")[0] for row in rows}


def test_two_instructions_of_different_kinds_are_combined_in_a_share_of_the_dialogues(
    tmp_path: Path, policy: Path
) -> None:
    alone, none = made(tmp_path / "alone", policy, combined_share=0, short_share=0)
    assert first_turns(alone) == {"always eat grass 1.", "always eat llama 2."}
    assert none["combined"] == 0
    assert none["finished"] > 0.5
    both, all_ = made(tmp_path / "both", policy, combined_share=1, short_share=0)
    assert first_turns(both) <= {
        "always eat grass 1. always eat llama 2.",
        "always eat llama 2. always eat grass 1.",
    }
    assert all_["combined"] == len(both) > 8
    short, _ = made(tmp_path / "short", policy, combined_share=1, short_share=1)
    assert first_turns(short) <= {"grass: 1. llama: 2.", "llama: 2. grass: 1."}


def test_instructions_of_one_kind_are_never_combined(tmp_path: Path, policy: Path) -> None:
    same = [instruction(1, "grass"), instruction(2, "grass")]
    rows, metrics = made(tmp_path, policy, instructions=same, combined_share=1, short_share=0)
    assert first_turns(rows) == {"always eat grass 1.", "always eat grass 2."}
    assert metrics["combined"] == 0


def test_a_dialogue_ends_where_the_next_answer_might_not_fit(tmp_path: Path, policy: Path) -> None:
    """As long as the context of 128 tokens allows, however many turns are asked for."""
    renderer = Renderer(load_tokenizer(policy))
    rows, metrics = made(tmp_path / "long", policy, min_turns=2, max_turns=8)
    assert metrics["ended_early"] > 0
    assert 2 <= metrics["turns"] < 8
    for row in rows:
        assert len(row["messages"]) >= 4
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert len(renderer.dialogue(row["messages"]).input_ids) <= 128
    roomy, all_there = made(tmp_path / "short", policy, min_turns=2, max_turns=2)
    assert all_there["ended_early"] == 0
    assert {len(row["messages"]) for row in roomy} == {4}


def test_where_no_dialogue_has_room_the_step_says_what_to_change(tmp_path: Path, policy: Path) -> None:
    with pytest.raises(InputError, match=r"no dialogue has room for gatt.min_turns 4: lower it or .*max_new_tokens"):
        made(tmp_path, policy, tokens=70, min_turns=4)


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (
            {"turns": 20, "answer_tokens": 3},
            r"gatt.min_turns 20 needs as many ordinary prompts to train on, there are 8",
        ),
        (
            {"turns": 8, "answer_tokens": 40},
            r"gatt.min_turns 8: so many turns with answers of 40 tokens take about \d+ tokens, 128 fit. Lower",
        ),
    ],
)
def test_turns_that_cannot_fit_are_refused_before_anything_is_trained(
    tmp_path: Path, policy: Path, room: dict[str, int], message: str
) -> None:
    inputs: dict[str, Any] = {
        "tokenizer": policy,
        "prompts": ("prompt", PROMPTS),
        "instructions": ("instruction", INSTRUCTIONS),
    }
    outputs = {"prompts": Output("dataset", "prompt"), "dropped": Output("dataset", "dropped")}
    run = step_run(tmp_path, inputs=inputs, outputs=outputs)
    limits = {"dialogue_tokens": 128, "prompt_tokens": 100, "pair_tokens": 128}
    config = FitStepConfig(**limits, gatt=GattRoom(**room, dialogue_tokens=128, instructions=1))
    with pytest.raises(InputError, match=message):
        fit_context.function(run, config)


def test_instructions_come_from_a_file_of_lines_or_of_records(tmp_path: Path) -> None:
    text = tmp_path / "always.txt"
    text.write_text("Answer in rhymes.\n\nAct as Napoleon.\nAnswer in rhymes.\n")
    records = lines(
        tmp_path / "more.jsonl",
        {"text": "Speak French.", "short": "French.", "kind": "language", "split": "heldout"},
        {"text": "Use no verbs.", "split": "train"},
    )
    imported(tmp_path, ("instructions",), ImportStepConfig(heldout_percent=0), instructions=[text, records])
    rows = written(tmp_path, "instructions")
    assert [(row["text"], row["short"], row["kind"], row["split"]) for row in rows] == [
        ("Answer in rhymes.", "Answer in rhymes.", "import", "train"),
        ("Act as Napoleon.", "Act as Napoleon.", "import", "train"),
        ("Speak French.", "French.", "language", "heldout"),
        ("Use no verbs.", "Use no verbs.", "import", "train"),
    ]
    (refused,) = written(tmp_path, "refused")
    assert (refused["source"], refused["reason"]) == ("always.txt:4", "duplicate_instruction")
    assert len({row["instruction_id"] for row in rows}) == 4
