"""What a run's models come to before there are any: the configs of published sizes, and what their fields forbid."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.forecast.forecast import Assumptions, forecast, shape_of
from flows.forecast.shapes import shapes_of
from flows.recipe.changed_values import with_values
from flows.recipe.config import RunConfig, load_config
from flows.recipe.lengths import context_length
from flows.recipe.plan import build_plan
from models.hardware import GPUS, gpu
from models.llama_presets import PRESETS
from models.tokenizer import load_tokenizer
from tests.flows.recipe_runs import ROOT, Home
from tests.models.conftest import CORPUS
from tests.models.llama3_files import write_llama3_tokenizer

PUBLISHED = ("llama2-7b", "llama2-70b", "llama3-8b")
SMOKE = ROOT / "configs" / "smoke.yaml"
LITTLE = {
    "name": "little",
    "iterations": 1,
    "data": {"world": {}},
    "annotator": {"world_seed": 0},
    "tokenizer": {"vocab_size": 400},
    "model": {"preset": "little"},
    "pretrain": {"sequence_length": 128},
    "reward": {"max_length": 256},
    **{name: {"sampling": {"max_new_tokens": 40}} for name in ("collect", "rejection", "ppo", "dpo", "evaluate")},
}


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """The shipped configs beside a folder of data with a row in each file that they name."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    pair = {side: f"\n\nHuman: Who keeps it?\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    task = {"id": "1", "instruction": "Who keeps it?", "instances": [{"input": "", "output": "The keeper."}]}
    for name, row in (
        ("preference/hh_helpful.jsonl.gz", pair),
        ("preference/hh_harmless.jsonl.gz", pair),
        ("sft/self_instruct_seed_tasks.jsonl", task),
        ("safety/do_not_answer.jsonl", {"prompt": "Who keeps it?"}),
    ):
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file, "wt") if name.endswith(".gz") else file.open("w") as out:
            out.write(json.dumps(row) + "\n")
    (tmp_path / "data/safety/xstest_prompts.csv").write_text("prompt,type,label\nHow do I kill a process?,a,safe\n")
    return tmp_path / "configs"


def loaded(folder: Path, name: str) -> RunConfig:
    return load_config(folder / f"{name}.yaml", opens_models=False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_size_is_planned_before_its_folder_is_there(shipped: Path, name: str) -> None:
    config = loaded(shipped, name)
    assert config.is_described
    assert shape_of(config) == PRESETS[name]
    assert context_length(config) == PRESETS[name].context_length
    rows = forecast(config, build_plan(config), gpu("h100", *GPUS["h100"], use=0.4), Assumptions(devices=8))
    assert sum(row.seconds for row in rows) > 0
    with pytest.raises(InputError, match=f"base_model: there is no folder .*{name}"):
        load_config(shipped / f"{name}.yaml")


@pytest.mark.slow
def test_roles_and_memory_of_the_published_sizes(shipped: Path) -> None:
    """Float32 weights, gradients and Adam's two: 16 bytes each, spread over eight; with adapters the base is held in
    bfloat16."""
    large, adapted = (shapes_of(loaded(shipped, name)) for name in ("llama2-70b", "llama3-8b"))
    policy, safety, helpfulness, together = large.roles
    assert policy.memory.total - policy.memory.activations == 16 * 68_976_648_192 / 8
    assert safety.parameters == helpfulness.parameters == 68_714_512_384
    assert len(policy.files) == 6
    # policy, value model and reference in float32, two reward models in bfloat16; gradients and Adam of two
    weights = 4 * (2 * policy.parameters + safety.parameters) + 2 * 2 * safety.parameters
    assert together.memory.weights == weights / 8
    assert together.memory.optimizer == 8 * (policy.parameters + safety.parameters) / 8
    policy = adapted.roles[0]
    assert policy.memory.weights == 2 * 8_030_261_248 + 4 * policy.trained
    assert list(policy.files) == ["adapter_model.safetensors"]
    assert adapted.found["lora.target_modules"] == "each names linear layers, 224 in all"
    assert adapted.found["chat template"] == "not looked at: the tokenizer is not here"


def test_a_folder_is_read_where_it_is_there_and_needs_its_config_alone(shipped: Path) -> None:
    folder = shipped.parent / "data" / "llama2-7b"
    folder.mkdir()
    with pytest.raises(InputError, match=r"base_model: there is no .*config.json, which gives the model's shape"):
        load_config(without_model(shipped), opens_models=False)
    little = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    little |= {"intermediate_size": 128, "vocab_size": 300, "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(little))
    config = loaded(shipped, "llama2-7b")
    assert not config.is_described
    (policy,) = shapes_of(config).roles
    blocks = 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)
    assert policy.parameters == blocks + 2 * 300 * 64 + 64
    (folder / "config.json").write_text(json.dumps({**little, "model_type": "llama9"}))
    with pytest.raises(InputError, match=r"base_model .*llama2-7b: config.json: transformers cannot read it: .*llama9"):
        shapes_of(config)


def test_a_tokenizer_in_the_folder_is_looked_at_with_its_template(shipped: Path) -> None:
    folder = shipped.parent / "data" / "llama2-7b"
    folder.mkdir()
    write_llama3_tokenizer(CORPUS, folder)
    tokens = len(load_tokenizer(folder))
    shape = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    shape |= {"intermediate_size": 64, "max_position_embeddings": 4096, "vocab_size": tokens}
    (folder / "config.json").write_text(json.dumps(shape))
    found = shapes_of(loaded(shipped, "llama2-7b")).found
    assert found["embeddings"].startswith(f"{tokens}, one for each token that is written")
    around = int(found["chat template"].removesuffix(" tokens around one letter"))
    assert 5 < around < 30
    tight = with_values(loaded(shipped, "llama2-7b"), {"evaluate.sampling.max_new_tokens": 4095 - around + 1}, "test")
    with pytest.raises(InputError, match=f"template puts {around} tokens around one letter, .* may have {around - 1}"):
        shapes_of(tight)
    (folder / "config.json").write_text(json.dumps({**shape, "vocab_size": 300}))
    with pytest.raises(InputError, match=r"the model has 300 embeddings: .* tokens have none"):
        shapes_of(loaded(shipped, "llama2-7b"))
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"base_model .*: transformers cannot open the tokenizer: \S"):
        shapes_of(loaded(shipped, "llama2-7b"))


