"""What a Llama costs: parameters, operations and memory, by its shape alone. Needs neither torch nor weights.

Operations are floating-point operations, a multiplication and an addition being two. Memory is in bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from models.config import LoraConfig
from models.llama_presets import Architecture

# A trained weight in float32, with its gradient and Adam's two moments (ZeRO, arXiv 1910.02054, section 3.1)
WEIGHT, GRADIENT, ADAM = 4, 4, 8
BYTES = {"float32": 4, "bfloat16": 2}


def linear_layers(shape: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of a block by name: (inputs, outputs). Grouped-query attention has fewer keys and values."""
    h, f = shape.hidden_size, shape.ffn_size
    kv = h // shape.num_heads * shape.num_kv_heads
    return {
        "q_proj": (h, h),
        "k_proj": (h, kv),
        "v_proj": (h, kv),
        "o_proj": (h, h),
        "gate_proj": (h, f),
        "up_proj": (h, f),
        "down_proj": (f, h),
    }


def parameters(shape: Architecture) -> int:
    """All weights of a Llama: embeddings, blocks with two norms each, the last norm, and the head where it is not the
    embeddings."""
    blocks = sum(a * b for a, b in linear_layers(shape).values()) + 2 * shape.hidden_size
    embeddings = shape.vocab_size * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return shape.num_layers * blocks + embeddings + shape.hidden_size


def adapter_parameters(shape: Architecture, lora: LoraConfig) -> int:
    """Weights of the adapters: rank · (inputs + outputs) of each layer that has one (LoRA, arXiv 2106.09685)."""
    layers = linear_layers(shape)
    return shape.num_layers * sum(lora.rank * sum(layers[name]) for name in lora.target_modules if name in layers)


def forward_flops(shape: Architecture, tokens: float, context: float, *, head: float = 1.0) -> float:
    """Of a forward pass over `tokens` that each attend to `context` tokens on the mean: 2 per weight that is multiplied
    with (Kaplan et al., arXiv 2001.08361, section 2.1), and 4 · layers · hidden · context per token for attention's two
    products (PaLM, arXiv 2204.02311, appendix B, without its factor 3 for training). `head`: share of the tokens of
    which logits are computed; none in a model with a scalar head."""
    weights = shape.num_layers * sum(a * b for a, b in linear_layers(shape).values())
    return 2 * tokens * weights + attention_flops(shape, tokens, context) + head_flops(shape, tokens * head)


def attention_flops(shape: Architecture, tokens: float, context: float) -> float:
    """Of attention's two products, of tokens that each attend to `context` tokens on the mean."""
    return 4 * tokens * shape.num_layers * shape.hidden_size * context


def head_flops(shape: Architecture, tokens: float) -> float:
    """Of the logits of so many tokens; looking embeddings up is no product."""
    return 2 * tokens * shape.vocab_size * shape.hidden_size


def training_flops(
    shape: Architecture,
    tokens: float,
    context: float,
    *,
    frozen: bool = False,
    checkpointing: bool = False,
    head: float = 1.0,
) -> float:
    """Of a forward and a backward pass, which costs twice the forward one: 6 per weight and token. `frozen`: adapters
    on weights that get no gradient of their own, so that the way back costs once. `checkpointing`: the forward pass is
    done again."""
    passes = 1 + (1 if frozen else 2) + (1 if checkpointing else 0)
    return passes * forward_flops(shape, tokens, context, head=head)


def flops_per_token(shape: Architecture, context: float) -> float:
    """Operations that a token of training needs, as model FLOPs utilisation counts them: 6 N + 12 L H Q T, with N
    weights, L layers, H heads of size Q and rows of T = `context` tokens (PaLM, arXiv 2204.02311, appendix B). Nothing
    is taken off for the causal mask or for documents that share a row, nothing added for what is computed twice.

    PaLM's head is its embeddings. Where there are two matrices, looking up is no product, and the head counts alone.
    """
    looked_up = 0 if shape.tie_embeddings else shape.vocab_size * shape.hidden_size
    attention = 12 * shape.num_layers * shape.hidden_size * context  # H · Q is the hidden size
    return 6 * (parameters(shape) - looked_up) + attention


def utilisation(tokens_per_second: float, flops: float, peak: float) -> float:
    """Model FLOPs utilisation: the share of `peak` operations a second that these tokens, of `flops` operations each,
    come to (PaLM, appendix B)."""
    return tokens_per_second * flops / peak


def cache_bytes(shape: Architecture, tokens: float, dtype: str) -> float:
    """Keys and values of `tokens` in all layers."""
    kv = shape.hidden_size // shape.num_heads * shape.num_kv_heads
    return 2 * shape.num_layers * kv * tokens * BYTES[dtype]


def activation_bytes(shape: Architecture, tokens: float, dtype: str, *, checkpointing: bool = False) -> float:
    """What a forward pass keeps for the way back, with attention that keeps no matrix of scores: per token and block
    the inputs of the norms and of the layers, queries, keys, values, the gate, its activation and their product; and
    the logits with their gradient in float32. `checkpointing`: the input of each block, and one block whole. After
    Korthikanti et al., arXiv 2205.05198, section 4.1, counted for SwiGLU in place of GPT's feed-forward."""
    h, f = shape.hidden_size, shape.ffn_size
    kv = h // shape.num_heads * shape.num_kv_heads
    block = 2 * h + 2 * h + h + 2 * kv + h + h + 4 * f
    kept = shape.num_layers * h + block if checkpointing else shape.num_layers * block
    return tokens * (kept * BYTES[dtype] + 2 * 4 * shape.vocab_size)


@dataclass(frozen=True)
class Memory:
    """Bytes of one device by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    cache: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.cache

    def as_json(self) -> Mapping[str, float]:
        """Plain values."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations,
            "cache": self.cache,
            "total": self.total,
        }


def training_memory(
    shape: Architecture,
    pass_tokens: float,
    dtype: str,
    *,
    lora: LoraConfig | None = None,
    trained: int = 1,
    read: int = 0,
    shards: int = 1,
    checkpointing: bool = False,
) -> Memory:
    """Of a training of `trained` models beside `read` frozen ones, with `pass_tokens` in a forward pass; what is
    trained is held in float32. With adapters all models stand on one frozen base. `shards`: devices over which weights,
    gradients and Adam's moments are spread (ZeRO stage 3, arXiv 1910.02054: each holds its part)."""
    whole, small = parameters(shape), BYTES[dtype]
    if lora is None:
        weights, learned = whole * (WEIGHT * trained + small * read), whole * trained
    else:
        adapter = adapter_parameters(shape, lora)
        weights, learned = whole * small + adapter * WEIGHT * (trained + read), adapter * trained
    active = activation_bytes(shape, pass_tokens, dtype, checkpointing=checkpointing)
    return Memory(weights / shards, learned * GRADIENT / shards, learned * ADAM / shards, active)


def reading_memory(
    shape: Architecture, models: int, rows: float, tokens: float, dtype: str, *, one_base: bool
) -> Memory:
    """Of `models` that answer or score: their weights (adapters share one base), and keys and values of `rows` of
    `tokens` each."""
    weights = parameters(shape) * BYTES[dtype] * (1 if one_base else models)
    return Memory(weights, 0.0, 0.0, rows * shape.vocab_size * 4.0, cache_bytes(shape, rows * tokens, dtype))


def implied_utilisation(flops: float, device_hours: float, peak: float) -> float:
    """Share of the devices' peak that these operations in these hours come to (model FLOPs utilisation, PaLM, appendix
    B)."""
    return flops / (device_hours * 3600 * peak)
