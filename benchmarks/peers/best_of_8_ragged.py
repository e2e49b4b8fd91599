"""The best of eight answers of a 135M model with an adapter, of very different lengths: here and in transformers.

    python -m benchmarks.peers.best_of_8_ragged SMOLLM2 [--rounds 3] [--tree OTHER] [--save]

As `benchmarks.peers.best_of_8`; each id that 16 divides ends an answer.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.adapters import lay_prompts
from benchmarks.peers.best_of_8 import PROMPT_TOKENS, PROMPTS, SAMPLES, TOKENS, WORK
from benchmarks.peers.best_of_n import TOLD, Shape, sides
from benchmarks.peers.rows import Row, compare

EVERY = 16
ROW = Row(
    "best_of_8_ragged",
    WORK + "most of them end before, drawn and scored",
    alike={"answers": 0},
    per=TOLD,
    by_hand=True,
)
SIDES = sides(Shape(SAMPLES, (1.0,), TOKENS, PROMPTS * SAMPLES, EVERY))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_prompts(given.base, folder, PROMPTS, PROMPT_TOKENS)))