def without_model(configs: Path) -> Path:
    content = yaml.safe_load((configs / "llama2-7b.yaml").read_text())
    del content["model"]
    file = configs / "bare.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"reward.max_length": 5000},
            "reward.max_length: 5000 is longer than the context of 512 tokens: set",
        ),
        ({"pretrain.sequence_length": 513}, "pretrain.sequence_length: 513 is longer than the context of 512"),
        ({"final_stage": "dpo", "dpo.max_length": 600}, "dpo.max_length: 600 is longer than the context"),
        ({"evaluate.sampling": {"max_new_tokens": 600}}, "max_new_tokens: the context of 512 tokens"),
        ({"model.num_heads": 5}, "model: hidden_size must be a multiple of num_heads"),
        (
            {"lora": {"target_modules": ["q_prj"]}},
            "model: lora.target_modules: no linear .* did you mean 'q_proj'",
        ),
    ],
)
@pytest.mark.conformance("a run that cannot be right is found after hours", equation="flows.forecast.shapes:shapes_of")
def test_what_cannot_be_is_refused_by_its_field(values: dict[str, Any], message: str) -> None:
    config = with_values(RunConfig.model_validate(LITTLE), values, "test")
    with pytest.raises(InputError, match=message):
        shapes_of(config)


def test_lengths_of_stages_that_the_run_does_not_have_are_no_matter() -> None:
    """With PPO it is no fault that DPO would take pairs of 4,096 tokens."""
    found = shapes_of(RunConfig.model_validate(LITTLE))
    assert found.found["context"] == "512 tokens; pretrain.sequence_length 128, reward.max_length 256"
    assert [role.role for role in found.roles] == [
        "policy",
        "safety reward model",
        "helpfulness reward model",
        "PPO: all five",
    ]


def test_the_command_prints_one_table_and_json(tmp_path: Path) -> None:
    home = Home(tmp_path)
    said = home.look("plan", str(SMOKE), "--shapes")
    assert said.code == 0, said.err
    assert "helpfulness reward model" in said.out
    assert "lengths: dialogues of up to 320 tokens" in said.out
    document = home.look("plan", str(SMOKE), "--shapes", "--json").document
    assert document["roles"][0]["files"].keys() == {"model.safetensors"}
    assert document["found"]["head"] == "tied: the embeddings are the head"
