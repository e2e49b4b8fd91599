"""Loss and gradients of a trainer's first optimizer step."""

from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl


class _FirstGradients(TrainerCallback):
    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        model: nn.Module = kwargs["model"]
        self.gradients = {
            name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
        }
        control.should_training_stop = True


def first_step(trainer: Trainer) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the first optimizer step, as the trainer itself computes them."""
    callback = _FirstGradients()
    trainer.add_callback(callback)
    trainer.args.max_steps = 1
    trainer.args.max_grad_norm = 1e9
    loss = trainer.train().training_loss
    return loss, callback.gradients


def same_gradients(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Both hold the same gradients, and they are not all zero."""
    assert first.keys() == second.keys()
    assert max(float(gradient.abs().max()) for gradient in first.values()) > 1e-3
    for name, gradient in first.items():
        torch.testing.assert_close(
            second[name], gradient, atol=2e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
