"""A PPO iteration in which all prompts and nearly all answers are of one length, so that nothing is won by leaving out
padding: here and in TRL 1.9, the last that had PPO.

    pip install --no-deps --target FOLDER trl==1.9.2
    python -m benchmarks.peers.ppo_even halter-store/smoke --libraries FOLDER [--rounds 7] [--tree OTHER] [--save]

As `benchmarks.peers.ppo`, with models of 1.9 million fresh weights and prompts of random tokens: of the run only the
tokenizer is taken. A thirtieth of the answers ends early, for models that know nothing say an end now and then.
"""

import argparse
import random
import sys
from pathlib import Path

from benchmarks.peers.adapters import lay_rewards, write
from benchmarks.peers.from_store import MODELS, lay_out
from benchmarks.peers.ppo import TRL, Shape, sides
from benchmarks.peers.rows import Row, compare

PROMPT_TOKENS = 48
SHAPE = Shape(prompts=64, mini_batch=16, tokens=32, at_once=64)
LAYERS, WIDTH = 4, 192
ROW = Row(
    "ppo_even",
    f"A PPO iteration of {LAYERS} layers of {WIDTH} with nothing to pad, {SHAPE.prompts} prompts of {PROMPT_TOKENS} "
    f"tokens, answers of {SHAPE.tokens}",
    alike={"prompts": 0},
    sampled="tokens of an answer",
)


def lay_even(store: Path, folder: Path) -> None:
    """Fresh models with the run's tokenizer, and prompts of one length, a third of them adversarial."""
    from models.checkpoint import save_checkpoint
    from models.llama import build_llama
    from models.llama_presets import Architecture
    from models.tokenizer import load_tokenizer

    lay_out(store, folder)
    tokenizer = load_tokenizer(folder / "policy")
    for name in MODELS:
        (folder / name).unlink()
    shape = Architecture(WIDTH, LAYERS, 6, 6, 512, context_length=512, vocab_size=len(tokenizer), tie_embeddings=True)
    model = build_llama(shape, 1, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    save_checkpoint(model, tokenizer, folder / "policy")
    lay_rewards(folder, tokenizer, None, None)
    drawn = random.Random(0)
    ids = [[drawn.randrange(3, len(tokenizer)) for _ in range(PROMPT_TOKENS)] for _ in range(SHAPE.prompts)]
    write(folder, "prompts", [{"ids": prompt, "is_safety": i % 3 == 0} for i, prompt in enumerate(ids)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    taken = compare(ROW, parser, sides(SHAPE), lambda given, folder: lay_even(given.store, folder), older=[TRL])
    sys.exit(taken)
