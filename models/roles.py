"""The five models of PPO behind one interface: whole models, or adapters on one base that is in memory once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from models.checkpoint import is_adapter, load_policy, load_reward
from models.config import LoraConfig
from models.devices import CPU
from models.lock_step import is_sharded
from models.prefix_tree import RowCost, row_cost

if TYPE_CHECKING:
    from models.training.policy_server import PolicyServer


@dataclass(frozen=True)
class Roles:
    """Trained: policy, value. Frozen: reference (the policy as it was at the start), safety and helpfulness reward
    models.

    Each role is a model of its own, with its own gradients and its own training and evaluation mode. Whether some of
    them hold the same weights shows in memory alone.
    """

    policy: nn.Module
    reference: nn.Module
    value: nn.Module
    safety: nn.Module
    helpfulness: nn.Module
    server: "PolicyServer | None" = None
    """Who draws the policy's answers in its place."""

    @property
    def trained(self) -> dict[str, nn.Module]:
        """The roles that have an optimizer."""
        return {"policy": self.policy, "value": self.value}

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """All five."""
        return self.policy, self.reference, self.value, self.safety, self.helpfulness

    @property
    def row_cost(self) -> RowCost | None:
        """What rows cost that all five read; None where prefix trees do not fit one of them."""
        costs = [row_cost(model) for model in self.models]
        return None if None in costs else costs[0]

    def place(self, device: torch.device, *, gradient_checkpointing: bool = False) -> None:
        """Move all roles but those that are spread. Weights are moved in place, so shared ones stay shared."""
        for model in self.models:
            if not is_sharded(model):
                model.to(device)
        for model in self.trained.values() if gradient_checkpointing else ():
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]

    def weight_bytes(self) -> int:
        """Bytes of all weights; what several roles share counts once."""
        storages = {
            parameter.untyped_storage().data_ptr(): parameter.untyped_storage().nbytes()
            for model in self.models
            for parameter in model.parameters()
        }
        return sum(storages.values())


def open_roles(
    *,
    policy: Path,
    safety: Path,
    helpfulness: Path,
    base: Path | None,
    lora: LoraConfig | None,
    dtype: str = "float32",
) -> Roles:
    """The roles from three checkpoints. The value model starts as the helpfulness model.

    Without `lora` the checkpoints are whole models and so is each role: five times the weights.

    With `lora` the checkpoints are adapters on `base`, each complete with respect to it, and every role is made of its
    adapter, its head where it has one, and the weights of one frozen base. The roles do not take turns on one model
    (`set_adapter` of peft): each has modules of its own over the same parameters, so that no role can be the active one
    by mistake, no switch changes `requires_grad` under an optimizer, and what one role's forward recorded is not
    changed before its backward, gradient checkpointing included.

    The reference is a second, frozen copy of the adapter that the policy starts from. Its adapters off would give the
    base, from which V0 was made; PPO starts from the last fine-tuning, whose adapter is no longer empty.

    All are on the CPU: the trainer moves them in the process that trains. `dtype` is that of the reward models, and of
    the one base. Policy and reference are held alike, so that before the first step their distance is exactly 0.

    Raises ValueError where `lora` and a checkpoint do not fit.
    """
    if lora is None:
        return Roles(
            policy=load_policy(policy, base, trainable=True, dtype=dtype),
            reference=load_policy(policy, base, on=CPU),
            value=load_reward(helpfulness, base, trainable=True, dtype=dtype),
            safety=load_reward(safety, base, dtype=dtype, on=CPU),
            helpfulness=load_reward(helpfulness, base, dtype=dtype, on=CPU),
        )
    for name, folder in (("policy", policy), ("safety reward", safety), ("helpfulness reward", helpfulness)):
        if not is_adapter(folder):
            raise ValueError(
                f"the {name} model is no adapter: make all models of a run with `lora`, or leave it out here"
            )
    if base is None:
        raise ValueError("adapters need their base model: give the base's folder")
    shared = load_policy(base, dtype=dtype, on=CPU)
    return Roles(
        policy=load_policy(policy, shared, trainable=True),
        reference=load_policy(policy, shared, on=CPU),
        value=load_reward(helpfulness, shared, trainable=True),
        safety=load_reward(safety, shared, on=CPU),
        helpfulness=load_reward(helpfulness, shared, on=CPU),
    )
