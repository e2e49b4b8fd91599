from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.recipe.config import RunConfig, dump_config, load_config, parse_config
from tests.flows.recipe_runs import POCKET, ROOT

FILES = {
    "helpfulness_preferences": ["help.jsonl"],
    "safety_preferences": ["safe.jsonl"],
}


def write(folder: Path, **changes: Any) -> Path:
    """The pocket config with dotted keys changed (`...` takes one out), as a file."""
    content = yaml.safe_load(POCKET)
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        if value is ...:
            del section[last]
        else:
            section[last] = value
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def base_model(folder: Path, *names: str) -> Path:
    """A folder with files of these names."""
    (folder / "base").mkdir()
    for name in names:
        (folder / "base" / name).write_text("{}")
    return folder / "base"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iteration": 3}, "there is no key iteration; did you mean iterations?"),
        ({"reward__learning_rat": 1e-5}, "there is no key reward.learning_rat; did you mean reward.learning_rate?"),
        ({"data__world__sed": 1}, "there is no key data.world.sed; did you mean data.world.seed?"),
        ({"gatt__sampling__max_tokens": 1}, "did you mean gatt.sampling.max_new_tokens?"),
        ({"zebra": 1}, "there is no key zebra"),
        ({"collect__temperatures": 1}, "collect.temperatures: give a list: [one, another]"),
        ({"iterations": "two"}, "iterations: Input should be a valid integer"),
        ({"iterations": -1}, "iterations: Input should be greater than or equal to 0 (given: -1)"),
        ({"reward__margins": "huge"}, "reward.margins: Input should be 'none', 'small' or 'large' (given: 'huge')"),
        (
            {"rejection__temperatures": "automatic"},
            "rejection.temperatures: Input should be 'auto' (given: 'automatic')",
        ),
        ({"rejection__temperatures": [0.0]}, "rejection.temperatures.0: Input should be greater than 0 (given: 0.0)"),
        ({"final_stages": "dpo"}, "there is no key final_stages; did you mean final_stage?"),
        ({"final_stage": "grpo"}, "final_stage: Input should be 'ppo', 'dpo' or 'none' (given: 'grpo')"),
        ({"ppo": None}, "ppo: must hold values; to leave the stage out, set final_stage: none"),
        ({"dpo": {"betta": 0.2}}, "there is no key dpo.betta; did you mean dpo.beta?"),
        (
            {"collect__people": {"per_itm": 2}},
            "there is no key collect.people.per_itm; did you mean collect.people.per_item",
        ),
        ({"collect__people": {"at_deadline": "wait"}}, "'train_on_what_is_there' or 'fail' (given: 'wait')"),
        (
            {"collect__people": {"quota": 9, "quota_percent": 50}},
            "collect.people: quota and quota_percent are two ways",
        ),
        ({"collect__people": {}}, "either the simulated annotator judges or people do"),
        ({"annotator": None}, "nobody judges the pairs: give an annotator, collect.judge or collect.people"),
        ({"ppo__mini_batch_size": 3}, "ppo: batch_size 8 must be a multiple of mini_batch_size 3"),
        (
            {"rejection__sampling": {"threads": 2, "shards": 2}},
            "rejection.sampling: threads 2 and shards 2 do not go together: set one",
        ),
        ({"data": ...}, "data: Field required"),
        ({"name": ...}, "name: Field required"),
        ({"name": "///"}, "name: '///' cannot name a run: the name of a run is the name of its folder"),
        ({"data__world": ..., "gatt": None}, "data.documents is empty: give a corpus, or base_model in its place"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_is_wrong_is_named_by_file_and_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, iterations="two", sft__epoch=1, data=...))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [("name: [", "not YAML"), ("- a\n- b\n", "must hold keys and values"), ("", "must hold keys and values")],
    ids=["broken", "list", "empty"],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nseed: [1\nmodel: 3\n")
    with pytest.raises(InputError, match="line 3"):
        load_config(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        load_config(path)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read .* give a YAML file"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_missing_data_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.yaml: data\.demonstrations: there is no file .*/nowhere\.jsonl"):
        load_config(write(tmp_path, data__demonstrations=["nowhere.jsonl"]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "there is no folder"),
        ((), "has no config.json; give a folder that transformers can open"),
        (("config.json",), "has no tokenizer_config.json"),
        (("config.json", "tokenizer_config.json", "model.bin"), "has no .safetensors file; only safetensors are"),
    ],
    ids=["missing", "empty", "no-tokenizer", "no-safetensors"],
)
def test_a_base_model_that_cannot_be_opened_is_refused(
    tmp_path: Path, names: tuple[str, ...] | None, message: str
) -> None:
    if names is not None:
        base_model(tmp_path, *names)
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, base_model="base"))
    assert str(caught.value).startswith(f"{tmp_path / 'run.yaml'}: base_model: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__documents": ["help.jsonl"]}, "data.demonstrations is empty"),
        ({"data__documents": ["help.jsonl"], "data__demonstrations": ["help.jsonl"]}, "both reward models need pairs"),
    ],
    ids=["demonstrations", "preferences"],
)
def test_a_config_without_a_world_must_bring_what_the_steps_need(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "help.jsonl").touch()
    without_world = {"data__world": ..., "annotator": None, "gatt": None}
    with pytest.raises(InputError, match=message):
        load_config(write(tmp_path, **without_world, **changes))


