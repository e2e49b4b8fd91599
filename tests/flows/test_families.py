"""The whole recipe on a little base model of each family, whole and with adapters, with dialogues of one and of three
turns: what is sampled is what is scored and learned, or the step raises (tasks/answers.py)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tests.flows.recipe_runs import Home
from tests.models.chat_families import write_family
from tests.models.families import write

# family → the name of its chat template, where that is another one
FAMILIES = {
    **{name: name for name in ("SmolLM2", "SmolLM3", "Llama 2", "Qwen2.5", "Qwen3", "Gemma 3", "Phi-3", "Mistral")},
    "OLMo 2": "OLMo 2",
    "Llama 3.x": "Llama 3.1",
    "Qwen3.5": "Qwen3.5",  # a dialogue a row
}
LAYERS = {
    "Phi-3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "Qwen3.5": ["gate_proj", "up_proj", "down_proj"],
}
AXES = ("helpfulness", "safety")


def dialogue(number: int, turns: int) -> list[dict[str, str]]:
    """Ends with the user's turn."""
    asked = [{"role": "user", "content": f"Who keeps lamp {number} of room {turn}?"} for turn in range(turns)]
    said = [{"role": "assistant", "content": f"Keeper {number + turn} does."} for turn in range(turns - 1)]
    return [message for pair in zip(asked, said, strict=False) for message in pair] + asked[-1:]


def lay_out(folder: Path) -> dict[str, list[str]]:
    """Pairs of both axes, prompts and demonstrations; every second one has three turns."""
    files: dict[str, list[str]] = {}

    def put(role: str, rows: list[dict[str, Any]]) -> None:
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[role] = [f"{role}.jsonl"]

    for place, axis in enumerate(AXES):
        numbers = range(100 * place, 100 * place + 40)
        asked = [{"messages": dialogue(number, 1 + 2 * (number % 2))} for number in numbers]
        label = {"safety_label": "chosen_safe_other_unsafe"} if axis == "safety" else {}
        answers = {"response_a": "Nobody does.", "response_b": "The keeper does.", "chosen": "b", "rating": "better"}
        put(f"{axis}_preferences", [{**row, **answers, **label} for row in asked])
        put(f"{axis}_prompts", asked)
    put(
        "demonstrations",
        [
            {"messages": [*dialogue(number, 1 + 2 * (number % 2)), {"role": "assistant", "content": "It is lit."}]}
            for number in range(200, 220)
        ],
    )
    return files


def config_of(family: str, way: str, folder: Path) -> dict[str, Any]:
    lora = {"rank": 2, "alpha": 4, **({"target_modules": LAYERS[family]} if family in LAYERS else {})}
    learned = {"learning_rate": 1e-4, "batch_size": 4, "sequence_length": 320, "epochs": 1}
    drawn = {"max_new_tokens": 8}
    return {
        "name": "family",
        "iterations": 1,
        "base_model": "base",
        **({"lora": lora} if way == "adapters" else {}),
        "data": {**lay_out(folder), "heldout_percent": 15},
        "sft": learned,
        "reward": {"learning_rate": 1e-4, "batch_size": 8, "max_length": 320},
        "rejection": {"prompts": 8, "samples": 2, "temperatures": [1.0], "unfinished": "score", "sampling": drawn},
        "fine_tune": {"picks": 8, "replay": 4, "training": learned},
        "ppo": {
            "iterations": 1,
            "batch_size": 4,
            "mini_batch_size": 4,  # one step: what is looked at is the policy that answered
            "validation_prompts": 2,
            "min_entropy": 0.0,
            "kl_limit": 1e6,
            "sampling": drawn,
        },
        "evaluate": {"ordinary_prompts": 2, "safety_prompts": 2, "sampling": drawn},
    }


@pytest.mark.soak
@pytest.mark.parametrize("way", ["whole", "adapters"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_through_the_whole_recipe_with_the_ids_that_it_said(
    tmp_path: Path, server: str, family: str, way: str
) -> None:
    tokenizer = load_tokenizer(write_family(FAMILIES[family], tmp_path / "tokenizer"))
    base = write(family, tokenizer, tmp_path / "base", max_position_embeddings=512)
    ends = tmp_path / "tokenizer" / "generation_config.json"
    if ends.exists():
        (base / ends.name).write_text(ends.read_text())
    (tmp_path / "family.yaml").write_text(yaml.safe_dump(config_of(family, way, tmp_path)))
    home = Home(tmp_path / "home", server, name="family")
    finished = home.halter("run", tmp_path / "family.yaml")
    assert finished.code == 0, finished.out + finished.err
    assert {state for *_, state in home.runs()} == {"succeeded"}
    assert ("base", "check_base", "succeeded") in home.runs()

    renderer = Renderer(load_tokenizer(home.store.checkout(home.head("model/policy@V1"))))
    candidates = home.store.rows(home.head("dataset/candidates@V1")).to_pylist()
    assert {len(row["messages"]) for row in candidates} == {1, 5}
    for row in candidates:
        assert row["tokenizer"] == renderer.identity
        assert renderer.response(row["token_ids"]) == row["text"]
        assert (row["token_ids"][-1] in renderer.end_ids) == row["finished"]
    figures = {run.run.step: run.metrics for run in home.store.runs(part="V1")}
    assert figures["fine_tune"]["read_from_text"] == 0
    assert all(math.isfinite(value) for metrics in figures.values() for value in metrics.values())
    assert figures["ppo"]["ratio_max"] == pytest.approx(1, abs=1e-3), "what PPO learns from is what it sampled"
