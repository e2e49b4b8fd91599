"""Direct preference optimisation: here, and with TRL's DPOTrainer, its reference in memory and read in each step.

    python -m benchmarks.peers.dpo halter-store/smoke [--rounds 7] [--tree OTHER] [--save]

A turn is one pass over pairs of a finished run, by its policy, 16 pairs a step. Halter reads the reference before the
first step and once for all passes; here it reads it in every turn, since a run makes one pass. Before a turn is timed,
the summed log-probabilities of the answers must be alike; the loss itself is log 2 for any model that is its own
reference.
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
    "dpo",
    f"DPO on {PAIRS} pairs of the smoke run (2 layers of 96), {AT_ONCE} a step, one pass",
    alike={"pairs": 0, "log-probability of an answer": 1e-5},
)


def of_halter(at_once: int) -> Callable[[Path], None]:
    """The trainer of the step, as the step calls it, and its reading of the reference."""

    def side(folder: Path) -> None:
        import torch

        from models.checkpoint import load_policy
        from models.config import DPOConfig, SamplingConfig
        from models.training import dpo
        from models.training.reporting import Quiet
        from tasks.answers import open_renderer

        turn = Turn()
        pairs = [dpo.PreferencePair(**row) for row in read(folder, "pairs")]
        config = DPOConfig(
            learning_rate=LEARNING_RATE, batch_size=at_once, epochs=NO_END, validate_every=NO_END, kl_prompts=1,
            sampling=SamplingConfig(max_new_tokens=4), checkpoint_seconds=1e9,
        )  # fmt: skip

        def called(trainer: Any) -> None:
            total, count = 0.0, 0
            with torch.no_grad():
                for batch in trainer.get_train_dataloader():
                    logprobs = dpo._token_logprobs(trainer.model, batch, config) * batch["response_mask"]
                    total, count = total + float(logprobs.sum()), count + len(logprobs) // 2
            reference = trainer.model
            epochs_of(
                trainer, turn, {"pairs": count, "log-probability of an answer": total / count / 2},
                before=lambda: dpo._with_reference(reference, pairs, trainer.collator, config),
            )  # fmt: skip

        listen(dpo, called)
        dpo.train_dpo(
            load_policy(folder / "policy", base_of(folder), trainable=True), pairs, pairs[:2],
            open_renderer(folder / "policy"), config,
            out=folder / "out", work=folder / "work", seed=0, reporter=Quiet(),
        )  # fmt: skip

    return side


def of_trl(at_once: int) -> Callable[[Path], None]:
    """Its trainer on the same token ids."""

    def side(folder: Path) -> None:
        import torch
        from datasets import Dataset
        from transformers import AutoModelForCausalLM
        from trl import DPOConfig, DPOTrainer

        torch.set_num_threads(1)
        turn = Turn()

        class OfIds(DPOTrainer):  # type: ignore[misc]  # TRL has no types
            def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
                return dataset  # the ids are there, and not all of them can be written as text

        trainer = OfIds(
            model=with_transformers(AutoModelForCausalLM, folder, "policy"),
            args=DPOConfig(**trl_arguments(folder, at_once), max_length=None, precompute_ref_log_probs=False),
            train_dataset=Dataset.from_list(read(folder, "pairs")),
            processing_class=tokenizer_of(folder),
        )
        total, count, seen = 0.0, 0, trainer._metrics["train" if trainer.model.training else "eval"]
        with torch.no_grad():
            for batch in trainer.get_train_dataloader():
                trainer.compute_loss(trainer.model, batch)
                here = len(batch["input_ids"]) // 2
                total, count = total + here * (seen["logps/chosen"][-1] + seen["logps/rejected"][-1]), count + here
        epochs_of(trainer, turn, {"pairs": count, "log-probability of an answer": total / count / 2})
        trainer.train()

    return side


SIDES = {"Halter": of_halter(AT_ONCE), "TRL": of_trl(AT_ONCE)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, pairs=PAIRS)))
