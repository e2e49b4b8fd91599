"""A training whose weights, gradients and Adam's moments are spread over its processes: each holds its part, and a
block is whole only while it is computed (ZeRO stage 3, arXiv 1910.02054; torch's `fully_shard`).

The weights of one optimizer step and their gradients are those of a training that is not spread, to rounding; what is
written is the same files. transformers' and accelerate's own way is not taken: on CPUs it trains without a word on
unspread copies.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.checkpoint import save_checkpoint
from models.devices import device
from models.lock_step import is_sharded


def shard(*models: nn.Module, processes: int) -> None:
    """Spread models, which are the same in every process, over all of them, in place and block by block: beside its
    part no process holds more than it came with. What several of the models hold is spread once, and stays shared.
    Raises RuntimeError where the processes have not met, or a parameter is left whole or has become several: such a
    training would look like one, and be of another kind."""
    met = distributed.get_world_size() if distributed.is_initialized() else 1
    if met != processes:
        raise RuntimeError(f"{met} of {processes} training processes have met: nothing can be spread over them")
    mesh = init_device_mesh(device().type, (processes,))
    held = _distinct(models)
    for blocks in zip_longest(*map(_blocks, models)):
        _spread([block for block in blocks if block is not None], mesh)
    _spread(models, mesh)
    if left := [name for model in models for name, each in model.named_parameters() if not isinstance(each, DTensor)]:
        raise RuntimeError(f"{len(left)} parameters are not spread over the processes, the first is {left[0]}")
    if _distinct(models) != held:
        raise RuntimeError(
            f"of {held} parameters {_distinct(models)} became: what models share is spread more than once"
        )
    for model in models:  # accelerate looks here before it wraps a model, which would spread copies of it
        model._is_accelerate_prepared = True  # type: ignore[assignment]


def _spread(modules: Sequence[nn.Module], mesh: DeviceMesh) -> None:
    """Each of the modules becomes one that is put together as a whole. What they share is the part of the first."""
    parts: dict[nn.Parameter, nn.Parameter] = {}
    for module in modules:
        whole = [(each, name, was) for each in module.modules() for name, was in _own_parameters(each)]
        fully_shard(module, mesh=mesh, reshard_after_forward=True)  # what lies outside the blocks, too
        for each, name, was in whole:
            if not isinstance(was, DTensor):  # (a block's are parts already)
                each._parameters[name] = parts.setdefault(was, cast(nn.Parameter, each._parameters[name]))


def _own_parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, each) for name, each in module._parameters.items() if each is not None]


def _distinct(models: Sequence[nn.Module]) -> int:
    return len({id(parameter) for model in models for parameter in model.parameters()})


def add_up_gradients(model: nn.Module) -> None:
    """From here on the gradients of a spread model are the sum of those of its processes, not their mean."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # other ways to divide by 1 exist on GPUs alone


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that transformers says to keep in one piece."""
    plain = next(each for each in model.modules() if isinstance(each, PreTrainedModel))
    kept = set(plain._no_split_modules or ())
    return [each for each in model.modules() if type(each).__name__ in kept]


def own(tensor: torch.Tensor) -> torch.Tensor:
    """The part of this process; a tensor that is not spread as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of it, where it was spread in the memory of the machine; every process must ask for the same ones in the same
    order. A tensor that is not spread as it is."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def spread_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The part of `tensor`, which every process has whole, that `like` has of its own; as it is where `like` is not
    spread, or is of another shape (Adam counts its steps in a single number)."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    moved = tensor.to(like.device)
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)


def gather(model: nn.Module, *, keep: bool) -> None:
    """Undo `shard` after the training where this process is to `keep` the weights, in the memory of the machine; all
    processes must call it. What several modules share stays shared."""
    found: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) not in found:
                complete = whole(parameter.detach())
                found[id(parameter)] = nn.Parameter(complete, parameter.requires_grad) if keep else parameter
            if keep:
                module._parameters[name] = found[id(parameter)]
        if keep and isinstance(module, FSDPModule):
            module.__class__ = type(module).__mro__[2]  # (the class that fully_shard made, FSDPModule, the model's)


def save_spread(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path, *, here: bool) -> None:
    """`save_checkpoint` of a model that may be spread and is trained on; all processes must call it, and one writes
    `here`. The weights are put together one after another, in the memory of the machine: of adapters theirs alone."""
    if not is_sharded(model):
        return save_checkpoint(model, tokenizer, folder) if here else None
    found: dict[int, torch.Tensor] = {}  # what stands under several names is one tensor
    named: dict[str, torch.Tensor] = {}
    for name, each in model.state_dict(keep_vars=True).items():
        if isinstance(model, PeftModel) and not each.requires_grad:
            continue
        if id(each) not in found:
            complete = whole(each.detach())
            found[id(each)] = complete if here else each
        named[name] = found[id(each)]
    return save_checkpoint(model, tokenizer, folder, named) if here else None


def as_the_main_one_decides(wanted: bool) -> bool:
    """What the main process wants; all must ask at the same moment."""
    said = torch.tensor([wanted], dtype=torch.uint8, device=device())
    distributed.broadcast(said, src=0)
    return bool(said.item())