def test_ghost_attention_without_instructions_is_refused(tmp_path: Path) -> None:
    for name in ("help.jsonl", "safe.jsonl"):
        (tmp_path / name).touch()
    sets = {f"data__{role}": names for role, names in FILES.items()}
    given = {"data__documents": ["help.jsonl"], "data__demonstrations": ["help.jsonl"], **sets}
    with pytest.raises(InputError, match=r"gatt needs data.instructions: give a file of them, or set gatt: null"):
        load_config(write(tmp_path, data__world=..., annotator=None, **given))
    (tmp_path / "always.txt").touch()
    given["data__instructions"] = ["always.txt"]
    config = load_config(write(tmp_path, data__world=..., annotator=None, **given))
    assert config.data.instructions == (tmp_path / "always.txt",)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"file": "own.jsonl"}, "context_distillation.file: there is no file"),
        ({"file": "broken.jsonl"}, "broken.jsonl line 2: field 'preprompt' is empty"),
        ({"preprompts": []}, "context_distillation.preprompts: give at least 1, not 0"),
        ({"preprompts": [" "]}, "context_distillation.preprompts.0: String should have at least 1 character"),
        ({"by_category": {"No Slug": ["be kind"]}}, "context_distillation.by_category.No Slug"),
        ({"place": "assistant"}, "context_distillation.place: Input should be 'user' or 'system'"),
    ],
)
def test_preprompts_that_cannot_be_used_are_refused(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    (tmp_path / "broken.jsonl").write_text('{"preprompt": "be kind"}\n{"preprompt": ""}\n')
    with pytest.raises(InputError) as error:
        load_config(write(tmp_path, context_distillation=section))
    assert message in str(error.value)


def test_a_file_of_preprompts_is_found_beside_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.txt").write_text("be kind\n")
    path = write(tmp_path, context_distillation={"file": "own.txt"})
    monkeypatch.chdir("/")
    section = load_config(path).context_distillation
    assert section is not None
    assert section.file == (tmp_path / "own.txt").resolve()


def test_paths_are_relative_to_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "help.jsonl").touch()
    path = write(tmp_path, data__demonstrations=["help.jsonl"])
    monkeypatch.chdir("/")
    assert load_config(path).data.demonstrations == (tmp_path / "help.jsonl",)


def test_a_config_that_is_written_and_read_back_is_the_same(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_that_come_with_halter_are_valid(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    given = [each for value in content["data"].values() if isinstance(value, list) for each in value]
    files = [each["path"] if isinstance(each, dict) else each for each in given]
    if not all((path.parent / name).exists() for name in [*files, *filter(None, [content.get("base_model")])]):
        content |= {"data": {"world": {}}, "annotator": {"world_seed": 0}}
        for key in ("judges", "against"):  # theirs are files, too
            content.get("evaluate", {}).pop(key, None)
        RunConfig.model_validate({**content, "base_model": None, "own_answers": None})  # which are a base model's
    else:
        assert load_config(path).name
