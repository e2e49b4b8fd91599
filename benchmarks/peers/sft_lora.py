"""Fine-tuning a 135M model with LoRA on demonstrations: here, and with TRL's SFTTrainer, with its packing and without.

    python -m benchmarks.peers.sft_lora SMOLLM2 [--rounds 3] [--tree OTHER] [--save]

As `benchmarks.peers.sft`, on dialogues of random tokens; SMOLLM2 is the folder of SmolLM2-135M, or of another Llama of
its size. Rows of 256 tokens, two a step.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.adapters import RANK, lay_dialogues
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.sft import sides

DIALOGUES, WIDTH, ROWS = 12, 256, 2
ROW = Row(
    "sft_lora",
    f"SFT of SmolLM2-135M with LoRA of rank {RANK} on {DIALOGUES} dialogues of 32 to 128 tokens, half of them learned",
    alike={"tokens learned": 0, "loss": 1e-5},
    by_hand=True,
)
SIDES = sides(WIDTH, ROWS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_dialogues(given.base, folder, DIALOGUES)))
