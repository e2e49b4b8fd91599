"""Names of layers for adapters, and architectures that are none."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from models.base_checks.examine import examine_base, examine_judge
from models.base_checks.structure import check_adapters, linear_layers, read_config
from models.checkpoint import load_policy
from models.config import LoraConfig
from models.tokenizer import load_tokenizer
from tests.models.base_checks.conftest import Brought
from tests.models.test_loading_report import SPOILED, Weights


@pytest.mark.parametrize(
    ("names", "wrong", "meant"),
    [
        (("q_proj", "vproj"), "vproj", "v_proj"),
        (("q_proj", "k_proj", "gate_porj"), "gate_porj", "gate_proj"),
        (("query",), "query", None),
        (("lm_head",), "lm_head", None),  # reward models have none
        (("self_attn",), "self_attn", None),  # no linear layer itself
        (("proj",), "proj", "v_proj"),  # the end of a name is not a name
    ],
)
def test_a_name_that_no_linear_layer_has_is_refused_with_those_there_are(
    brought: Brought, names: tuple[str, ...], wrong: str, meant: str | None
) -> None:
    with pytest.raises(ValueError, match=f"no linear layer of LlamaForCausalLM is called '{wrong}'") as caught:
        examine_base(brought(), LoraConfig(target_modules=names))
    assert "there are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in str(caught.value)
    assert (f"did you mean '{meant}'?" in str(caught.value)) or meant is None


def test_whole_and_last_names_are_layers(brought: Brought) -> None:
    model = load_policy(brought())
    assert len(linear_layers(model)) == 2 * 7
    found = check_adapters(model, LoraConfig(target_modules=("q_proj", "mlp.up_proj", "layers.0.mlp.down_proj")))
    assert found.found == "each names linear layers, 5 in all"


def test_the_names_that_lora_has_by_default_are_refused_for_layers_that_are_called_otherwise(brought: Brought) -> None:
    with pytest.raises(ValueError, match="there are down_proj, gate_up_proj, o_proj, qkv_proj"):
        examine_base(brought("Phi-3"), LoraConfig())


@pytest.mark.parametrize("change", [change for change, _ in SPOILED.values()], ids=SPOILED)
def test_weights_that_are_not_the_models_are_refused_as_base_and_as_judge(brought: Brought, change: object) -> None:
    folder = brought()
    path = folder / "model.safetensors"
    weights: Weights = load_file(path)
    save_file(change(weights), path, metadata={"format": "pt"})  # type: ignore[operator]
    for examine in (lambda: examine_base(folder, None), lambda: examine_judge(folder, ("A", "B"))):
        with pytest.raises(ValueError, match="LlamaForCausalLM"):
            examine()


def test_a_weight_of_another_shape_is_named(brought: Brought) -> None:
    folder = brought()
    path = folder / "model.safetensors"
    save_file({**load_file(path), "model.norm.weight": torch.ones(31)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"another shape than config.json says: model.norm.weight is \(31,\), not"):
        examine_base(folder, None)


def test_what_is_no_causal_language_model_is_refused_by_name(tmp_path: Path, brought: Brought) -> None:
    folder = brought()
    config = AutoConfig.for_model("t5", d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8, vocab_size=64)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    load_tokenizer(folder).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"config.json: t5 is no causal language model in transformers"):
        examine_base(folder, None)


@pytest.mark.parametrize("content", ["{", '{"model_type": "llama5000"}', "{}"])
def test_a_config_that_transformers_cannot_read_is_refused(brought: Brought, content: str) -> None:
    folder = brought()
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config.json: transformers cannot read it: \S"):
        examine_base(folder, None)


def test_weights_that_need_a_package_which_is_not_there_are_refused(brought: Brought) -> None:
    folder = brought()
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="transformers cannot open the model: "):
        examine_base(folder, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 0),
        ("num_key_value_heads", 0),
        ("head_dim", 0),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 100_000_000),
        ("vocab_size", 0),
        ("intermediate_size", 0),
        ("rms_norm_eps", float("nan")),
        ("rms_norm_eps", 0),
        ("hidden_size", "64"),
    ],
)
def test_sizes_that_no_model_has_are_refused_by_name_before_anything_is_built(
    tmp_path: Path, brought: Brought, key: str, value: object
) -> None:
    config = json.loads((brought() / "config.json").read_text()) | {key: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json: {key} is "):
        read_config(tmp_path)
