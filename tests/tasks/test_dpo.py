"""Which pairs DPO learns from, and how they are laid out."""

from pathlib import Path
from typing import Any

import pytest

from models.config import DPOConfig, TokenizerConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.dpo import DPOStepConfig, dpo, preference, usable
from tasks.train_reward import is_gold
from tests.tasks.bench import PAIR_NOT_SAMPLED, step_run

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [" ".join(WORDS.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder, TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    return folder


def pair(**changes: Any) -> dict[str, Any]:
    return {
        **PAIR_NOT_SAMPLED,
        "preference_id": "p or not p",
        "prompt_id": "p",
        "split": "train",
        "messages": [{"role": "user", "content": "be kind"}],
        "response_a": "the llama",
        "response_b": "never",
        "chosen": "a",
        "rating": "better",
        "safety_label": None,
        **changes,
    }


def asked(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_pairs_are_left_out_by_counted_reasons() -> None:
    rows = [
        pair(prompt_id="used"),
        pair(prompt_id="used too", rating="significantly_better", safety_label="chosen_safe_other_unsafe"),
        pair(split="heldout", messages=asked("tested")),
        pair(split="heldout", messages=asked("tested"), rating="slightly_better"),
        pair(messages=asked("TESTED")),
        pair(rating="slightly_better"),
        pair(safety_label="both_unsafe"),
        pair(prompt_id="used as well", safety_label="both_safe"),
    ]
    used, left_out = usable(rows, DPOConfig().ratings, gold_percent=0)
    assert [row["prompt_id"] for row in used] == ["used", "used too", "used as well"]
    assert left_out == {"held_out": 3, "gold": 0, "rating": 1, "both_unsafe": 1}


def test_what_trains_the_gold_reward_model_is_left_to_it() -> None:
    rows = [pair(messages=asked(f"ask {i}")) for i in range(200)]
    used, left_out = usable(rows, DPOConfig().ratings, gold_percent=30)
    assert left_out["gold"] == 200 - len(used) == sum(is_gold(row, 30) for row in rows) > 0
    assert not any(is_gold(row, 30) for row in used)


@pytest.mark.parametrize(("chosen", "good", "bad"), [("a", "the llama", "never"), ("b", "never", "the llama")])
def test_a_pair_is_a_prompt_and_two_answers_that_end(tokenizer_folder: Path, chosen: str, good: str, bad: str) -> None:
    renderer = Renderer(load_tokenizer(tokenizer_folder))
    found = preference(renderer, pair(chosen=chosen))
    assert found.prompt_ids == renderer.prompt([{"role": "user", "content": "be kind"}])
    assert (renderer.response(found.chosen_ids), renderer.response(found.rejected_ids)) == (good, bad)
    assert found.chosen_ids[-1] == found.rejected_ids[-1] == renderer.end_ids[0]


def test_preferences_without_a_pair_to_learn_from_are_refused_with_their_counts(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    row = {
        **pair(rating="slightly_better"),
        "preference_id": "1", "source": "made:1", "axis": "safety", "iteration": "V1", "annotator": "anna",
    }  # fmt: skip
    run = step_run(tmp_path, inputs={"policy": tokenizer_folder, "preferences": ("preference", [row])})
    with pytest.raises(ValueError, match=r"'rating': 1.*add words to dpo\.ratings"):
        dpo.function(run, DPOStepConfig(training=DPOConfig()))
