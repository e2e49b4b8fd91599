"""Fine-tuning on demonstrations: here, and with TRL's SFTTrainer, with its packing and without.

    python -m benchmarks.peers.sft halter-store/smoke [--rounds 7] [--tree OTHER] [--save]

A turn is one pass over the demonstrations of a finished run, by its policy, rows of 320 tokens, two a step. TRL packs
by «bfd», which is best fit and keeps dialogues apart as Halter does; unpacked its steps have as many dialogues as ours
in the mean. Before a turn is timed, all sides must learn the same tokens at the same loss.
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

DIALOGUES, WIDTH, ROWS = 200, 320, 2
ROW = Row(
    "sft",
    f"SFT on {DIALOGUES} demonstrations of the smoke run (2 layers of 96), rows of {WIDTH} tokens, {ROWS} a step",
    alike={"tokens learned": 0, "loss": 1e-5},
)


def learned(trainer: Any) -> dict[str, float]:
    """What a pass over the trainer's rows learns: tokens, and their mean loss."""
    import torch

    tokens, loss = 0, 0.0
    with torch.no_grad():
        for batch in trainer.get_train_dataloader():
            counted = int((batch["labels"][:, 1:] != -100).sum())
            loss += (
                float(trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(counted))) * counted
            )
            tokens += counted
    return {"tokens learned": tokens, "loss": loss / tokens}


def of_halter(width: int, rows: int) -> Callable[[Path], None]:
    """The trainer of the step, as the step calls it."""

    def side(folder: Path) -> None:
        from models.checkpoint import load_policy
        from models.config import SFTConfig
        from models.dialogue import Rendered
        from models.training import sft
        from models.training.reporting import Quiet
        from tasks.answers import open_renderer

        turn = Turn()
        dialogues = [Rendered(**row, message_lengths=[]) for row in read(folder, "dialogues")]
        listen(sft, lambda trainer: epochs_of(trainer, turn, learned(trainer)))
        config = SFTConfig(
            learning_rate=LEARNING_RATE, batch_size=rows, epochs=NO_END, sequence_length=width, checkpoint_seconds=1e9
        )
        sft.fine_tune(
            load_policy(folder / "policy", base_of(folder), trainable=True),
            dialogues, open_renderer(folder / "policy"), config,
            out=folder / "out", work=folder / "work", seed=0, reporter=Quiet(),
        )  # fmt: skip

    return side


def of_trl(width: int, rows: int, **packing: Any) -> Callable[[Path], None]:
    """Its trainer on the same token ids."""

    def side(folder: Path) -> None:
        import torch
        from datasets import Dataset
        from transformers import AutoModelForCausalLM
        from trl import SFTConfig, SFTTrainer

        torch.set_num_threads(1)
        turn, found = Turn(), read(folder, "dialogues")
        dialogues = [{"input_ids": row["input_ids"], "completion_mask": [*map(int, row["loss_mask"])]} for row in found]
        tokens = sum(len(row["input_ids"]) for row in found)
        at_once = rows if packing else round(rows * width * len(found) / tokens)
        trainer = SFTTrainer(
            model=with_transformers(AutoModelForCausalLM, folder, "policy"),
            args=SFTConfig(
                **trl_arguments(folder, at_once),
                max_length=width,
                completion_only_loss=True,
                shuffle_dataset=True,
                **packing,
            ),
            train_dataset=Dataset.from_list(dialogues),
            processing_class=tokenizer_of(folder),
        )
        epochs_of(trainer, turn, learned(trainer))
        trainer.train()

    return side


def sides(width: int, rows: int) -> dict[str, Callable[[Path], None]]:
    """All three, with `rows` rows of `width` tokens a step."""
    return {
        "Halter": of_halter(width, rows),
        "TRL, packed": of_trl(width, rows, packing=True, packing_strategy="bfd"),
        "TRL, a dialogue a row": of_trl(width, rows),
    }


SIDES = sides(WIDTH, ROWS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, dialogues=DIALOGUES)))
