"""The loss of the next token, from logits of the tokens that are learned alone."""

from typing import Any, cast

import torch
from torch import nn
from transformers import LlamaConfig, PreTrainedModel, Trainer

from models.checkpoint import output_embeddings
from models.last_layer import hidden_at
from models.training.hf import ResumableTrainer
from models.training.packing import IGNORED


class NextTokenTrainer(ResumableTrainer):
    """Mixin: the mean of the cross entropy over all learned tokens of the global batch."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if type(cast(PreTrainedModel, self.model).config) is not LlamaConfig:  # others may scale or cap their logits
            return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, return_outputs, num_items_in_batch)
        losses = self.through(model, inputs, next_token_losses)
        tokens = len(losses) if num_items_in_batch is None else num_items_in_batch
        loss = losses.sum() / tokens * self.args.world_size
        return (loss, {"losses": losses}) if return_outputs else loss


def next_token_losses(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """-log p of each label, (N,) in the order of rows and columns, for the N labels that are not -100.

    inputs: input_ids, position_ids and labels, each (B, T); the token in column t is predicted in column t - 1.
    """
    following = nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED).flatten()
    (places,) = (following != IGNORED).nonzero(as_tuple=True)
    body = {name: tensor for name, tensor in inputs.items() if name != "labels"}
    logits = output_embeddings(model)(hidden_at(model, places, **body))
    return nn.functional.cross_entropy(logits.float(), following[places], reduction="none")
