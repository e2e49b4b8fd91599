"""Training a reward model with LoRA on a 135M model: here, and with TRL's RewardTrainer.

    python -m benchmarks.peers.reward_lora SMOLLM2 [--rounds 3] [--tree OTHER] [--save]

As `benchmarks.peers.reward`, on pairs of random tokens; SMOLLM2 is the folder of SmolLM2-135M, or of another Llama of
its size.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.adapters import RANK, lay_pairs
from benchmarks.peers.reward import of_halter, of_trl
from benchmarks.peers.rows import Row, compare

PAIRS, AT_ONCE = 8, 4
ROW = Row(
    "reward_lora",
    f"A reward model on SmolLM2-135M with LoRA of rank {RANK} on {PAIRS} pairs, prompts of 24 to 72 tokens, answers of "
    f"16 to 64, {AT_ONCE} a step",
    alike={"pairs": 0, "tokens in pairs": 0, "loss": 1e-5},
    by_hand=True,
)
SIDES = {"Halter": of_halter(AT_ONCE), "TRL": of_trl(AT_ONCE)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_pairs(given.base, folder, PAIRS)))
