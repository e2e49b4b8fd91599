"""What is offered in the Prefect UI is what the plan has."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.commands.deploying import Form, Offer, forms_of
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from tests.flows.recipe_runs import POCKET

FILE = Path("configs/pocket.yaml")


def config_of(**changes: Any) -> RunConfig:
    return RunConfig.model_validate({**yaml.safe_load(POCKET), **changes})


def offered(**changes: Any) -> dict[str, Form]:
    config = config_of(**changes)
    return {form.name: form for form in forms_of(config, build_plan(config), FILE)}


def choices(form: Form, name: str) -> list[str]:
    return list(form.schema["properties"][name]["enum"])


def test_the_recipe_is_the_first_also_by_name_and_then_come_the_steps_of_the_config_alone() -> None:
    forms = offered()
    assert next(iter(forms)) == "recipe" == min(forms)
    steps = {step.replace("_", "-") for _, step in build_plan(config_of())}
    assert set(forms) == {"recipe", *(f"step-{step}" for step in steps)}
    assert {"step-ppo"} == set(forms) - set(offered(final_stage="dpo"))
    assert {"step-dpo"} == set(offered(final_stage="dpo")) - set(forms)
    assert not {"step-ppo", "step-evaluate-sampled"} & set(offered(final_stage="none"))


def test_iterations_and_steps_are_chosen_from_what_there_is() -> None:
    forms = offered(iterations=3)
    assert choices(forms["step-draw-pairs"], "iteration") == ["V1", "V2", "V3"]
    assert choices(forms["step-evaluate"], "iteration") == ["V0", "V1", "V2", "V3"]
    assert choices(forms["step-synthesize-gatt"], "iteration") == ["V2", "V3"], "from gatt.first_iteration on"
    assert choices(forms["step-draw-pairs"], "step") == ["draw-pairs"]
    assert forms["step-ppo"].parameters == {"iteration": "V3", "step": "ppo", "run": "pocket"}
    assert forms["step-pretrain"].parameters["iteration"] == "base"
    assert "default" not in forms["step-draw-pairs"].schema["properties"]["iteration"]
    assert forms["step-draw-pairs"].schema["properties"]["iteration"]["description"]


def test_other_fields_of_a_form_stay_what_the_flow_says() -> None:
    form = offered()["step-ppo"].schema
    assert form["properties"]["downstream"]["type"] == "boolean"
    assert form["properties"]["overrides"]["items"] == {"type": "string"}
    assert form["required"] == ["iteration", "step"]
    assert offered()["recipe"].schema["properties"]["config"]["type"] == "string"


def test_an_edited_config_is_offered_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    file = tmp_path / "pocket.yaml"
    file.write_text(POCKET)
    offer = Offer(file)
    before, seen = offer.forms(), offer.signature()
    assert offer.signature() == seen
    file.write_text(POCKET.replace("iterations: 2", "iterations: 4", 1))
    assert offer.signature() != seen
    (form,) = [each for each in offer.forms() if each.name == "step-draw-pairs"]
    assert choices(form, "iteration") == ["V1", "V2", "V3", "V4"]
    assert offer.forms() != before
    assert load_config(file).iterations == 4
    assert not (tmp_path / "home").exists(), "looking makes no store"
