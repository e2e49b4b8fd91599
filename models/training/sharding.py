"""A training whose weights, gradients and Adam's moments are spread over its processes: each holds its part, and a
block is whole only while it is computed (ZeRO stage 3, arXiv 1910.02054; torch's `fully_shard`).

The weights of one optimizer step and their gradients are those of a training that is not spread, to rounding; what is
written is the same files. transformers' and accelerate's own way is not taken: on CPUs it trains without a word on
unspread copies.
"""

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from models.devices import device


def shard(model: nn.Module, processes: int) -> None:
    """Spread `model`, which is the same in every process, over all of them, in place and block by block: beside its
    part no process holds more than it came with. Raises RuntimeError where the processes have not met, or a parameter
    is left whole: such a training would look like one, and be of another kind."""
    met = distributed.get_world_size() if distributed.is_initialized() else 1
    if met != processes:
        raise RuntimeError(f"{met} of {processes} training processes have met: nothing can be spread over them")
    mesh = init_device_mesh(device().type, (processes,))
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if left := [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]:
        raise RuntimeError(f"{len(left)} parameters are not spread over the processes, the first is {left[0]}")
    # accelerate looks here before it wraps a model, which would spread copies of it
    model._is_accelerate_prepared = True  # type: ignore[assignment]


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that transformers says to keep in one piece."""
    plain = next(each for each in model.modules() if isinstance(each, PreTrainedModel))
    kept = set(plain._no_split_modules or ())
    return [each for each in model.modules() if type(each).__name__ in kept]


def is_sharded(model: nn.Module) -> bool:
    """Whether `model` is spread over processes."""
    return isinstance(model, FSDPModule)


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


def as_the_main_one_decides(wanted: bool) -> bool:
    """What the main process wants; all must ask at the same moment."""
    said = torch.tensor([wanted], dtype=torch.uint8, device=device())
    distributed.broadcast(said, src=0)
    return bool(said.item())
