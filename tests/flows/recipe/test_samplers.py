"""Who draws: what of a config that tells it makes a version, and what does not fit is said before a run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from data_store.errors import InputError
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from models.samplers.config import VllmConfig
from tests.flows.recipe_runs import POCKET
from tests.vllm import SAMPLER

SERVED = ("collect", "rejection", "evaluate")
COMMAND = {"command": ["vllm", "serve"]}


def content(sections: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """The pocket config, with sections that a server draws."""
    found: dict[str, Any] = yaml.safe_load(POCKET) | more
    for section in sections:
        found[section]["sampling"]["sampler"] = SAMPLER
    return found


def recipes(*sections: str, **more: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """What decides each step's result, but for the inputs."""
    plan = build_plan(RunConfig.model_validate(content(sections, **more)))
    return {key: call.recipe() for key, call in plan.items()}


def test_the_sampler_is_part_of_what_made_a_version_of_the_steps_that_draw_by_it_and_of_no_other() -> None:
    plain, served = recipes(), recipes(*SERVED, vllm=COMMAND)
    assert {step for (_, step), recipe in plain.items() if recipe != served[_, step]} == {
        "draw_pairs",
        "rejection_sample",
        "evaluate",
        "evaluate_sampled",
    }
    assert served["V1", "rejection_sample"]["config"]["sampling"]["sampler"] == "vllm-0.32.0"


def test_ppo_is_told_how_the_server_is_reached_and_measures_how_far_it_is_from_the_trainer() -> None:
    adapters = {"lora": {"rank": 4}, "vllm": COMMAND}
    plain, served = (build_plan(RunConfig.model_validate(content(each, **adapters))) for each in ((), ("ppo",)))
    assert {key for key, call in plain.items() if call.recipe() != served[key].recipe()} == {("V2", "ppo")}
    assert served["V2", "ppo"].vllm is not None
    assert plain["V2", "ppo"].vllm is None
    told = [set(each["V2", "ppo"].step.measures(each["V2", "ppo"])) for each in (plain, served)]
    assert told[1] - told[0] == {"sampler_gap", "sampler_gap_max", "sampler_weighted"}


def test_without_a_sampler_nothing_of_it_is_in_what_made_a_version() -> None:
    plain = recipes()
    assert "sampler" not in json.dumps(plain["V1", "rejection_sample"])
    assert "vllm" not in json.dumps(list(plain.values()))
    assert recipes(vllm=COMMAND) == plain


def test_how_the_server_is_reached_makes_no_version() -> None:
    other = {"command": ["/opt/vllm"], "arguments": ["--tensor-parallel-size", "8"], "start_seconds": 5}
    assert recipes("rejection", vllm=other) == recipes("rejection", vllm=COMMAND)


def test_the_steps_that_draw_by_it_alone_are_told_how_it_is_reached() -> None:
    plan = build_plan(RunConfig.model_validate(content(("rejection",), vllm=COMMAND)))
    assert {step for (_, step), call in plan.items() if call.vllm is not None} == {"rejection_sample"}


@pytest.mark.parametrize(
    ("sections", "more", "message"),
    [
        (("ppo",), {"vllm": COMMAND}, "ppo.sampling.sampler: .* without lora each is whole weights: give lora"),
        (
            ("gatt",),
            {"vllm": COMMAND},
            "gatt.sampling.sampler: torch alone draws here; collect.sampling, reject",
        ),
        (("dpo",), {"vllm": COMMAND}, "dpo.sampling.sampler: torch alone draws here"),
        (("rejection",), {}, r"rejection.sampling.sampler needs the section vllm: give vllm.command, or vllm.url"),
        (
            ("rejection",),
            {"vllm": {"url": "http://gpu:8000"}},
            "without lora each policy is whole weights: give vllm.c",
        ),
        ((), {"vllm": {"url": "http://gpu:8000", **COMMAND}}, "give a command that starts the server, or the url"),
        ((), {"vllm": {}}, "give a command that starts the server, or the url"),
        ((), {"vllm": {"url": "gpu:8000"}}, "write it like https://"),
        ((), {"vllm": {"url": "http://me:secret@gpu:8000"}}, "no user, password, query or fragment here"),
        ((), {"vllm": {"url": "http://gpu", "arguments": ["-x"]}}, "are those of a command: take them out"),
        ((), {"vllm": COMMAND | {"key_variable": "KEY"}}, "key_variable is that of a url"),
        ((), {"vllm": COMMAND | {"arguments": ["--dtype=half"]}}, "--dtype=half is what Halter sets: take it out"),
        ((), {"vllm": COMMAND | {"arguments": ["--api_key", "x"]}}, "--api_key is what Halter sets: take it out"),
        ((), {"vllm": COMMAND | {"environment": {"HF_TOKEN": "x"}}}, "HF_TOKEN looks like a secret"),
        ((), {"vllm": COMMAND | {"argument": ["-x"]}}, "there is no key vllm.argument; did you mean vllm.arguments?"),
        ((), {"vllm": COMMAND | {"retries": 21}}, "vllm.retries"),
    ],
)
def test_what_cannot_be_is_said_with_its_key(
    tmp_path: Path, sections: tuple[str, ...], more: dict[str, Any], message: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content(sections, **more)))
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_another_version_than_the_one_that_was_tried_is_refused() -> None:
    named = content(("rejection",), vllm=COMMAND)
    named["rejection"]["sampling"]["sampler"] = "vllm-0.31.0"
    with pytest.raises(ValidationError, match=r"Input should be 'torch' or 'vllm-0\.32\.0'"):
        RunConfig.model_validate(named)


def test_what_is_left_out_of_the_section_is_bounded() -> None:
    assert VllmConfig(command=("vllm",)).model_dump(include={"retries", "start_seconds", "timeout_seconds"}) == {
        "retries": 3,
        "start_seconds": 600,
        "timeout_seconds": 600,
    }
