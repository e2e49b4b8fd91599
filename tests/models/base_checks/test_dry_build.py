"""Models without weights: published counts, and what cannot be built."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedConfig

from models.base_checks.dry_build import DryModel, check_layers, check_pass, dry, empty_policy, empty_reward
from models.base_checks.structure import read_config
from models.config import LoraConfig
from models.costs import adapter_parameters, parameters
from models.llama import llama_config
from models.llama_presets import PRESETS
from tests.models.base_checks.conftest import Brought
from tests.models.families import FAMILIES

ROOT = Path(__file__).parents[3]
REFUSED = ("Granite", "Cohere", "LFM2", "Bamba")  # they have no reward models


def published(name: str) -> PreTrainedConfig:
    return llama_config(PRESETS[name], None, 1, 2)


@pytest.mark.slow
@pytest.mark.conformance("a dry run of another model", equation="models.base_checks.dry_build:dry")
@pytest.mark.parametrize(
    ("name", "count"), [("llama2-7b", 6_738_415_616), ("llama2-70b", 68_976_648_192), ("llama3-8b", 8_030_261_248)]
)
def test_published_sizes_have_the_published_number_of_parameters(name: str, count: int) -> None:
    """The reward model has a vector in the place of the head."""
    shape, lora = PRESETS[name], LoraConfig(rank=16)
    policy, reward = (dry(build(published(name)), None) for build in (empty_policy, empty_reward))
    assert policy.parameters == policy.trained == count == parameters(shape)
    assert reward.parameters == count - (shape.vocab_size - 1) * shape.hidden_size
    assert 4 * count < sum(policy.files.values()) < 4.0004 * count  # a ten-thousandth is no numbers
    adapted = dry(empty_policy(published(name)), lora)
    assert adapted.trained == adapter_parameters(shape, lora)
    assert adapted.parameters == count + adapted.trained


@pytest.mark.slow
def test_70b_takes_less_than_a_gigabyte() -> None:
    code = """
from benchmarks.memory import peak_memory
from models.base_checks.dry_build import check_pass, dry, empty_policy, empty_reward
from models.config import LoraConfig
from models.llama import llama_config
from models.llama_presets import PRESETS

config = llama_config(PRESETS["llama2-70b"], None, 1, 2)
policy, reward = empty_policy(config), empty_reward(config)
print(check_pass(policy, reward, 4096).found)
print([dry(model, LoraConfig()).trained for model in (policy, reward)])
print(peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    said, trained, peak = done.stdout.splitlines()
    assert said.endswith("gives logits (1, 4096, 32000) and a score (1, 1)")
    assert trained == "[207093760, 207101952]"
    assert int(peak) < 1_000_000_000


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_built_and_read_or_refused_for_the_reason_that_check_base_gives(
    family: str, brought: Brought
) -> None:
    config = read_config(brought(family))
    policy = empty_policy(config)
    if family in REFUSED:
        with pytest.raises(ValueError, match="has no sequence classifier"):
            empty_reward(config)
        return
    found = check_pass(policy, empty_reward(config), 64).found
    assert found.startswith("a row of 64 tokens through all layers gives logits (1, 64, ")
    assert found.endswith(" and a score (1, 1)")


def test_a_tied_head_counts_once_and_is_told(brought: Brought) -> None:
    tied, untied = (empty_policy(read_config(brought("Llama 2", tie_word_embeddings=given))) for given in (True, False))
    rows = tied.config.vocab_size * tied.config.hidden_size
    assert dry(untied, None).parameters - dry(tied, None).parameters == rows
    assert check_layers(tied, None)[0].found == "tied: the embeddings are the head"
    assert check_layers(untied, None)[0].found == "of its own beside the embeddings"


def test_a_layer_that_is_not_there_gets_no_adapter(brought: Brought) -> None:
    with pytest.raises(ValueError, match=r"lora.target_modules: no linear layer .* 'v_porj'; .* did you mean 'v_proj'"):
        check_layers(empty_policy(read_config(brought())), LoraConfig(target_modules=("v_porj",)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_attention_heads": 5}, r"config.json: .*hidden size \(32\) is not a multiple of .*heads \(5\)"),
        ({"num_key_value_heads": 3}, "config.json: num_attention_heads 4 is no multiple of num_key_value_heads 3"),
        ({"model_type": "llama9"}, "config.json: transformers cannot read it: .*llama9"),
        ({"hidden_size": "wide"}, "config.json: hidden_size is 'wide', and must be a whole number"),
    ],
)
def test_a_config_that_no_model_can_have_is_refused_by_its_field(
    brought: Brought, values: dict[str, object], message: str
) -> None:
    folder = brought()
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    with pytest.raises(ValueError, match=message):
        read_config(folder)


def test_memory_of_a_role_by_hand() -> None:
    """10 weights, 2 of them trained: 8 · 2 bytes in bfloat16 and 2 · 4; 2 · 4 of gradients, 2 · 8 of Adam."""
    of = DryModel("L", 10, 2, {})
    assert of.held("bfloat16") == {"weights": 24, "gradients": 8, "optimizer": 16}
    assert of.held("bfloat16", shares_base=True)["weights"] == 8
