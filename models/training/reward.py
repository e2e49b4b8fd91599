"""Reward models (Llama 2, section 3.2.2) on TRL's RewardTrainer: margins by rating, auxiliary safety loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import nn
from trl import RewardConfig as TrlRewardConfig
from trl import RewardTrainer

from models.algorithms.ranking import margin_from_rating, ranking_loss, safety_loss
from models.checkpoint import save_checkpoint
from models.config import RewardConfig
from models.devices import use_threads
from models.dialogue import Renderer
from models.prefix_tree import RowCost, TreeBatch, is_tree, lay_trees, plan_batch, row_cost, tree_scores
from models.scoring import last_token_scores, pad_right
from models.training.hf import PairMeanTrainer, run_trainer, training_arguments
from models.training.processes import data_parallel
from models.training.reporting import Reporter

SAFETY_LABELS = ("chosen_safe_other_unsafe", "both_safe", "both_unsafe")


@dataclass(frozen=True)
class Pair:
    """One judged pair as token ids of whole dialogues. `safety_label` is None where nobody gave one."""

    chosen_ids: list[int]
    rejected_ids: list[int]
    rating: str
    safety_label: str | None


class PairTrainer(PairMeanTrainer, RewardTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer with the paper's loss: ranking with a margin, plus the safety classification where there is a
    label."""

    safety_loss_coef = 0.0

    def pairs_in(self, batch: dict[str, torch.Tensor]) -> int:
        return len(batch["margin"])

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """This pass's share of the mean over the pairs of the batch: -log σ(r_c - r_r - m), plus coef · (safety loss of
        both responses) / 2 where a pair has a label."""
        scores = self.through(model, inputs, _scores)
        chosen, rejected = scores.chunk(2)
        losses = ranking_loss(chosen, rejected, inputs["margin"])
        if self.safety_loss_coef > 0:
            both = safety_loss(chosen, inputs["unsafe_chosen"]) + safety_loss(rejected, inputs["unsafe_rejected"])
            losses = losses + self.safety_loss_coef * both * inputs["labelled"] / 2
        loss = self.share_of_mean(losses, num_items_in_batch)
        return (loss, {"scores": scores}) if return_outputs else loss


@data_parallel
def train_reward(
    model: nn.Module,
    pairs: Sequence[Pair],
    renderer: Renderer,
    config: RewardConfig,
    *,
    safety: bool,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Train a reward model on judged pairs and write it to `out`. `safety` adds the auxiliary loss.

    Raises ValueError for a pair longer than `config.max_length` and for unknown ratings or labels.
    """
    use_threads(config.threads)
    for i, pair in enumerate(pairs):
        longest = max(len(pair.chosen_ids), len(pair.rejected_ids))
        if longest > config.max_length:
            raise ValueError(
                f"pair {i + 1} has {longest} tokens; reward.max_length is {config.max_length}: "
                "raise it or drop the pair"
            )
        if pair.safety_label is not None and pair.safety_label not in SAFETY_LABELS:
            raise ValueError(f"unknown safety label {pair.safety_label!r}; use one of {', '.join(SAFETY_LABELS)}")
    rows = Dataset.from_dict(
        {
            "chosen_ids": [pair.chosen_ids for pair in pairs],
            "rejected_ids": [pair.rejected_ids for pair in pairs],
            "rating": [pair.rating for pair in pairs],
            "safety_label": [pair.safety_label or "" for pair in pairs],
        }
    )
    steps = max(1, round(len(pairs) / config.batch_size * config.epochs))
    arguments = TrlRewardConfig(
        **training_arguments(
            config,
            work,
            seed,
            num_train_epochs=config.epochs,
            warmup_steps=max(config.min_warmup_steps, round(config.warmup_ratio * steps)),
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            max_length=None,
        )
    )
    trainer = PairTrainer(
        config=config,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=_Collator(renderer.pad_id, config.margins, row_cost(model)),
        processing_class=renderer.tokenizer,
    )
    trainer.safety_loss_coef = config.safety_loss_coef if safety else 0.0
    tokens = config.epochs * sum(len(pair.chosen_ids) + len(pair.rejected_ids) for pair in pairs)
    found = run_trainer(trainer, config, reporter, "reward", tokens=tokens)
    if trainer.is_world_process_zero():
        save_checkpoint(cast(nn.Module, trainer.model), renderer.tokenizer, out)
    return {**found, "pairs": float(len(pairs)), "steps": float(trainer.state.global_step)}


def _scores(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Scores (2 · pairs) of what the collator laid out: trees, or a row for each response."""
    if "places" in inputs:
        return tree_scores(model, TreeBatch.of(inputs))
    return last_token_scores(model, inputs["input_ids"], inputs["attention_mask"])


class _Collator:
    """All chosen responses, then all rejected ones; those that begin alike share what they begin with, and rows are
    filled, where that costs less. The rating becomes a margin here and nowhere else."""

    def __init__(self, pad_id: int, margins: str, cost: RowCost | None) -> None:
        self.pad_id, self.margins, self.cost = pad_id, margins, cost

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [e["chosen_ids"] for e in examples] + [e["rejected_ids"] for e in examples]
        groups = plan_batch(rows, self.cost)
        if any(map(is_tree, groups)):
            laid_out = vars(lay_trees(rows, groups, self.pad_id))
        else:
            ids, mask = pad_right(rows, self.pad_id)
            laid_out = {"input_ids": ids, "attention_mask": mask}
        labels = [e["safety_label"] for e in examples]
        return {
            **laid_out,
            "margin": torch.tensor([margin_from_rating(e["rating"], self.margins) for e in examples]),
            "labelled": torch.tensor([label != "" for label in labels]),
            "unsafe_chosen": torch.tensor([label == "both_unsafe" for label in labels]),
            "unsafe_rejected": torch.tensor([label in ("both_unsafe", "chosen_safe_other_unsafe") for label in labels]),
        }
