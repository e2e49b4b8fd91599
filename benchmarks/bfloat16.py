"""Whether training in bfloat16 learns what training in float32 learns.

    python benchmarks/bfloat16.py [--model FOLDER] [--steps 50] [--rows 4] [--only sft]

Trains one model twice at the paper's rates, in `dtype: float32` and in `dtype: bfloat16`: SFT of all weights, SFT of
adapters at PPO's rate, a reward model, PPO, DPO. Prints the share of the trained weights that differ from those that
training began with, seconds, and the losses that were logged. Weights held in bfloat16 would lose most steps: the next
number above 0.02 is 0.0001 away. FOLDER holds a chat model, such as SmolLM2-135M-Instruct; without it a model of that
shape with random weights is made. The dialogues are those of the demo's little world.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from models.checkpoint import load_policy, reward_from_policy, save_checkpoint, scalar_head
from models.config import DPOConfig, LoraConfig, PPOConfig, RewardConfig, SamplingConfig, SFTConfig, TokenizerConfig
from models.devices import use_threads
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.roles import open_roles
from models.tokenizer import load_tokenizer, train_tokenizer
from models.training.dpo import PreferencePair, train_dpo
from models.training.ppo import train_ppo
from models.training.reporting import Quiet
from models.training.reward import Pair, train_reward
from models.training.rollouts import PPOPrompt
from models.training.sft import fine_tune
from world.content import World
from world.demonstrations import make_demonstrations

SMOLLM2 = Architecture(576, 30, 9, 3, 1536, context_length=8192, vocab_size=49_152, tie_embeddings=True)
LORA = LoraConfig(rank=8, alpha=16)
PRECISIONS = ("float32", "bfloat16")


class Losses(Quiet):
    """Keeps a curve."""

    def __init__(self, name: str) -> None:
        self.name, self.found = name, list[float]()

    def metric(self, name: str, value: float, step: int) -> None:
        if name == self.name:
            self.found.append(value)


class Bench:
    """A model, the little world's dialogues, and where trainings write."""

    def __init__(self, model: Path | None, folder: Path, steps: int, rows: int) -> None:
        self.folder, self.steps, self.rows = folder, steps, rows
        demonstrations = make_demonstrations(World(1), 1000, 1)
        self.dialogues = [row["messages"] for row in demonstrations if len(row["messages"]) == 2]
        self.base = model or self._random()
        self.renderer = Renderer(load_tokenizer(self.base))
        self.rendered = [self.renderer.dialogue(messages) for messages in self.dialogues]

    def _random(self) -> Path:
        folder = self.folder / "base"
        texts = [message["content"] for messages in self.dialogues for message in messages]
        train_tokenizer(texts, folder, TokenizerConfig(vocab_size=512, character_coverage=1.0), seed=1)
        tokenizer = load_tokenizer(folder)
        save_checkpoint(build_llama(SMOLLM2, 1, tokenizer.pad_token_id, 1, tokenizer.eos_token_id), tokenizer, folder)
        return folder

    def sft(self, dtype: str, *, lora: LoraConfig | None = None, rate: float = 2e-5) -> tuple[nn.Module, list[float]]:
        torch.manual_seed(1)
        policy, heard = load_policy(self.base, lora=lora, trainable=True, dtype=dtype), Losses("sft/loss")
        rendered = [one for one in self.rendered if len(one.input_ids) <= 128]
        config = SFTConfig(
            learning_rate=rate, batch_size=self.rows, sequence_length=128, epochs=1, warmup_ratio=0.0, dtype=dtype
        )
        self._started(policy)
        # about three dialogues a row
        fine_tune(
            policy, rendered[: 3 * self.rows * self.steps], self.renderer, config, reporter=heard, **self._places()
        )
        return policy, heard.found

    def adapters(self, dtype: str) -> tuple[nn.Module, list[float]]:
        return self.sft(dtype, lora=LORA, rate=1e-6)

    def reward(self, dtype: str) -> tuple[nn.Module, list[float]]:
        model, heard = reward_from_policy(self.base, None, lora=None, seed=1, dtype=dtype), Losses("reward/loss")
        ids = [one.input_ids for one in self.rendered]
        pairs = [Pair(ids[i], ids[-i - 1], "better", None) for i in range(self.rows * self.steps // 2)]
        config = RewardConfig(batch_size=self.rows, max_length=512, min_warmup_steps=1, dtype=dtype)
        with torch.no_grad():
            scalar_head(model).weight.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
        self._started(model)
        train_reward(model, pairs, self.renderer, config, safety=False, reporter=heard, **self._places())
        return model, heard.found

    def ppo(self, dtype: str) -> tuple[nn.Module, list[float]]:
        reward, heard = reward_from_policy(self.base, None, lora=None, seed=1), Losses("ppo/reward")
        with torch.no_grad():
            scalar_head(reward).weight.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
        save_checkpoint(reward, self.renderer.tokenizer, self.folder / "reward")
        roles = open_roles(
            policy=self.base, safety=self.folder / "reward", helpfulness=self.folder / "reward", base=None, lora=None,
            dtype=dtype,
        )  # fmt: skip
        sampling = SamplingConfig(max_new_tokens=16, batch_size=self.rows)
        iterations = max(1, self.steps // 16)
        config = PPOConfig(
            iterations=iterations, batch_size=4 * self.rows, mini_batch_size=self.rows, sampling=sampling,
            validate_every=iterations, kl_limit=1e6, dtype=dtype,
        )  # fmt: skip
        prompts = [PPOPrompt(self.renderer.prompt(messages[:1]), False) for messages in self.dialogues[:64]]
        self._started(roles.policy)
        train_ppo(roles, prompts, prompts[:4], self.renderer, config, reporter=heard, **self._places())
        return roles.policy, heard.found

    def dpo(self, dtype: str) -> tuple[nn.Module, list[float]]:
        policy, heard = load_policy(self.base, trainable=True, dtype=dtype), Losses("dpo/loss")
        pairs = []
        for messages, other in zip(self.dialogues, self.dialogues[1:], strict=False):
            prompt = self.renderer.prompt(messages[:1])
            both = [
                self.renderer.dialogue([messages[0], each[1]]).input_ids[len(prompt) :] for each in (messages, other)
            ]
            pairs.append(PreferencePair(prompt, *both))
        config = DPOConfig(
            batch_size=self.rows, kl_prompts=4, validate_every=self.steps, sampling=SamplingConfig(max_new_tokens=8),
            warmup_ratio=0.0, dtype=dtype,
        )  # fmt: skip
        self._started(policy)
        train_dpo(
            policy, pairs[: self.rows * self.steps // 2], pairs[-4:], self.renderer, config, reporter=heard,
            **self._places(),
        )  # fmt: skip
        return policy, heard.found

    def _places(self) -> dict[str, object]:
        place = Path(tempfile.mkdtemp(dir=self.folder))
        return {"out": place / "out", "work": place / "work", "seed": 1}

    def _started(self, model: nn.Module) -> None:
        self.before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        self.began = time.monotonic()

    def moved(self, model: nn.Module) -> float:
        """Share of the trained weights that are others than before. A LoRA B is 0 before: it moves whatever becomes of
        it, so A alone counts."""
        now = {name: weight for name, weight in model.named_parameters() if name in self.before}
        pairs = [(self.before[name], now[name].cpu()) for name in self.before if "lora_B" not in name]
        return sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


def main() -> None:
    """Print a line for each trainer and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rows", type=int, default=4, help="of an optimizer step")
    parser.add_argument("--only")
    chosen = parser.parse_args()
    use_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(chosen.model, Path(folder), chosen.steps, chosen.rows)
        trainers: dict[str, Callable[[str], tuple[nn.Module, list[float]]]] = {
            "sft": bench.sft, "adapters": bench.adapters, "reward": bench.reward, "ppo": bench.ppo, "dpo": bench.dpo,
        }  # fmt: skip
        for name, train in trainers.items():
            if chosen.only not in (None, name):
                continue
            for dtype in PRECISIONS:
                model, losses = train(dtype)
                print(
                    f"{name:9} {dtype:9} moved {100 * bench.moved(model):7.3f} %  "
                    f"all {time.monotonic() - bench.began:.0f} s  losses {' '.join(f'{loss:.4f}' for loss in losses)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
