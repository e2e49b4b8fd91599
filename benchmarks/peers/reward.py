"""Training a reward model on judged pairs: here, and with TRL's RewardTrainer.

    python -m benchmarks.peers.reward halter-store/smoke [--rounds 7] [--tree OTHER] [--save]

A turn is one pass over pairs of a finished run, by its helpfulness model, without margins, 16 pairs a step. Before a
turn is timed, both sides must read the same pairs and tokens at the same loss.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.from_store import lay_out, read
from benchmarks.peers.opened import LEARNING_RATE, NO_END, base_of, tokenizer_of, trl_arguments, with_transformers
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn, epochs_of, listen

PAIRS, AT_ONCE = 320, 16
ROW = Row(
    "reward",
    f"A reward model on {PAIRS} pairs of the smoke run (2 layers of 96), {AT_ONCE} a step",
    alike={"pairs": 0, "tokens in pairs": 0, "loss": 1e-5},
)


def judged(trainer: Any) -> dict[str, float]:
    """What a pass over the trainer's pairs reads, and the mean of -log σ(r_c - r_r)."""
    import torch

    read_pairs, loss = 0, 0.0
    with torch.no_grad():
        for batch in trainer.get_train_dataloader():
            here = len(batch["margin"]) if "margin" in batch else len(batch["input_ids"]) // 2
            loss += float(trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(here))) * here
            read_pairs += here
    tokens = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in trainer.train_dataset)
    return {"pairs": read_pairs, "tokens in pairs": tokens, "loss": loss / read_pairs}


def whole(pairs: list[dict[str, Any]]) -> list[dict[str, list[int]]]:
    """Each side as one dialogue."""
    return [{side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")} for row in pairs]


def of_halter(at_once: int) -> Callable[[Path], None]:
    """The trainer of the step, as the step calls it."""

    def side(folder: Path) -> None:
        from models.checkpoint import load_reward
        from models.config import RewardConfig
        from models.training import reward
        from models.training.reporting import Quiet
        from tasks.answers import open_renderer

        turn = Turn()
        listen(reward, lambda trainer: epochs_of(trainer, turn, judged(trainer)))
        config = RewardConfig(
            learning_rate=LEARNING_RATE, batch_size=at_once, epochs=NO_END, margins="none", checkpoint_seconds=1e9
        )
        reward.train_reward(
            load_reward(folder / "helpfulness", base_of(folder), trainable=True),
            [reward.Pair(**row, rating="better", safety_label=None) for row in whole(read(folder, "pairs"))],
            open_renderer(folder / "policy"), config,
            safety=False, out=folder / "out", work=folder / "work", seed=0, reporter=Quiet(),
        )  # fmt: skip

    return side


def of_trl(at_once: int) -> Callable[[Path], None]:
    """Its trainer on the same token ids."""

    def side(folder: Path) -> None:
        import torch
        from datasets import Dataset
        from transformers import AutoModelForSequenceClassification
        from trl import RewardConfig, RewardTrainer

        torch.set_num_threads(1)
        turn = Turn()
        trainer = RewardTrainer(
            model=with_transformers(AutoModelForSequenceClassification, folder, "helpfulness", num_labels=1),
            args=RewardConfig(**trl_arguments(folder, at_once), max_length=None),
            train_dataset=Dataset.from_list(whole(read(folder, "pairs"))),
            processing_class=tokenizer_of(folder),
        )
        epochs_of(trainer, turn, judged(trainer))
        trainer.train()

    return side


SIDES = {"Halter": of_halter(AT_ONCE), "TRL": of_trl(AT_ONCE)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, pairs=PAIRS)))
