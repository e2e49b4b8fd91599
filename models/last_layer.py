"""The last layer of a Llama, computed for those tokens alone whose hidden states are wanted.

Of the last layer a token needs the keys and values of all tokens that it sees, and a query, an output and a
feed-forward of its own. So tokens that nobody reads (all but the last of a reward model's dialogue, the prompts of PPO
and DPO, what a dialogue does not teach) go through keys and values there, and no further. What is read is the same, to
rounding.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, rotate_half

from models.checkpoint import backbone

# Where more of a row's tokens are wanted, putting them together costs what leaving the others out saves.
AT_MOST = 0.8


def hidden_at(model: nn.Module, places: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Last hidden states (R, d) of the tokens at `places` (R,), each row · T + column, after a pass over rows (B, T).

    `inputs` are those of the transformer: input_ids, position_ids, and an attention mask where there is one. Models
    that are not plain Llamas, or compute attention otherwise than by SDPA, read all tokens in all layers.
    """
    transformer = backbone(model)
    rows, width = inputs["input_ids"].shape
    layer = _plain_last_layer(transformer)
    bent: AbstractContextManager[None] = nullcontext()
    if layer is not None:
        columns, found = _by_row(places, rows, width)
        if columns.shape[1] <= AT_MOST * width:
            bent, places = _bent(layer, columns), found
    with bent:
        hidden: torch.Tensor = transformer(**inputs, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)[places]


@contextmanager
def _bent(layer: LlamaDecoderLayer, columns: torch.Tensor) -> Iterator[None]:
    """Inside, the layer reads the columns alone. Where it is to be computed again on the way back, by which time it is
    as it was, what is repeated is the reading itself."""
    read, checkpoints = partial(_read, layer, columns), layer.gradient_checkpointing

    def again(hidden_states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        told: torch.Tensor = cast(Any, layer)._gradient_checkpointing_func(partial(read, **inputs), hidden_states)
        return told

    vars(layer)["forward"] = again if checkpoints and layer.training else read
    layer.gradient_checkpointing = False
    try:
        yield
    finally:
        layer.gradient_checkpointing = checkpoints
        del vars(layer)["forward"]


def _plain_last_layer(transformer: nn.Module) -> LlamaDecoderLayer | None:
    """The layer, where it is one whose computation is known here."""
    if type(transformer) is not LlamaModel or transformer.config._attn_implementation != "sdpa":
        return None
    layer = transformer.layers[transformer.config.num_hidden_layers - 1]
    if type(layer) is not LlamaDecoderLayer or "forward" in vars(layer) or transformer.config.attention_dropout:
        return None
    return layer


def _by_row(places: torch.Tensor, rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns (B, S) that are wanted of each row, the first one again where a row has fewer; and where each of
    `places` stands among them, row · S + slot."""
    wanted, which = torch.unique(places, return_inverse=True)
    row = wanted // width
    counts = torch.bincount(row, minlength=rows)
    slot = torch.arange(len(wanted), device=wanted.device) - (counts.cumsum(0) - counts)[row]
    most = int(counts.max())
    columns = wanted.new_zeros((rows, most))
    columns[row, slot] = wanted % width
    return columns, (row * most + slot)[which]


def _read(
    layer: LlamaDecoderLayer,
    columns: torch.Tensor,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    **_: Any,
) -> torch.Tensor:
    """What `LlamaDecoderLayer.forward` makes of hidden states (B, T, d), at `columns` (B, S): (B, S, d)."""
    attention = layer.self_attn
    rows, width = hidden_states.shape[:2]
    row = torch.arange(rows, device=columns.device)[:, None]

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], -1, attention.head_dim).transpose(1, 2)

    cos, sin = (part.expand(rows, -1, -1) for part in cast(tuple[torch.Tensor, torch.Tensor], position_embeddings))
    normed = layer.input_layernorm(hidden_states)
    query = _rotated(heads(attention.q_proj(normed[row, columns])), cos[row, columns], sin[row, columns])
    key = _rotated(heads(attention.k_proj(normed)), cos, sin)
    if attention_mask is None:
        seen = torch.arange(width, device=columns.device) <= columns[:, None, :, None]
    else:
        seen = attention_mask.expand(rows, -1, -1, -1)[row, :, columns].transpose(1, 2)
    mixed, _weights = sdpa_attention_forward(
        attention, query, key, heads(attention.v_proj(normed)), seen, scaling=attention.scaling
    )
    after = hidden_states[row, columns] + attention.o_proj(mixed.flatten(2))
    told: torch.Tensor = after + layer.mlp(layer.post_attention_layernorm(after))
    return told


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv 2104.09864, equation 34): states (B, heads, T, size), cos and sin (B, T, size)."""
    turned: torch.Tensor = states * cos[:, None] + rotate_half(states) * sin[:, None]  # type: ignore[no-untyped-call]
    return turned
