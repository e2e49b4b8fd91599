"""Semantic duplicates in the plan: a step between what is imported and what fits, and nothing of it without the key."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from data_store.errors import InputError
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan
from tests.flows.recipe.test_plan import on_base
from tests.flows.recipe.test_table import groups
from tests.flows.recipe_runs import POCKET
from tests.models.bag_of_words import write_bag_of_words

SIMILAR = {"encoder": "minilm", "threshold": 0.85}


def content(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(POCKET), **changes}


def plan(**changes: Any) -> Plan:
    return build_plan(RunConfig.model_validate(content(**changes)))


def test_without_the_section_no_step_has_another_fingerprint_and_with_it_one_reads_other_rows() -> None:
    without, found = plan(), plan(similar=SIMILAR)
    assert plan(similar=None).keys() == without.keys()
    assert set(found) - set(without) == {("base", "check_base"), ("base", "drop_similar")}
    for key, call in without.items():
        assert call.recipe() == found[key].recipe()
        assert call.assets == found[key].assets or key == ("base", "fit_context")
    read = {role: [str(each) for each in assets] for role, assets in found["base", "fit_context"].assets.items()}
    assert read["prompts"] == ["dataset/distinct-prompts@base"]
    assert read["demonstrations"] == ["dataset/distinct-demonstrations@base"]


def test_the_encoder_is_looked_at_first_and_rows_are_compared_before_anything_is_trained() -> None:
    found = plan(similar=SIMILAR)
    order = groups(found, "base")
    assert order[:2] == [{"check_base"}, {"import_data"}]
    place = next(number for number, steps in enumerate(order) if "drop_similar" in steps)
    assert place == 2
    assert place < next(number for number, steps in enumerate(order) if "fit_context" in steps)
    assert order[-1] == {"pretrain"}
    assert set(found["base", "check_base"].outputs) == {"encoder"}


def test_the_step_knows_what_counts_as_the_same_and_no_path() -> None:
    call = plan(similar=SIMILAR)["base", "drop_similar"]
    assert call.files == {"encoder": (Path("minilm"),)}
    assert "minilm" not in str(call.recipe())
    assert call.recipe()["config"]["threshold"] == 0.85
    assert {"prompts/dropped_share", "demonstrations/dropped_share", "unrelated_p99"} <= set(call.metrics)


def test_a_run_without_demonstrations_compares_its_prompts(tmp_path: Path) -> None:
    data = {"helpfulness_preferences": ["h.jsonl"], "safety_preferences": ["s.jsonl"]}
    config = on_base(tmp_path, data=data, similar=SIMILAR)
    call = build_plan(config)["base", "drop_similar"]
    assert {role: str(asset) for role, asset in call.outputs.items()} == {
        "prompts": "dataset/distinct-prompts@base",
        "dropped": "dataset/similar@base",
    }
    assert "demonstrations" not in call.inputs


def test_where_there_is_nothing_to_compare_the_section_is_refused() -> None:
    data = {"documents": ["d.jsonl"]}
    with pytest.raises(ValidationError, match="similar compares prompts and demonstrations, and there are none"):
        plan(data=data, iterations=0, annotator=None, final_stage="none", gatt=None, similar=SIMILAR)


def test_a_folder_is_beside_the_config_and_one_that_is_no_encoder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content(similar=SIMILAR)))
    with pytest.raises(InputError, match=rf"similar.encoder: there is no folder {tmp_path}/minilm"):
        load_config(file)
    folder = write_bag_of_words(("red", "green"), tmp_path / "minilm")
    section = load_config(file).similar
    assert section is not None
    assert section.encoder == folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"similar.encoder: .* has no .safetensors file; only safetensors are loaded"):
        load_config(file)
