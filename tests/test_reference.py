"""The reference pages are what the code says; every key of the config and every option is explained."""

from pathlib import Path

import pytest
import yaml

from flows.recipe.changed_values import with_values
from flows.recipe.config import RunConfig
from tests.reference import COMMAND, EMPTY, PAGES, REQUIRED, ROOT, Key, commands, sections

WITH_EVERY_SECTION = RunConfig.model_validate(
    {
        "name": "all",
        "iterations": 3,
        "data": {"world": {}},
        "annotator": {"world_seed": 0},
        "gatt": {},
        "context_distillation": {},
        "collect": {"red_team": {}, "strategy": {}},
        "lora": {},
        "contamination": {},
        "similar": {"encoder": "minilm"},
        "resources": {"STEP": {"shards": {"ray": "head:6379"}}},
        "vllm": {"command": ["vllm", "serve"]},
        "quality": {
            "languages": ["en"],
            **{
                side: [{"name": name, "files": [name]} for name in names]
                for side, names in (("positives", "ab"), ("negatives", "cd"))
            },
        },
        "mix": {"sources": [{"name": "all", "files": ["*"], "weight": 1}]},
        "final_stage": "ppo",
    }
)
KEYS = {key.path: key for section in sections() for key in section.keys}
ONE_OR_THE_OTHER = (
    "collect.people.",
    "collect.judge.",
    "collect.sources.",
    "distill.",
    "own_answers.",
    "evaluate.judges.",
    "benchmarks.sets.",
    "reward_tests.sets.",
    "quality.positives.",
    "quality.negatives.",
)  # sections that go without others of the config above, or are entries of a list


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_is_what_would_be_written_now(page: Path) -> None:
    assert page.read_text() == PAGES[page](), f"{page.name} is out of date: run `{COMMAND}` and commit the page"


def test_every_key_every_command_and_every_option_is_explained() -> None:
    assert [key.path for key in KEYS.values() if len(key.meaning) < 10] == []
    assert [section.path for section in sections() if section.meaning.startswith("None")] == []
    assert [name for name, command in commands() if not command.help] == []
    unexplained = [(name, each.name) for name, command in commands() for each in command.params if not each.help]
    assert unexplained == []


def test_keys_are_told_with_type_default_and_bounds() -> None:
    assert KEYS["ppo.clip_range"].kind == "number"
    assert (KEYS["ppo.clip_range"].default, KEYS["ppo.clip_range"].bounds) == (0.2, "> 0")
    assert (KEYS["reward.margins"].kind, KEYS["reward.margins"].default) == ("`none`, `small`, `large`", "small")
    assert (KEYS["name"].default, KEYS["base_model"].default) == (REQUIRED, EMPTY)
    assert KEYS["rejection.temperatures"].default == [0.7, 1.0, 1.2]
    assert KEYS["dpo.sampling.max_new_tokens"].default == 1024
    assert KEYS["model.preset"].default == "llama2-7b", "the default of the run, not of the section's class"


@pytest.mark.parametrize(
    "key",
    [each for each in KEYS.values() if each.default not in (REQUIRED, EMPTY)],
    ids=lambda key: key.path,
)
def test_a_key_can_be_set_to_the_default_that_the_reference_tells(key: Key) -> None:
    if not key.path.startswith(ONE_OR_THE_OTHER):
        with_values(WITH_EVERY_SECTION, {key.path: key.default}, "reference")


def test_every_key_of_the_shipped_configs_is_in_the_reference() -> None:
    known = {section.path for section in sections()} | set(KEYS)
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        assert sorted(_paths(yaml.safe_load(path.read_text())) - known) == [], path.name


def _paths(content: dict[str, object], above: str = "") -> set[str]:
    found = set()
    for name, value in content.items():
        found.add(above + name)
        if isinstance(value, dict):
            found |= _paths(value, f"{above}{name}.")
    return found
