"""Argument checks shared by the algorithms: wrong shapes and masks are refused, never broadcast."""

from __future__ import annotations

import torch


def require_vectors(**tensors: torch.Tensor) -> None:
    """Raise ValueError unless every tensor is (B,) with the same B."""
    _require_same_shape(1, "(B,)", tensors)


def require_matrices(**tensors: torch.Tensor) -> None:
    """Raise ValueError unless every tensor is (B, T) with the same B and T."""
    _require_same_shape(2, "(B, T)", tensors)


def require_mask(mask: torch.Tensor, name: str = "response_mask") -> None:
    """Raise ValueError unless `mask` is a bool tensor. An integer mask would index instead of select."""
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} must be a bool tensor (True = counts), got {mask.dtype}")


def _require_same_shape(dimensions: int, wanted: str, tensors: dict[str, torch.Tensor]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != dimensions for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected one common shape {wanted}, got {listed}")
