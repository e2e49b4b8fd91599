"""A policy of a few weights that was never trained: what it says is noise, drawn as any policy draws."""

from pathlib import Path
from typing import Any

import torch

from models.checkpoint import load_policy, reward_from_policy, save_checkpoint
from models.config import TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.engine.step import Output

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"


def little_tokenizer(folder: Path) -> Path:
    """A tokenizer of a few words."""
    texts = [" ".join(WORDS.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder, TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    return folder


def little_policy(folder: Path, seed: int = 5) -> Path:
    """The checkpoint of a policy with room for 128 tokens."""
    renderer = Renderer(load_tokenizer(little_tokenizer(folder / "tokenizer")))
    shape = Architecture(16, 1, 2, 2, 32, context_length=128, vocab_size=len(renderer.tokenizer))
    model = build_llama(shape, seed, renderer.pad_id, 1, renderer.tokenizer.eos_token_id)
    save_checkpoint(model, renderer.tokenizer, folder / "policy")
    return folder / "policy"


def terse_policy(folder: Path, seed: int = 5) -> Path:
    """The same, but about every second token ends the answer.

    The first number of every hidden state is about 4 (all else is small beside it, and 16 numbers have a mean square of
    1), so the end has a logit of about 6, and 319 other tokens one of about 0.
    """
    policy = little_policy(folder, seed)
    model, renderer = load_policy(policy), Renderer(load_tokenizer(policy))
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 10.0
        model.get_output_embeddings().weight[renderer.end_ids[0]] = 0.0
        model.get_output_embeddings().weight[renderer.end_ids[0], 0] = 1.5
    save_checkpoint(model, renderer.tokenizer, policy)
    return policy


def with_reward_model(folder: Path) -> Path:
    """The policy's folder; beside it lies a reward model now, whose score hangs on every token that it reads."""
    model = reward_from_policy(folder, None, lora=None, seed=0)
    torch.manual_seed(3)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.5)
    save_checkpoint(model, load_tokenizer(folder), folder.parent / "reward")
    return folder


SAMPLED = {
    "candidates": Output("dataset", "response"),
    "scores": Output("dataset", "score"),
    "picks": Output("dataset", "dialogue"),
}
"""What rejection sampling makes."""


def llama_prompts(count: int) -> list[dict[str, Any]]:
    """Prompts for it."""
    return [
        {
            "prompt_id": f"h{n}",
            "source": "p",
            "kind": "import",
            "axis": "helpfulness",
            "split": "train",
            "messages": [{"role": "user", "content": f"ask the llama {n}"}],
        }
        for n in range(count)
    ]
