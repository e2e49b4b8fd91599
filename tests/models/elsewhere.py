"""A second device on a machine that has none: tensors compute on the CPU and lie, as far as Python sees, elsewhere.

A tensor comes there by `.to(DEVICE)` or by a factory's `device=DEVICE`, and so does whatever is computed of it.
Operands from both places are refused as torch refuses them: «Expected all tensors to be on the same device». What
leaves by `.cpu()`, `.tolist()` or `.item()` is on the CPU again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from models import checkpoint, devices

DEVICE = torch.device("cuda", 0)
CPU = torch.device("cpu")
_MOVES = {"to", "cpu", "tolist", "item", "numpy", "copy_", "type", "_has_compatible_shallow_copy_type", "__getitem__"}
_Generator = torch.Generator


class _Elsewhere(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.there: Any = WeakTensorKeyDictionary()  # the tensors that lie on DEVICE
        self.read: list[torch.device] = []

    def place(self, tensor: torch.Tensor) -> torch.device:
        return DEVICE if tensor in self.there else CPU

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "__get__" and func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            real: torch.device = func(*args)  # transformers opens models on "meta", and asks which weights still are
            return DEVICE if self.place(args[0]) == DEVICE else real
        if name == "__set__" and func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            self._put(args[0], self.place(args[1]))
            return func(*args, **kwargs)
        if name == "_parse_to":  # `Module.to` asks what it was given
            return func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        wanted = self._wanted(args, kwargs)
        places = {self.place(tensor) for tensor in tensors}
        strangers = [tensor for tensor in tensors if self.place(tensor) == CPU and tensor.dim() > 0]
        if wanted is None and DEVICE in places and strangers and name not in _MOVES:
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} got {places}")
        args, kwargs = tree_map_only(torch.device, lambda each: CPU if each == DEVICE else each, (args, kwargs))
        result = func(*args, **kwargs)
        if name == "copy_":
            return result
        if wanted is None:
            wanted = CPU if name in ("cpu", "numpy") else (DEVICE if DEVICE in places else CPU)
        if name in ("to", "cpu") and result is args[0] and self.place(result) != wanted:
            result = result.detach().clone()
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._put(leaf, wanted)
        return result

    def _put(self, tensor: torch.Tensor, place: torch.device) -> None:
        if place == DEVICE:
            self.there[tensor] = True
        else:
            self.there.pop(tensor, None)

    @staticmethod
    def _wanted(args: Any, kwargs: Any) -> torch.device | None:
        named = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
        return named[0] if named else None


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.device]]:
    """This process has an accelerator. Gives the place of the weights and of the ids of each forward pass."""
    mode = _Elsewhere()

    def note(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding):
            mode.read += [module.weight.device, inputs[0].device]

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    with monkeypatch.context() as patch:
        for module in (devices, checkpoint):
            patch.setattr(module, "device", lambda: DEVICE)
        patch.setattr(torch, "Generator", lambda device=CPU: _Generator())
        try:
            with mode:
                yield mode.read
        finally:
            hook.remove()
