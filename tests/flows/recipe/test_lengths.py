"""The longest rows that a config has room for, wherever they go."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.recipe.config import load_config
from flows.recipe.places import FOUNDATION
from flows.recipe.plan import build_plan
from tests.flows.recipe_runs import POCKET


def limits(folder: Path, **changes: Any) -> Any:
    """The config of fit_context for the pocket recipe with some sections changed. Its context is 512, its rows 384, its
    longest answers 32."""
    content = yaml.safe_load(POCKET)
    for key, values in changes.items():
        content[key] = {**content.get(key, {}), **values} if isinstance(values, dict) else values
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return build_plan(load_config(path))[FOUNDATION, "fit_context"].config


def test_an_answered_prompt_and_its_end_fit_where_they_are_learned(tmp_path: Path) -> None:
    assert limits(tmp_path).prompt_tokens == 384 - 32 - 1
    assert limits(tmp_path, reward={"max_length": 300}).prompt_tokens == 300 - 32 - 1
    training = {"sequence_length": 200, "learning_rate": 1e-3, "batch_size": 1}
    assert limits(tmp_path, fine_tune={"training": training}).prompt_tokens == 200 - 32 - 1


@pytest.mark.parametrize("section", ["collect", "rejection", "ppo"])
def test_steps_that_a_distilled_run_does_not_have_ask_for_no_room(tmp_path: Path, section: str) -> None:
    changes = {"distill": {"run": "other"}, "gatt": None, "final_stage": "none"}
    assert limits(tmp_path, **changes, **{section: {"sampling": {"max_new_tokens": 100}}}).prompt_tokens == 384 - 8 - 1


@pytest.mark.parametrize("section", ["collect", "rejection", "ppo", "evaluate"])
def test_the_longest_answer_of_any_step_counts(tmp_path: Path, section: str) -> None:
    assert limits(tmp_path, **{section: {"sampling": {"max_new_tokens": 100}}}).prompt_tokens == 384 - 100 - 1


def test_the_stage_that_is_run_counts_and_the_other_does_not(tmp_path: Path) -> None:
    """Written out, `dpo` has room for 100 tokens of answer and pairs of 300."""
    dpo = {"sampling": {"max_new_tokens": 100}, "max_length": 300}
    with_ppo, with_dpo = (limits(tmp_path, final_stage=stage, dpo=dpo) for stage in ("ppo", "dpo"))
    assert (with_ppo.prompt_tokens, with_ppo.pair_tokens) == (384 - 32 - 1, 384)
    assert (with_dpo.prompt_tokens, with_dpo.pair_tokens) == (300 - 100 - 1, 300)
    assert with_ppo.splits == ("train", "validation", "heldout")
    assert with_dpo.splits == limits(tmp_path, final_stage="none").splits == ("train", "heldout")


def test_demonstrations_fit_the_rows_in_which_they_are_replayed(tmp_path: Path) -> None:
    training = {"sequence_length": 200, "learning_rate": 1e-3, "batch_size": 1}
    assert limits(tmp_path).dialogue_tokens == 384
    assert limits(tmp_path, fine_tune={"training": training}).dialogue_tokens == 200
    assert limits(tmp_path, fine_tune={"training": training, "replay": 0}).dialogue_tokens == 384


def test_no_row_is_longer_than_the_context(tmp_path: Path) -> None:
    short = limits(tmp_path, model={"context_length": 128})
    assert (short.dialogue_tokens, short.prompt_tokens, short.pair_tokens) == (128, 128 - 32 - 1, 128)


def test_a_limit_for_prompts_reaches_the_step(tmp_path: Path) -> None:
    assert limits(tmp_path, fit={"max_prompt_tokens": 40}).max_prompt_tokens == 40
