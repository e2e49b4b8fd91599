"""What the beginnings of the user's files say of their rows."""

import json
from pathlib import Path

import pytest

from flows.forecast.beginnings import AROUND, Beginning, ByCharacters, beginning_of, lengths_of, prompts_of_pairs
from flows.recipe.config import RunConfig, load_config
from models.config import TokenizerConfig
from models.tokenizer import train_tokenizer
from tasks.answers import open_renderer
from tests.flows.forecast.test_forecast import SMOKE


def pairs(tmp_path: Path, *rows: tuple[int, int, int]) -> RunConfig:
    """The smoke run on a file of pairs, of which each prompt and both answers have so many letters; 64 tokens fit."""
    lines = [{"prompt": "p" * prompt, "chosen": "c" * a, "rejected": "r" * b} for prompt, a, b in rows]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = load_config(SMOKE)
    files = {"world": None, "helpfulness_preferences": (tmp_path / "pairs.jsonl",)}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=files),
            "reward": config.reward.model_copy(update={"max_length": 64}),
            "fit": config.fit.model_copy(update={"too_long": "drop", "max_prompt_tokens": 30}),
        }
    )


ROWS = ((40, 40, 80), (40, 40, 400), (400, 40, 40), (48, 160, 40))
"""At four letters a token: 18 + 20, 18 + 100 (too long), 108 + 10 (too long), 20 + 40."""


def test_pairs_of_which_one_answer_does_not_fit_are_left_out_and_the_others_tell_the_lengths(tmp_path: Path) -> None:
    found = beginning_of(pairs(tmp_path, *ROWS), "helpfulness_preferences", ByCharacters(4))
    prompt = ((10 + AROUND) + (12 + AROUND)) / 2
    lengths = (10 + AROUND + 10 + 20, 12 + AROUND + 40 + 10)
    assert found == Beginning(0.5, prompt, ((10 + 20) / 2 + (40 + 10) / 2) / 2, turn=prompt, lengths=lengths)


def test_of_a_prompt_of_several_turns_the_last_one_is_known_by_itself(tmp_path: Path) -> None:
    said = [("user", 40), ("assistant", 80), ("user", 8), ("assistant", 4)]
    row = {"messages": [{"role": role, "content": "m" * count} for role, count in said]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(row) + "\n")
    config = pairs(tmp_path, *ROWS)
    files = {"demonstrations": (tmp_path / "chats.jsonl",)}
    config = config.model_copy(update={"data": config.data.model_copy(update=files)})
    found = beginning_of(config, "demonstrations", ByCharacters(4))
    assert found is not None
    assert (found.prompt, found.turn) == (10 + 20 + 2 + 3 * AROUND, 2 + AROUND)
    assert found.lengths == (found.prompt + 1,)


def test_a_prompt_is_answered_though_its_pair_does_not_fit(tmp_path: Path) -> None:
    found = prompts_of_pairs(pairs(tmp_path, *ROWS), "helpfulness_preferences", ByCharacters(4))
    assert found is not None
    assert found.kept == 0.75
    assert found.prompt == pytest.approx((2 * (10 + AROUND) + 12 + AROUND) / 3)


def test_where_what_is_too_long_stops_the_run_nothing_is_left_out(tmp_path: Path) -> None:
    config = pairs(tmp_path, *ROWS)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"too_long": "error"})})
    found = beginning_of(config, "helpfulness_preferences", ByCharacters(4))
    assert found is not None
    assert found.kept == 1
    assert beginning_of(config, "safety_preferences", ByCharacters(4)) is None, "there is no such file"


def test_a_base_model_with_a_tokenizer_counts_by_it_and_one_without_by_letters(tmp_path: Path) -> None:
    config = pairs(tmp_path, *ROWS)
    based = config.model_copy(update={"base_model": tmp_path})
    assert lengths_of(based, 4) == ByCharacters(4)
    train_tokenizer(["who is there", "nobody at all"] * 50, tmp_path, TokenizerConfig(vocab_size=300), seed=1)
    renderer, lengths = open_renderer(tmp_path), lengths_of(based, 4)
    asked = [{"role": "user", "content": "who is there"}]
    assert lengths.prompt(asked) == len(renderer.prompt(asked))
    whole = renderer.dialogue([*asked, {"role": "assistant", "content": "nobody at all"}])
    assert lengths.prompt(asked) + lengths.answer("nobody at all") == pytest.approx(len(whole.input_ids), abs=1)
