"""SmolLM2-135M, or another Llama of its size, with adapters on it, and data of random tokens for it."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from models.config import LoraConfig

RANK = 8
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
REWARDS = ("safety", "helpfulness")


def lay_adapters(base: Path, folder: Path) -> None:
    """The base, and a policy and two reward models on it, whose adapters are not nothing."""
    import torch

    from models.checkpoint import load_policy, save_checkpoint
    from models.config import LoraConfig
    from models.tokenizer import load_tokenizer

    torch.manual_seed(0)
    (folder / "base").symlink_to(base.resolve())
    lora, tokenizer = LoraConfig(rank=RANK, alpha=2 * RANK), load_tokenizer(base)
    policy = load_policy(base, lora=lora, trainable=True)
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.002)
    save_checkpoint(policy, tokenizer, folder / "policy")
    lay_rewards(folder, tokenizer, base, lora)


def lay_rewards(
    folder: Path, tokenizer: "PreTrainedTokenizerBase", base: Path | None, lora: "LoraConfig | None"
) -> None:
    """Two reward models on the policy in the folder, whose heads are not nothing."""
    import torch

    from models.checkpoint import reward_from_policy, save_checkpoint, scalar_head

    for kind in REWARDS:
        reward = reward_from_policy(folder / "policy", base, lora=lora, seed=1)
        with torch.no_grad():
            for weight in scalar_head(reward).parameters():
                weight.normal_(std=0.02)
        save_checkpoint(reward, tokenizer, folder / kind)


class Drawn:
    """Token ids, the same in each process."""

    def __init__(self, folder: Path) -> None:
        from models.tokenizer import load_tokenizer

        self.random, self.tokens = random.Random(0), len(load_tokenizer(folder / "base"))

    def ids(self, lengths: Sequence[int]) -> list[int]:
        """As many as one of the lengths says."""
        return [self.random.randrange(3, self.tokens) for _ in range(self.random.choice(lengths))]


def write(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Where `from_store.read` finds them."""
    (folder / f"{name}.json").write_text(json.dumps(rows))


def lay_pairs(base: Path, folder: Path, pairs: int) -> None:
    """Prompts of 24 to 72 tokens with two answers of 16 to 64."""
    lay_adapters(base, folder)
    drawn, prompts, answers = Drawn(folder), range(24, 73), range(16, 65)
    rows = [
        {"prompt_ids": drawn.ids(prompts), "chosen_ids": drawn.ids(answers), "rejected_ids": drawn.ids(answers)}
        for _ in range(pairs)
    ]
    write(folder, "pairs", rows)


def lay_dialogues(base: Path, folder: Path, dialogues: int) -> None:
    """Prompts of 16 to 64 tokens, and answers as long, which are learned."""
    lay_adapters(base, folder)
    drawn, lengths = Drawn(folder), range(16, 65)
    rows = []
    for _ in range(dialogues):
        prompt, answer = drawn.ids(lengths), drawn.ids(lengths)
        rows.append({"input_ids": [*prompt, *answer], "loss_mask": [False] * len(prompt) + [True] * len(answer)})
    write(folder, "dialogues", rows)


def lay_prompts(base: Path, folder: Path, prompts: int, tokens: int) -> None:
    """Prompts of so many tokens, a third of them adversarial."""
    lay_adapters(base, folder)
    drawn = Drawn(folder)
    write(folder, "prompts", [{"ids": drawn.ids([tokens]), "is_safety": i % 3 == 0} for i in range(prompts)])
