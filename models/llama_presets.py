"""Shapes of the published Llamas, and of new ones. Needs neither torch nor transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.config import ArchitectureConfig


@dataclass(frozen=True)
class Architecture:
    """Shape of a Llama: RMSNorm before each block, SwiGLU, rotary positions, no biases."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_size: int
    context_length: int
    vocab_size: int = 32_000
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5
    tie_embeddings: bool = False
    initializer_range: float = 0.02
    """Standard deviation of fresh weights. About hidden_size**-0.5 lets a narrow model learn to attend early."""


def _llama1(hidden: int, layers: int, heads: int, ffn: int) -> Architecture:
    return Architecture(hidden, layers, heads, heads, ffn, context_length=2048, rms_norm_eps=1e-6)


def _llama2(hidden: int, layers: int, heads: int, ffn: int, kv_heads: int | None = None) -> Architecture:
    return Architecture(hidden, layers, heads, kv_heads or heads, ffn, context_length=4096)


def _llama3(hidden: int, layers: int, heads: int, ffn: int) -> Architecture:
    return Architecture(hidden, layers, heads, 8, ffn, context_length=8192, vocab_size=128_256, rope_theta=500_000.0)


# Llama (arXiv 2302.13971) table 2; Llama 2 (arXiv 2307.09288) section 2.2; Llama 3 model cards.
PRESETS = {
    "llama1-7b": _llama1(4096, 32, 32, 11_008),
    "llama1-13b": _llama1(5120, 40, 40, 13_824),
    "llama1-33b": _llama1(6656, 60, 52, 17_920),
    "llama1-65b": _llama1(8192, 80, 64, 22_016),
    "llama2-7b": _llama2(4096, 32, 32, 11_008),
    "llama2-13b": _llama2(5120, 40, 40, 13_824),
    "llama2-34b": _llama2(8192, 48, 64, 22_016, kv_heads=8),
    "llama2-70b": _llama2(8192, 80, 64, 28_672, kv_heads=8),
    "llama3-8b": _llama3(4096, 32, 32, 14_336),
    "llama3-70b": _llama3(8192, 80, 64, 28_672),
    "little": Architecture(128, 3, 4, 4, 344, context_length=512, tie_embeddings=True, initializer_range=0.08),
}


# The most that a config.json may say: far above all that is published, and what is above would never end
_SIZES = {
    "num_hidden_layers": 1_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "head_dim": 100_000,
    "hidden_size": 1_000_000,
    "intermediate_size": 10_000_000,
    "vocab_size": 100_000_000,
    "max_position_embeddings": 1_000_000_000,
}

_OF_LLAMA = tuple(name for name in _SIZES if name not in ("num_key_value_heads", "head_dim"))


def check_sizes(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a size in a config.json that no model has: transformers takes some without a word, and they
    fail long after. A list has a size a layer."""
    for name, most in _SIZES.items():
        size = config.get(name)
        if size is None or isinstance(size, list):
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
            raise ValueError(f"{name} is {size!r}, and must be a whole number from 1 to {most:,}")


def shape_in(config: Mapping[str, Any]) -> Architecture:
    """Of a decoder like Llama's, by its config.json. Raises KeyError, TypeError or ValueError where that is none."""
    check_sizes(config)
    if odd := [name for name in _SIZES if name in config and isinstance(config[name], list)]:
        raise ValueError(f"{odd[0]} differs from layer to layer, and a Llama's does not")
    if absent := [name for name in _OF_LLAMA if config[name] is None]:
        raise ValueError(f"{absent[0]} is not given")
    return Architecture(
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        num_kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        ffn_size=config["intermediate_size"],
        context_length=config["max_position_embeddings"],
        vocab_size=config["vocab_size"],
        tie_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def published_vocabulary(config: ArchitectureConfig, otherwise: int) -> int:
    """Tokens of the published model that `config` names; `otherwise` where it names none."""
    preset = PRESETS.get(config.preset or "")
    return otherwise if preset is None else preset.vocab_size


def resolve_architecture(config: ArchitectureConfig, vocab_size: int) -> Architecture:
    """The preset with the values of `config` over it. Raises ValueError for an unknown preset or a missing value."""
    given = {k: v for k, v in config.model_dump(exclude={"preset"}, exclude_unset=True).items() if v is not None}
    if config.preset is None:
        missing = {"hidden_size", "num_layers", "num_heads", "num_kv_heads", "ffn_size", "context_length"} - set(given)
        if missing:
            raise ValueError(f"architecture without a preset lacks {', '.join(sorted(missing))}")
        base = Architecture(**given, vocab_size=vocab_size)
    elif config.preset in PRESETS:
        base = replace(PRESETS[config.preset], **given, vocab_size=vocab_size)
    else:
        raise ValueError(f"unknown architecture preset {config.preset!r}; there are {', '.join(PRESETS)}")
    if base.hidden_size % base.num_heads or base.num_heads % base.num_kv_heads:
        raise ValueError("hidden_size must be a multiple of num_heads, and num_heads of num_kv_heads")
    if (base.hidden_size // base.num_heads) % 2:
        raise ValueError("hidden_size / num_heads must be even: positions turn the halves of a head against each other")
    return base
