"""Pretraining of the demo's size: here, with transformers' Trainer as its example script runs it, and in a bare loop.

    python -m benchmarks.peers.pretrain [--rounds 7] [--tree OTHER] [--save]

3 layers of 128, 1,024 pieces, 12 rows of 128 tokens a step, documents of 8 to 50 tokens (29 in the mean). Halter packs
whole documents and keeps them apart; the example script joins all documents and cuts them into rows, where a token sees
the documents before its own, and the bare loop learns from the same rows without a Trainer. A turn is 10 steps. Rows
are filled a little less than theirs, so seconds are compared for as many tokens learned.
"""

import argparse
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.opened import LEARNING_RATE, NO_END
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback

DOCUMENTS, ROWS, WIDTH, STEPS = 40_000, 12, 128, 10
LENGTHS = range(8, 51)
ROW = Row(
    "pretrain",
    f"Pretraining, {STEPS} steps of {ROWS} rows of {WIDTH} tokens, 3 layers of 128, documents of 29 tokens in the mean",
    alike={"tokens learned": 0.1},
    per="tokens learned",
)


def documents() -> list[list[int]]:
    """Random tokens, a beginning before each."""
    drawn = random.Random(0)
    return [[1, *(drawn.randrange(4, 1024) for _ in range(drawn.choice(LENGTHS) - 1))] for _ in range(DOCUMENTS)]


def little() -> "nn.Module":
    """The demo's architecture with fresh weights."""
    from models.llama import build_llama
    from models.llama_presets import PRESETS

    model = build_llama(replace(PRESETS["little"], vocab_size=1024), 1, 3, 1, 2)
    model.config.use_cache = False
    return model


def blocks() -> list[dict[str, list[int]]]:
    """All documents one behind the other, cut into rows, as `group_texts` of run_clm.py does."""
    joined = [token for document in documents() for token in document]
    rows = [joined[start : start + WIDTH] for start in range(0, len(joined) - WIDTH + 1, WIDTH)]
    return [{"input_ids": row, "attention_mask": [1] * WIDTH, "labels": row} for row in rows]


def turns_of(turn: Turn, tokens: float) -> "TrainerCallback":
    """Takes turns of STEPS steps in a Trainer's loop."""
    from transformers import TrainerCallback

    class Takes(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turn.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % STEPS == 0:
                turn.end(**{"tokens learned": tokens})
                turn.begin()

    return Takes()


def of_halter(folder: Path) -> None:
    """The trainer of the step, its data and its arguments."""
    import torch
    from transformers import TrainingArguments

    from models.config import PretrainConfig
    from models.training.hf import run_trainer, training_arguments
    from models.training.packing import PackedCollator, pack
    from models.training.pretrain import OPEN_ROWS, PretrainTrainer
    from models.training.reporting import Quiet

    torch.set_num_threads(1)
    pieces, turn = documents(), Turn()
    rows, tokens = pack(pieces, pieces, WIDTH, 0, open_rows=OPEN_ROWS), sum(map(len, pieces))
    del pieces  # as `pretrain` does
    config = PretrainConfig(
        learning_rate=LEARNING_RATE, batch_size=ROWS, max_steps=NO_END, warmup_steps=0, sequence_length=WIDTH,
        checkpoint_seconds=1e9,
    )  # fmt: skip
    arguments = TrainingArguments(**training_arguments(config, folder, 0, max_steps=NO_END))
    trainer = PretrainTrainer(
        config=config, model=little(), args=arguments, train_dataset=rows, data_collator=PackedCollator(3)
    )
    trainer.add_callback(turns_of(turn, tokens / len(rows) * ROWS * STEPS))
    run_trainer(trainer, config, Quiet(), "pretrain")


def of_trainer(folder: Path) -> None:
    """As examples/pytorch/language-modeling/run_clm.py."""
    import torch
    from datasets import Dataset
    from transformers import LlamaForCausalLM, Trainer, TrainingArguments, default_data_collator

    torch.set_num_threads(1)
    turn, model = Turn(), LlamaForCausalLM(little().config)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=ROWS, learning_rate=LEARNING_RATE,
        max_steps=NO_END, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=False, logging_steps=10,
    )  # fmt: skip
    Trainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(blocks()), data_collator=default_data_collator,
        callbacks=[turns_of(turn, ROWS * WIDTH * STEPS)],
    ).train()  # fmt: skip


def of_loop(_: Path) -> None:
    """Nothing but torch around transformers' model."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(1)
    turn, model = Turn(), LlamaForCausalLM(little().config).train()
    rows = torch.tensor([row["input_ids"] for row in blocks()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    while True:
        turn.begin()
        for _ in range(STEPS):
            batch = rows[torch.randint(len(rows), (ROWS,))]
            model(input_ids=batch, labels=batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        turn.end(**{"tokens learned": ROWS * WIDTH * STEPS})


SIDES = {"Halter": of_halter, "transformers Trainer": of_trainer, "bare loop": of_loop}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sys.exit(compare(ROW, parser, SIDES, lambda *_: None))
