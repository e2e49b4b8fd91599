"""Reading and drawing with a model that is spread over processes (models/training/sharding.py).

Each pass of such a model is made by all processes together: every block is put together for it from the parts that they
hold. So nobody can make a pass alone, and what is read must be read inside the forward pass of the whole model, where
its outermost weights are put together too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule

from models.devices import device_of

# A process waits so long for the others between two passes; then it ends with an error, and the others with it.
PATIENCE = timedelta(minutes=10)

T = TypeVar("T")


def is_sharded(model: nn.Module) -> bool:
    """Whether `model` is spread over processes."""
    return isinstance(model, FSDPModule)


def within_forward(wrapped: nn.Module, bare: nn.Module, function: Callable[..., T], *inputs: Any) -> T:
    """`function(*inputs)` as the forward pass of `wrapped`, which is `bare` or what distributes it."""
    own = bare.__dict__.get("forward")

    def restore() -> None:
        bare.__dict__.pop("forward", None)
        if own is not None:
            bare.forward = own

    def forward(*inputs: Any) -> T:
        restore()
        return function(*inputs)

    bare.forward = forward
    try:
        return cast(T, wrapped(*inputs))
    finally:
        restore()


def one_pass(model: nn.Module, function: Callable[..., T], *inputs: Any) -> T:
    """`function(*inputs)`, which reads `model` once; of one that is spread as its forward pass, which all processes
    make."""
    return within_forward(model, model, function, *inputs) if is_sharded(model) else function(*inputs)


def without_gradients(model: nn.Module) -> Any:
    """A context in which nothing is recorded. What is put together of a spread model while torch infers could never be
    trained again."""
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


@contextmanager
def lock_step(model: nn.Module) -> Iterator[None]:
    """Inside, each process makes as many passes of a spread causal language model as it needs. All must enter; one that
    is done makes empty passes until all are. Does nothing for a model that is not spread.

    Raises RuntimeError where the others have not come along for PATIENCE: a process that went elsewhere would keep them
    waiting.
    """
    if not is_sharded(model):
        yield
        return
    distributed.barrier()  # whoever is first may wait long: for a checkpoint that the main process writes
    announced = model.register_forward_pre_hook(lambda *_: _anybody(True), prepend=True)
    try:
        yield
    finally:
        announced.remove()
    with torch.no_grad():
        while _anybody(False):
            token = torch.zeros((1, 1), dtype=torch.long, device=device_of(model))
            model(input_ids=token, use_cache=False, logits_to_keep=1)


def _anybody(here: bool) -> bool | None:
    """Whether any process makes a pass now, this one `here`; all must ask. None where this one does: what a hook
    before a pass returns would be taken for its input."""
    wanted = torch.tensor([here], dtype=torch.uint8)
    try:
        distributed.all_reduce(wanted, distributed.ReduceOp.MAX, group=_announcements(PATIENCE))
    except RuntimeError as error:
        raise RuntimeError(
            f"the other training processes did not come along with a pass of the spread model within {PATIENCE}: "
            f"one of them stands elsewhere ({error})"
        ) from None
    return None if here else bool(wanted.item())


@cache
def _announcements(patience: timedelta) -> distributed.ProcessGroup:
    return cast(distributed.ProcessGroup, distributed.new_group(backend="gloo", timeout=patience))
