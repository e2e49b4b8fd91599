"""Llamas with fresh weights, as `LlamaForCausalLM`: every checkpoint opens in transformers."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models.llama_presets import Architecture


def llama_config(architecture: Architecture, pad_id: int | None, bos_id: int, eos_id: int) -> LlamaConfig:
    """The config of transformers for this shape."""
    return LlamaConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        num_key_value_heads=architecture.num_kv_heads,
        intermediate_size=architecture.ffn_size,
        max_position_embeddings=architecture.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        rms_norm_eps=architecture.rms_norm_eps,
        tie_word_embeddings=architecture.tie_embeddings,
        initializer_range=architecture.initializer_range,
        pad_token_id=pad_id,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
    )


def build_llama(architecture: Architecture, seed: int, pad_id: int, bos_id: int, eos_id: int) -> LlamaForCausalLM:
    """A Llama with fresh weights, drawn from `seed` alone (the global generator is left as it was)."""
    config = llama_config(architecture, pad_id, bos_id, eos_id)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
