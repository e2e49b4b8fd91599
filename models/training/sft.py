"""Supervised fine-tuning (Llama 2, section 3.1) on TRL's SFTTrainer: packed dialogues, loss on answers only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from trl import SFTConfig as TrlSFTConfig
from trl import SFTTrainer

from models.checkpoint import save_checkpoint
from models.config import SFTConfig
from models.devices import use_threads
from models.dialogue import Rendered, Renderer
from models.training.hf import run_trainer, training_arguments
from models.training.next_token import NextTokenTrainer
from models.training.packing import IGNORED, PackedCollator, pack
from models.training.processes import data_parallel
from models.training.reporting import Reporter

# TRL takes head and loss tile by tile, which saves the memory of the logits; where they are small it takes longer.
_FUSE_FROM_LOGITS = 2**24


class DialogueTrainer(NextTokenTrainer, SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer with our checkpoints, and without its fused head where the logits are small: those of the tokens
    that are learned are enough then."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        large = inputs["input_ids"].numel() * cast(PreTrainedModel, self.model).config.vocab_size >= _FUSE_FROM_LOGITS
        kind = SFTTrainer if large else NextTokenTrainer
        return kind.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


@data_parallel
def fine_tune(
    model: nn.Module,
    dialogues: Sequence[Rendered],
    renderer: Renderer,
    config: SFTConfig,
    *,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
    name: str = "sft",
    together: bool = True,
) -> dict[str, float]:
    """Fine-tune `model` on rendered dialogues and write it to `out`.

    Only tokens with `loss_mask` True are learned. Whole dialogues are packed into rows of `sequence_length`; position
    ids that start anew keep them apart. A model that does not know these needs `together=False`: each dialogue is a row
    of its own then, and `batch_size` counts dialogues. Raises ValueError for a dialogue without a token to learn, or
    longer than a row.
    """
    use_threads(config.threads)
    for i, dialogue in enumerate(dialogues):
        if not any(dialogue.loss_mask):
            raise ValueError(f"dialogue {i + 1} of {len(dialogues)} has no token to learn from")
        if len(dialogue.input_ids) > config.sequence_length:
            raise ValueError(
                f"dialogue {i + 1} of {len(dialogues)} has {len(dialogue.input_ids)} tokens; "
                f"{name}.sequence_length is {config.sequence_length}: raise it or shorten the dialogue"
            )
    rows = pack(
        [dialogue.input_ids for dialogue in dialogues],
        [
            [token if counts else IGNORED for token, counts in zip(dialogue.input_ids, dialogue.loss_mask, strict=True)]
            for dialogue in dialogues
        ],
        config.sequence_length,
        seed,
        together=together,
    )
    arguments = TrlSFTConfig(
        **training_arguments(
            config,
            work,
            seed,
            num_train_epochs=config.epochs,
            warmup_steps=config.warmup_ratio,
            lr_scheduler_type="cosine",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},  # the rows are packed and labelled already
            loss_type="nll",
        )
    )
    trainer = DialogueTrainer(
        config=config,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=PackedCollator(renderer.pad_id),
        processing_class=renderer.tokenizer,
    )
    tokens = config.epochs * sum(len(dialogue.input_ids) for dialogue in dialogues)
    found = run_trainer(trainer, config, reporter, name, tokens=tokens)
    if trainer.is_world_process_zero():
        save_checkpoint(cast(nn.Module, trainer.model), renderer.tokenizer, out)
    return {**found, "dialogues": float(len(dialogues)), "steps": float(trainer.state.global_step)}
