"""Little random models of the architectures that people bring, built from transformers' own configs."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LINEAR_ATTENTION: dict[str, Any] = {
    "num_hidden_layers": 4,
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS = {
    "num_experts": 4,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts_per_tok": 2,
}

# family → transformers' name of its architecture, and what makes it itself beside the shape
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "SmolLM2": ("llama", {"tie_word_embeddings": True}),
    "SmolLM3": ("smollm3", {"num_hidden_layers": 4, "tie_word_embeddings": True}),  # every fourth layer has no rotation
    "Llama 2": ("llama", {"num_key_value_heads": 4}),
    "Llama 3.x": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "Qwen2.5": ("qwen2", {}),
    "Qwen3": ("qwen3", {"head_dim": 8}),
    "Gemma 3": ("gemma3_text", {"num_hidden_layers": 6, "head_dim": 8, "sliding_window": 8}),
    "Phi-3": ("phi3", {}),
    "Mistral": ("mistral", {"sliding_window": 8}),
    "OLMo 2": ("olmo2", {}),
    "Gemma 2": ("gemma2", {"head_dim": 8, "sliding_window": 8}),
    "GPT-NeoX": ("gpt_neox", {}),
    "GPT-2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "Granite": ("granite", {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0}),
    "Cohere": ("cohere", {"logit_scale": 0.25}),
    "OPT": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "Falcon": ("falcon", {}),
    "BLOOM": ("bloom", {"n_layer": 2, "n_head": 4}),
    "LFM2": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
    "Bamba": (
        "bamba",
        {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "attn_layer_indices": [1]},
    ),
    "Qwen3.5": ("qwen3_5_text", LINEAR_ATTENTION),
    "Qwen3-Next": ("qwen3_next", {**LINEAR_ATTENTION, **EXPERTS}),
    "Mixtral": ("mixtral", {"num_local_experts": 4}),
}

# Linear layers of the families that call them otherwise than Llama does
LINEAR_LAYERS: dict[str, tuple[str, ...]] = {
    "Phi-3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "GPT-NeoX": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "GPT-2": ("c_attn", "c_proj", "c_fc"),
    "Falcon": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "BLOOM": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}


def build(family: str, tokenizer: PreTrainedTokenizerBase, **values: Any) -> PreTrainedModel:
    """A model of the family with random weights, large enough for logits to differ between tokens."""
    architecture, own = FAMILIES[family]
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    shape = {"vocab_size": len(tokenizer), **SHAPE, **ids, **own, **values}
    config = AutoConfig.for_model(architecture, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.3)
    return model.eval()


def write(family: str, tokenizer: PreTrainedTokenizerBase, folder: Path, **values: Any) -> Path:
    """The same as a folder with its tokenizer."""
    build(family, tokenizer, **values).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
