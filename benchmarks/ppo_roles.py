"""What PPO's five models cost: adapters on one base, adapters on a base each, whole models.

    python benchmarks/ppo_roles.py [--model little] [--runs 5] [--prompts 16] [--tokens 32]

Prints the bytes of all weights, those that learning adds (gradients and AdamW's two moments), and CPU seconds per PPO
iteration. The ways run in turn, iteration by iteration, and the figure is the median, so that other work on the machine
hits all alike. Weights are random, float32.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint
from models.config import LoraConfig, PPOConfig, SamplingConfig, TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import PRESETS, Architecture
from models.roles import Roles, open_roles
from models.tokenizer import load_tokenizer, train_tokenizer
from models.training import ppo, ppo_update
from models.training.rollouts import PPOPrompt

MODELS = {
    "little": replace(PRESETS["little"], vocab_size=1024),  # of configs/demo.yaml
    "135M": Architecture(576, 30, 9, 3, 1536, context_length=8192, vocab_size=49_152, tie_embeddings=True),  # SmolLM2
}
LORA = LoraConfig(rank=8, alpha=16)
KINDS = ("policy", "safety", "helpfulness")


def write_models(folder: Path, shape: Architecture) -> Renderer:
    """`base`, its three adapters in `adapters`, the same three as whole models in `whole`."""
    words = "the llama eats green grass and never spits at people who ask it to be kind"
    texts = [" ".join(words.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder / "tokenizer", TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    renderer = Renderer(tokenizer)
    base, adapters, whole = folder / "base", folder / "adapters", folder / "whole"
    save_checkpoint(build_llama(shape, 1, renderer.pad_id, 1, renderer.tokenizer.eos_token_id), tokenizer, base)
    save_checkpoint(load_policy(base, lora=LORA, trainable=True), tokenizer, adapters / "policy")
    save_checkpoint(load_policy(base), tokenizer, whole / "policy")
    for kind in KINDS[1:]:
        reward = reward_from_policy(adapters / "policy", base, lora=LORA, seed=2)
        save_checkpoint(reward, tokenizer, adapters / kind)
        save_checkpoint(reward_from_policy(base, None, lora=None, seed=2), tokenizer, whole / kind)
    return renderer


def on_five_bases(adapters: Path, base: Path) -> Roles:
    """Each adapter on a base that was loaded for it."""
    return Roles(
        policy=load_policy(adapters / "policy", base, trainable=True),
        reference=load_policy(adapters / "policy", base),
        value=load_reward(adapters / "helpfulness", base, trainable=True),
        safety=load_reward(adapters / "safety", base),
        helpfulness=load_reward(adapters / "helpfulness", base),
    )


def iteration(roles: Roles, renderer: Renderer, config: PPOConfig, vocabulary: int) -> Callable[[int], None]:
    """A function that makes one PPO iteration, by its number."""
    accelerator = Accelerator(cpu=True)
    optimizers = {name: ppo_update.adamw(model, config.learning_rate, config) for name, model in roles.trained.items()}
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(3, vocabulary, (config.batch_size, 24), generator=generator).tolist()
    prompts = [PPOPrompt(ids[: 16 + i % 9], i % 3 == 0) for i, ids in enumerate(drawn)]

    def run(number: int) -> None:
        rollouts, _ = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=number)
        ppo_update.update(roles, optimizers, rollouts, renderer, accelerator, config, seed=number)

    return run


def learning_bytes(roles: Roles) -> int:
    """Of gradients and AdamW's moments: three numbers for each weight that learns."""
    learning = (p for model in roles.trained.values() for p in model.parameters() if p.requires_grad)
    return sum(3 * parameter.numel() * parameter.element_size() for parameter in learning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="little")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shape = MODELS[args.model]
    config = PPOConfig(
        batch_size=args.prompts, mini_batch_size=args.prompts // 2,
        sampling=SamplingConfig(max_new_tokens=args.tokens, batch_size=args.prompts),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        renderer = write_models(folder, shape)
        adapters = {kind: folder / "adapters" / kind for kind in KINDS}
        whole = {kind: folder / "whole" / kind for kind in KINDS}
        ways = {
            "adapters on one base": open_roles(**adapters, base=folder / "base", lora=LORA),
            "adapters on a base each": on_five_bases(folder / "adapters", folder / "base"),
            "whole models": open_roles(**whole, base=None, lora=None),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        runs = {way: iteration(roles, renderer, config, shape.vocab_size) for way, roles in ways.items()}
        for number in range(args.runs + 1):
            for way, run in runs.items():
                started = time.process_time()
                run(number)
                if number:  # the first warms up
                    seconds[way].append(time.process_time() - started)
        print(f"{args.model}, {args.prompts} prompts of 16 to 24 tokens, {args.tokens} new tokens, {args.runs} runs")
        print("| way | weights, MB | gradients and moments, MB | CPU s per iteration |")
        print("|---|---|---|---|")
        for way, roles in ways.items():
            held, learning = roles.weight_bytes() / 1e6, learning_bytes(roles) / 1e6
            print(f"| {way} | {held:,.1f} | {learning:,.1f} | {statistics.median(seconds[way]):.2f} |")


if __name__ == "__main__":
    main()
