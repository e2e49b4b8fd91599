"""The files that a checkpoint is written as: their names and sizes follow from names and shapes of the weights alone,
so they are known before there are any; and an adapter's config without what depends on the machine."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import PeftModel, get_peft_model_state_dict
from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion
from transformers.modeling_utils import remove_tied_weights_from_state_dict

MOST_BYTES = "50GB"
"""Of a file with weights; a model that is larger is written as several (transformers' own bound, held fast here)."""
_PATTERN = "model{suffix}.safetensors"
_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64"}


def files_of(model: nn.Module, most: str = MOST_BYTES) -> Mapping[str, int]:
    """Names and bytes of the safetensors that `save_checkpoint` writes of `model`, on whatever device it is: nothing is
    read but names, shapes and dtypes. A weight that several modules share is written once. Adapters are one file."""
    if isinstance(model, PeftModel):
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        return {"adapter_model.safetensors": _bytes(weights)}
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"a {type(model).__name__} is no model of transformers")
    weights = remove_tied_weights_from_state_dict(model.state_dict(), model)
    weights = revert_weight_conversion(model, weights)
    split = split_torch_state_dict_into_shards(weights, filename_pattern=_PATTERN, max_shard_size=most)
    return {file: _bytes({name: weights[name] for name in names}) for file, names in split.filename_to_tensors.items()}


def write_plainly(config_file: Path) -> None:
    """Take the base's path out of an adapter's config (the catalog knows the base) and sort what peft keeps in sets."""
    config = json.loads(config_file.read_text())
    config |= {"base_model_name_or_path": None, "inference_mode": True}
    config |= {name: sorted(value) for name, value in config.items() if name == "target_modules"}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True))


def _bytes(weights: Mapping[str, torch.Tensor]) -> int:
    """Of a safetensors file: 8 bytes, a head in JSON that is filled up to a multiple of 8, and the numbers. In the head
    weights stand by name, those of wider numbers first (github.com/huggingface/safetensors, the format)."""
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, weight in sorted(weights.items(), key=lambda item: (-item[1].element_size(), item[0])):
        start, end = end, end + weight.numel() * weight.element_size()
        head[name] = {"dtype": _DTYPES[weight.dtype], "shape": list(weight.shape), "data_offsets": [start, end]}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + end
