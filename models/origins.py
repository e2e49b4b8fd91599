"""From where the models of this process were opened: what another process needs to open the same."""

from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import nn


@dataclass(frozen=True)
class Origin:
    """A folder, and its base where it may be an adapter, opened as a reward model or as a policy."""

    folder: Path
    base: Path | None
    is_reward: bool
    dtype: str


_origins: "WeakKeyDictionary[nn.Module, Origin]" = WeakKeyDictionary()  # no attribute: a copy would have it as well


def origin_of(model: nn.Module) -> Origin | None:
    """Of a model that is as it lies there; None for one that is trained, or was put together here."""
    return _origins.get(model)


def remembered(
    model: nn.Module, is_as_stored: bool, folder: Path, base: Path | nn.Module | None, is_reward: bool, dtype: str
) -> nn.Module:
    """The same model, known by its origin where it `is_as_stored` and not on the weights of a loaded base."""
    if is_as_stored and not isinstance(base, nn.Module):
        _origins[model] = Origin(folder, base, is_reward, dtype)
    return model
