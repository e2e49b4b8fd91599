"""A model from nothing with the tokenizer of another, such as Llama 3's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from data_store.errors import InputError
from flows.forecast.forecast import shape_of
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from tests.flows.recipe.test_table import groups
from tests.flows.recipe_runs import POCKET, Home
from tests.models.llama3_files import EOT, write_llama3_tokenizer
from world.content import World
from world.documents import make_documents


def content_of(folder: Path, **changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(POCKET), "tokenizer": {"folder": str(folder)}, **changes}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump(content_of(Path("llama3"), **changes)))
    return path


@pytest.fixture
def llama3(tmp_path: Path) -> Path:
    folder = tmp_path / "llama3"
    folder.mkdir()
    return write_llama3_tokenizer((row["text"] for row in make_documents(World(1), 200, 1, 0.0)), folder)


def test_it_is_looked_at_first_and_nothing_trains_one(tmp_path: Path) -> None:
    config = RunConfig.model_validate(content_of(tmp_path))
    plan = build_plan(config)
    assert groups(plan, "base") == [{"check_base"}, {"import_data"}, {"filter_corpus", "fit_context"}, {"pretrain"}]
    assert set(plan["base", "check_base"].inputs) == set(plan["base", "check_base"].outputs) == {"tokenizer"}
    for step in ("check_base", "fit_context", "pretrain"):
        assert plan["base", step].files == {"tokenizer": (tmp_path,)}
    assert "base" not in plan["base", "pretrain"].inputs
    assert plan["V0", "sft"].files == {}, "the pretrained model has it"


def test_a_run_that_trains_its_tokenizer_knows_nothing_of_the_key() -> None:
    plain = build_plan(RunConfig.model_validate(yaml.safe_load(POCKET)))
    assert type(plain["base", "train_tokenizer"].config).__name__ == "TokenizerConfig"
    assert "check_base" not in {step for _, step in plain}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": {"folder": "t", "vocab_size": 400}}, "folder is taken as it is, and vocab_size would train one"),
        ({"base_model": "llama", "data": {"demonstrations": ["a.jsonl"]}}, "base_model brings its own tokenizer"),
    ],
)
def test_one_tokenizer_is_enough(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RunConfig.model_validate(content_of(Path("t"), **{"annotator": None, **changes}))


def test_a_folder_without_one_is_refused_before_a_run_and_a_path_is_beside_the_config(tmp_path: Path) -> None:
    config = written(tmp_path)
    with pytest.raises(InputError, match=r"given.yaml: tokenizer.folder: there is no folder .*/llama3"):
        load_config(config)
    (tmp_path / "llama3").mkdir()
    (tmp_path / "llama3" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"llama3 has no tokenizer.json or tokenizer.model with a tokenizer_config"):
        load_config(config)
    (tmp_path / "llama3" / "tokenizer.json").write_text("{}")
    assert load_config(config).tokenizer.folder == tmp_path / "llama3"


def test_a_plan_has_an_embedding_for_each_of_its_tokens(llama3: Path) -> None:
    assert shape_of(RunConfig.model_validate(content_of(llama3))).vocab_size == 500
    (llama3 / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.folder .*: transformers cannot open the tokenizer"):
        shape_of(RunConfig.model_validate(content_of(llama3)))


@pytest.mark.slow
def test_the_recipe_runs_to_its_end_on_llama_3s_files_and_every_model_has_them(
    tmp_path: Path, server: str, llama3: Path
) -> None:
    config = written(tmp_path, name="given")
    home = replace(Home(tmp_path / "home", name="given"), server=server)
    run = home.halter("run", config, "--json")
    assert run.code == 0, run.err
    assert set(home.states().values()) == {"fresh"}
    findings = home.store.rows(home.head("dataset/tokenizer-findings@base")).to_pylist()
    found = {row["check"]: row["found"] for row in findings}
    assert found["vocabulary"] == "500 tokens"
    assert found["end of turn"].startswith(repr(EOT))
    pieces = json.loads((llama3 / "tokenizer.json").read_text())["model"]
    for asset in ("model/base@base", "model/policy@V2", "model/reward-safety@V2"):
        folder = home.store.checkout(home.head(asset))
        assert json.loads((folder / "tokenizer.json").read_text())["model"] == pieces
        assert json.loads((folder / "config.json").read_text())["vocab_size"] == 500
