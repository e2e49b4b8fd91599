"""The best of eight answers of a 135M model with an adapter, all of about one length: here and in transformers.

    python -m benchmarks.peers.best_of_8 SMOLLM2 [--rounds 3] [--tree OTHER] [--save]

As `benchmarks.peers.best_of_n`, at one temperature and on prompts of random tokens; SMOLLM2 is the folder of
SmolLM2-135M, or of another Llama of its size. Seconds are compared for as many tokens drawn.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.adapters import RANK, lay_prompts
from benchmarks.peers.best_of_n import TOLD, Shape, sides
from benchmarks.peers.rows import Row, compare

PROMPTS, PROMPT_TOKENS, SAMPLES, TOKENS = 4, 48, 8, 48
WORK = (
    f"{SAMPLES} answers to each of {PROMPTS} prompts of {PROMPT_TOKENS} tokens by SmolLM2-135M with LoRA of rank "
    f"{RANK}, at most {TOKENS} tokens, "
)
ROW = Row("best_of_8", WORK + "hardly one ends before, drawn and scored", alike={"answers": 0}, per=TOLD, by_hand=True)
SIDES = sides(Shape(SAMPLES, (1.0,), TOKENS, PROMPTS * SAMPLES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    sys.exit(compare(ROW, parser, SIDES, lambda given, folder: lay_prompts(given.base, folder, PROMPTS, PROMPT_TOKENS)))
