"""Values that are set in a config that is there: by dotted key, with paths that everybody finds."""

from pathlib import Path

import pytest

from data_store.errors import InputError
from flows.recipe.changed_values import with_values
from flows.recipe.config import load_config
from tests.flows.recipe.test_config import write


def test_values_are_set_by_dotted_key_and_leave_the_rest(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    changed = with_values(config, {"reward.margins": "large", "ppo.sampling.max_new_tokens": 5}, "--set")
    assert changed.reward == config.reward.model_copy(update={"margins": "large"})
    assert changed.ppo.sampling.max_new_tokens == 5
    assert changed.sft == config.sft
    assert config.reward.margins == "small"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reward.margin", "large", "there is no key reward.margin; did you mean reward.margins?"),
        ("reward.margins", "huge", "reward.margins: Input should be"),
        ("rewards.margins", "large", "there is no section 'rewards'"),
        ("lora.rank", 4, "there is no section 'lora'"),
        ("ppo", 3, "ppo: "),
    ],
)
def test_a_value_that_cannot_be_set_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        with_values(load_config(write(tmp_path)), {key: value}, f"--set {key}")
    assert str(caught.value).startswith(f"--set {key}: ")
    assert message in str(caught.value)


def test_a_path_is_from_the_folder_that_is_given_and_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(write(tmp_path))
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path / "files")
    given = {"data.instructions": ["files/said.txt"]}
    with pytest.raises(InputError, match=r"a variant: data.instructions: .*said.txt"):
        with_values(config, given, "a variant", tmp_path)
    (tmp_path / "files" / "said.txt").write_text("always answer in rhymes\n")
    changed = with_values(config, given, "a variant", tmp_path)
    assert changed.data.files()["instructions"] == (tmp_path / "files" / "said.txt",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.instructions", ["said.txt"]),
        ("data.instructions", [{"path": "said.txt"}]),
        ("evaluate.judges", [{"name": "near", "folder": "said.txt"}]),
    ],
)
def test_without_a_folder_a_path_that_another_process_would_look_for_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        with_values(load_config(write(tmp_path)), {key: value}, f"--set {key}")
    there = tmp_path / "said.txt"
    assert str(caught.value) == f"--set {key}: {key}: said.txt is no absolute path; give {there}, if that is it"
