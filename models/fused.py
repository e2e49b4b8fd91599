"""Llama's layers in fewer passes over memory: on CPUs, where half the time of a small model goes into them.

The layers keep their parameters, their names and what they compute; only their class is another. Off the CPU, in
bfloat16 and under autocast they do what transformers' do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm, eager_attention_forward


def fuse(model: nn.Module) -> nn.Module:
    """The same model, its Llama layers with the passes of this module; other architectures stay as they are."""
    for module in model.modules():
        fused = _FUSED.get(type(module))
        if fused is not None:
            module.__class__ = fused
    return model


class FusedRMSNorm(LlamaRMSNorm):
    """w x / rms(x)."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not _is_fusable(hidden_states) or self.weight.dtype != torch.float32:
            return super().forward(hidden_states)
        found: torch.Tensor = _RMSNorm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]
        return found


class FusedMLP(LlamaMLP):
    """W_down (silu(W_gate x) * W_up x)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = together(x, self.gate_proj, self.up_proj)
        (down,) = together(self.act_fn(gate) * up, self.down_proj)
        return down


class FusedAttention(LlamaAttention):
    """As transformers', but for the products that make queries, keys and values, and their rotation."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if position_embeddings is None or not _is_fusable(hidden_states):
            return super().forward(hidden_states, position_embeddings, attention_mask, past_key_values, **kwargs)
        heads = (*hidden_states.shape[:-1], -1, self.head_dim)
        cos, sin = (table[:, None] for table in position_embeddings)
        query, key, value = (
            states.view(heads).transpose(1, 2)
            for states in together(hidden_states, self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.attention_dropout if self.training else 0.0
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        (said,) = together(output.reshape(*hidden_states.shape[:-1], -1), self.o_proj)
        return said, weights


_FUSED: dict[type[nn.Module], type[nn.Module]] = {
    LlamaRMSNorm: FusedRMSNorm,
    LlamaMLP: FusedMLP,
    LlamaAttention: FusedAttention,
}


@dataclass(frozen=True)
class Projection:
    """y = W x + b + s B A x; without an adapter `down` and `up` are None."""

    weight: torch.Tensor  # W (d_out, d_in)
    bias: torch.Tensor | None  # b (d_out,)
    down: torch.Tensor | None = None  # A (r, d_in)
    up: torch.Tensor | None = None  # B (d_out, r)
    scale: float = 0.0  # s


def projection_of(module: nn.Module) -> Projection | None:
    """What a layer computes; None where it is not a plain linear layer, with at most one plain adapter on it, or where
    somebody put another forward pass or a hook in its place."""
    layers = (module, module.get_base_layer()) if isinstance(module, LoraLinear) else (module,)
    if any("forward" in vars(layer) or layer._forward_hooks or layer._forward_pre_hooks for layer in layers):
        return None
    if type(module) is nn.Linear:
        return Projection(module.weight, module.bias)
    if not isinstance(module, LoraLinear) or type(module.get_base_layer()) is not nn.Linear:
        return None
    if module.disable_adapters or module.merged or module.lora_variant or len(module.active_adapters) != 1:
        return None
    (name,) = module.active_adapters
    dropout, up = module.lora_dropout[name], module.lora_B[name]
    if up.bias is not None or (module.training and getattr(dropout, "p", 0.0) > 0):
        return None
    base = cast(nn.Linear, module.get_base_layer())
    return Projection(base.weight, base.bias, module.lora_A[name].weight, up.weight, module.scaling[name])


def project(x: torch.Tensor, projections: Sequence[Projection]) -> tuple[torch.Tensor, ...]:
    """What each makes of `x` (…, d_in), which all read: (…, d_out) each. They must be without bias.

    Products of an adapter are added to those of its base in place, and in the backward pass each layer's gradient is
    added to that of `x` by the product that makes it: no sums of their own. It cannot be differentiated twice.
    """
    tensors = [tensor for each in projections for tensor in (each.weight, each.down, each.up)]
    found: tuple[torch.Tensor, ...] = _Project.apply(x, [each.scale for each in projections], *tensors)  # type: ignore[no-untyped-call]
    return found


def together(x: torch.Tensor, *layers: nn.Module) -> tuple[torch.Tensor, ...]:
    """What layers make of the same input. A single one without an adapter has nothing to share."""
    if not _is_fusable(x):
        return tuple(layer(x) for layer in layers)
    found = [projection_of(layer) for layer in layers]
    projections = [each for each in found if each is not None and each.bias is None and each.weight.dtype == x.dtype]
    if len(projections) < len(layers) or (len(layers) == 1 and projections[0].down is None):
        return tuple(layer(x) for layer in layers)
    return project(x, projections)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv 2104.09864) as Llama pairs them: dimension i with i + D / 2.

    Args:
        x: (B, H, T, D).
        cos: (B, 1, T, D), the two halves of D alike.
        sin: the same.
    """
    found: torch.Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return found


def _is_fusable(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class _Project(torch.autograd.Function):
    """x (…, d_in) and W, A, B of each layer to y of each."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scales: list[float], *tensors: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        flat = x.reshape(-1, x.shape[-1])
        outputs: list[torch.Tensor] = []
        inner: list[torch.Tensor | None] = []  # A x
        for i, scale in enumerate(scales):
            weight, down, up = tensors[3 * i : 3 * i + 3]
            y = flat @ cast(torch.Tensor, weight).t()
            if down is not None and up is not None:
                inside = flat @ down.t()
                y.addmm_(inside, up.t(), alpha=scale)
            inner.append(None if down is None else inside)
            outputs.append(y.view(*x.shape[:-1], -1))
        learning = any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(flat if learning else None, *tensors, *inner)
        ctx.scales, ctx.shape = scales, x.shape
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        flat, *saved = ctx.saved_tensors
        count = len(ctx.scales)
        x_grad: torch.Tensor | None = None
        found: list[torch.Tensor | None] = []
        for i, (scale, grad) in enumerate(zip(ctx.scales, grads, strict=True)):
            weight, down, up = saved[3 * i : 3 * i + 3]
            of_weight, of_down, of_up = ctx.needs_input_grad[2 + 3 * i : 5 + 3 * i]
            y_grad = grad.reshape(-1, grad.shape[-1])
            inner_grad = None if down is None else (y_grad @ up).mul_(scale)
            if ctx.needs_input_grad[0]:
                x_grad = y_grad @ weight if x_grad is None else x_grad.addmm_(y_grad, weight)
                if inner_grad is not None:
                    x_grad.addmm_(inner_grad, down)
            found += [
                y_grad.t() @ flat if of_weight else None,
                inner_grad.t() @ flat if of_down and inner_grad is not None else None,
                (y_grad.t() @ saved[3 * count + i]).mul_(scale) if of_up else None,
            ]
        return None if x_grad is None else x_grad.view(ctx.shape), None, *found


class _RMSNorm(torch.autograd.Function):
    """y = w x r, r = 1 / sqrt(mean(x²) + eps).

    dx = r (g w - x r² mean(g w x)). The backward pass of layer normalisation with mean 0 is one kernel and takes the
    mean of g w off, which is put back.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        found: torch.Tensor = (x * inverse).mul_(weight)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        size, of_weight = x.shape[-1], ctx.needs_input_grad[1]
        x_grad, weight_grad, _ = torch.ops.aten.native_layer_norm_backward(
            grad.contiguous(), x, (size,), torch.zeros_like(inverse), inverse, weight, None, [True, of_weight, False]
        )
        x_grad.add_((grad @ weight).div_(size)[..., None].mul_(inverse))
        return x_grad, weight_grad if of_weight else None, None


class _Rotation(torch.autograd.Function):
    """The gradient of a rotation is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, sin, -1.0), None, None


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, way: float) -> torch.Tensor:
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-way)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:], value=way)
    return turned
