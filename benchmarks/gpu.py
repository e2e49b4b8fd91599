"""What the models' own code reaches on a GPU, meant for eight minutes of a large one.

    python -m benchmarks.gpu [pretrain] [sample] [ppo] [memory] [--size smallest | 135m | 1b] [--out FILE]

Without `--size` 135m and 1b on a GPU, the smallest elsewhere: that one shows on any machine that the script works. No
data and no model is needed: weights are random and prompts are random tokens. Each part is a process of its own.

- pretrain: tokens a second and MFU of `models.training.pretrain`, against the maker's peak on a GPU.
- sample: tokens a second of `models.generation` beside transformers' `generate`, in turns: as many answers of as many
  tokens.
- ppo: samples a second of a PPO iteration with adapters beside the same with `generate` and padded rows, in turns.
- memory: what five roles with adapters take at their peak, beside the policy alone doing the same.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.memory import peak_memory
from benchmarks.peers.turns import ENVIRONMENT, ROOT
from benchmarks.ppo_roles import KINDS, LORA, write_models
from models.algorithms.gae import gae
from models.algorithms.kl import penalize_kl
from models.algorithms.ppo import policy_loss, value_loss
from models.algorithms.reward import whiten
from models.checkpoint import load_policy
from models.config import PPOConfig, PretrainConfig, SamplingConfig
from models.devices import autocast, device, device_name, has_accelerator
from models.dialogue import Renderer
from models.generation import ask, sample
from models.llama_presets import Architecture
from models.roles import Roles, open_roles
from models.scoring import response_logprobs
from models.training import ppo, ppo_update
from models.training.pretrain import pretrain
from models.training.reporting import Quiet
from models.training.rollouts import PPOPrompt

ROUNDS = 3


@dataclass(frozen=True)
class Size:
    """A Llama, and work that fills the device with it."""

    shape: Architecture
    rows: int  # of a pretraining step, each of `row_tokens`
    row_tokens: int
    steps: int
    prompts: int  # of sampling and PPO, each of `tokens`, answered by as many
    tokens: int
    dtype: str = "bfloat16"


SIZES = {
    "smallest": Size(Architecture(64, 2, 4, 4, 192, context_length=256, vocab_size=512), 4, 64, 12, 8, 12, "float32"),
    "135m": Size(
        Architecture(576, 30, 9, 3, 1536, context_length=8192, vocab_size=49_152, tie_embeddings=True),
        32, 2048, 40, 256, 128,
    ),
    "1b": Size(Architecture(2048, 16, 32, 8, 8192, context_length=8192, vocab_size=128_256, tie_embeddings=True),
               8, 2048, 25, 128, 128),
}  # fmt: skip
"""SmolLM2-135M's and Llama 3.2 1B's shapes."""


def of_pretraining(size: Size, folder: Path) -> dict[str, float]:
    """Tokens a second, and on a GPU the MFU."""
    renderer = write_models(folder, size.shape)
    rng = random.Random(0)
    words = ["the", "llama", "eats", "green", "grass", "and", "never", "spits", "at", "people"]
    texts = [" ".join(rng.choices(words, k=200)) for _ in range(size.rows * size.row_tokens * size.steps // 400)]
    config = PretrainConfig(
        batch_size=size.rows, sequence_length=size.row_tokens, max_steps=size.steps, warmup_steps=2, dtype=size.dtype,
        checkpoint_seconds=10_000,
    )  # fmt: skip
    found = pretrain(texts, renderer, folder / "base", config, out=folder / "out", work=folder / "work", seed=0,
                     reporter=Quiet())  # fmt: skip
    return {name: found[name] for name in ("tokens_per_second", "mfu", "peak_flops") if name in found}


def of_sampling(size: Size, folder: Path) -> dict[str, float]:
    """Tokens a second here, and how many times those of `generate` they are."""
    renderer = write_models(folder, size.shape)
    policy, prompts = load_policy(folder / "base").eval(), prompts_of(size)
    config = SamplingConfig(max_new_tokens=size.tokens, batch_size=size.prompts)

    def ours(seed: int) -> int:
        with autocast(size.dtype):
            drawn = sample(policy, ask(prompts, [1.0], seed), config, end_ids=[END], pad_id=renderer.pad_id)
        return sum(len(answer.ids) for (answer,) in drawn)

    def theirs(seed: int) -> int:
        return int(generated(policy, prompts, size, seed)[1].sum())

    seconds, tokens = in_turns(ours, theirs)
    return {"tokens_per_second": tokens / statistics.median(seconds[0]), "times_generate": ratio(seconds)}


def of_ppo(size: Size, folder: Path) -> dict[str, float]:
    """Samples a second of PPO iterations here, and how many times those of a loop around `generate` they are."""
    renderer, roles = opened(size, folder)
    config, accelerator = ppo_config(size), Accelerator(cpu=not has_accelerator())
    roles.place(accelerator.device)
    prompts = [PPOPrompt(ids, number % 3 == 0) for number, ids in enumerate(prompts_of(size))]
    optimizers = {name: ppo_update.adamw(model, config.learning_rate, config) for name, model in roles.trained.items()}

    def ours(seed: int) -> int:
        rollouts, _ = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=seed)
        ppo_update.update(roles, optimizers, rollouts, renderer, accelerator, config, seed=seed)
        return int(rollouts.response_mask.sum())

    def theirs(seed: int) -> int:
        return around_generate(roles, optimizers, prompts, size, config, seed)

    seconds, _ = in_turns(ours, theirs)
    return {"samples_per_second": size.prompts / statistics.median(seconds[0]), "times_generate": ratio(seconds)}


def of_memory(size: Size, folder: Path) -> dict[str, float]:
    """Bytes at the peak of an iteration, and how many times those of the policy alone doing as much they are."""
    peaks = {}
    for alone in (True, False):
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--peak",
            "alone" if alone else "five",
            name_of(size),
            str(folder),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks[alone] = float(done.stdout.splitlines()[-1])
    return {"peak_bytes": peaks[False], "times_policy_alone": peaks[False] / peaks[True]}


def peak_of(size: Size, folder: Path, *, alone: bool) -> int:
    """Bytes of one PPO iteration's passes by five roles, or of its sampling and learning by a policy alone."""
    renderer, roles = opened(size, folder)
    config, accelerator = ppo_config(size), Accelerator(cpu=not has_accelerator())
    if alone:
        roles.policy.to(accelerator.device)
        optimizer = ppo_update.adamw(roles.policy, config.learning_rate, config)
        learn_alone(roles.policy, optimizer, size, renderer)
    else:
        roles.place(accelerator.device)
        prompts = [PPOPrompt(ids, number % 3 == 0) for number, ids in enumerate(prompts_of(size))]
        optimizers = {
            name: ppo_update.adamw(model, config.learning_rate, config) for name, model in roles.trained.items()
        }
        rollouts, _ = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=1)
        ppo_update.update(roles, optimizers, rollouts, renderer, accelerator, config, seed=1)
    return torch.cuda.max_memory_allocated() if has_accelerator() else peak_memory()


def learn_alone(policy: nn.Module, optimizer: torch.optim.Optimizer, size: Size, renderer: Renderer) -> None:
    """Answers of the policy, and a step on each mini-batch of them for their likelihood."""
    config = ppo_config(size)
    with autocast(size.dtype):
        asked = ask(prompts_of(size), [1.0], 1)
        drawn = sample(policy, asked, config.sampling, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
    rows = torch.tensor([[*request.ids, *answer.ids, *[END] * (size.tokens - len(answer.ids))]
                         for request, (answer,) in zip(asked, drawn, strict=True)], device=device())  # fmt: skip
    for part in torch.split(rows, config.mini_batch_size):
        with autocast(size.dtype):
            logprobs, _ = response_logprobs(policy, part, torch.ones_like(part), size.tokens, 1.0)
        (-logprobs.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()


# --- the others' way --------------------------------------------------------------------------------------------------


@torch.no_grad()
def generated(
    policy: nn.Module, prompts: Sequence[list[int]], size: Size, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, P + T) ids of prompts, which are of one length, with their answers by `generate`, and (B, T) which tokens
    are of the answers."""
    torch.manual_seed(seed)
    asked = torch.tensor(prompts, device=device())
    with autocast(size.dtype):
        ids = policy.generate(  # type: ignore[operator]
            asked, attention_mask=torch.ones_like(asked), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
            max_new_tokens=size.tokens, eos_token_id=END, pad_token_id=END,
        )  # fmt: skip
    said = ids[:, asked.shape[1] :]
    over = (said == END).cumsum(1) - (said == END).int() > 0
    return ids, ~over


def around_generate(
    roles: Roles,
    optimizers: dict[str, torch.optim.Optimizer],
    prompts: Sequence[PPOPrompt],
    size: Size,
    config: PPOConfig,
    seed: int,
) -> int:
    """A PPO iteration as people write it: padded rows, every model reads all of them, the policy once more. Gives the
    tokens of its answers."""
    ids, mask = generated(roles.policy, [prompt.ids for prompt in prompts], size, seed)
    attention, width = torch.ones_like(ids), mask.shape[1]

    def values(rows: torch.Tensor) -> torch.Tensor:
        plain = roles.value.get_base_model() if hasattr(roles.value, "get_base_model") else roles.value
        states = plain.model(input_ids=ids[rows], attention_mask=attention[rows], use_cache=False).last_hidden_state
        return plain.score(states)[:, -width - 1 : -1, 0].float()

    every = torch.arange(len(ids))
    with torch.no_grad(), autocast(size.dtype):
        old, _ = response_logprobs(roles.policy, ids, attention, width, 1.0)
        reference, _ = response_logprobs(roles.reference, ids, attention, width, 1.0)
        old_values = values(every)
        scores = [model(input_ids=ids, attention_mask=attention).logits[:, 0].float() for model in
                  (roles.safety, roles.helpfulness)]  # fmt: skip
    rewards = penalize_kl(whiten(scores[1]), old, reference, mask, kl_coef=config.kl_coef)
    advantages, returns = gae(rewards, old_values, mask, config.gamma, config.gae_lambda)
    advantages = whiten(advantages, mask)
    for rows in torch.split(torch.randperm(len(ids)), config.mini_batch_size):
        with autocast(size.dtype):
            logprobs, _ = response_logprobs(roles.policy, ids[rows], attention[rows], width, 1.0)
        policy_loss(logprobs, old[rows], advantages[rows], mask[rows], config.clip_range)[0].backward()
        with autocast(size.dtype):
            told = values(rows)
        value_loss(told, old_values[rows], returns[rows], mask[rows], config.value_clip_range).backward()
        for optimizer in optimizers.values():
            nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
    return int(mask.sum())


# --- what the parts share ---------------------------------------------------------------------------------------------

END = 2
"""A token of any model; of random weights it is as rare as any other."""


def prompts_of(size: Size) -> list[list[int]]:
    """Random tokens, as many in each."""
    rng = random.Random(0)
    return [rng.choices(range(3, size.shape.vocab_size), k=size.tokens) for _ in range(size.prompts)]


def ppo_config(size: Size) -> PPOConfig:
    """Four mini-batches of one epoch; the steps are so small that each iteration is the same work."""
    return PPOConfig(
        batch_size=size.prompts, mini_batch_size=size.prompts // 4, learning_rate=1e-9, value_learning_rate=1e-9,
        dtype=size.dtype, sampling=SamplingConfig(max_new_tokens=size.tokens, batch_size=size.prompts),
    )  # fmt: skip


def opened(size: Size, folder: Path) -> tuple[Renderer, Roles]:
    """Five roles with adapters on one base, on the CPU."""
    renderer = write_models(folder, size.shape)
    adapters = {kind: folder / "adapters" / kind for kind in KINDS}
    return renderer, open_roles(**adapters, base=folder / "base", lora=LORA, dtype=size.dtype)


def in_turns(ours: Callable[[int], int], theirs: Callable[[int], int]) -> tuple[tuple[list[float], list[float]], int]:
    """(seconds by the clock of each round of both, tokens of a round), after one that warms up. Raises RuntimeError
    where one side says more than the other by a tenth."""
    seconds: tuple[list[float], list[float]] = ([], [])
    said = [0, 0]
    for number in range(ROUNDS + 1):
        for place, side in enumerate((ours, theirs)):
            wait()
            started = time.perf_counter()
            said[place] += side(number)
            wait()
            if number:
                seconds[place].append(time.perf_counter() - started)
    if abs(said[0] - said[1]) > 0.1 * said[1]:
        raise RuntimeError(f"the sides did not do the same work: {said[0]} and {said[1]} tokens were drawn")
    return seconds, said[0] // (ROUNDS + 1)


def wait() -> None:
    """Until the device has done what it was told."""
    if has_accelerator():
        torch.cuda.synchronize()


def ratio(seconds: tuple[list[float], list[float]]) -> float:
    """Theirs / ours, the median over the pairs of turns."""
    return statistics.median(their / our for our, their in zip(*seconds, strict=True))


def said_by(*arguments: str) -> str:
    """The last line of this program with these arguments. Of the CPU it takes one thread: two can be slower by far."""
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


def name_of(size: Size) -> str:
    """Of a size."""
    return next(name for name, each in SIZES.items() if each == size)


PARTS = {"pretrain": of_pretraining, "sample": of_sampling, "ppo": of_ppo, "memory": of_memory}


def main() -> None:
    """Each part of each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--out", type=Path, help="also as JSON, here")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        which, size, folder = given.peak
        print(peak_of(SIZES[size], Path(folder) / which, alone=which == "alone"))
        return
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if given.here:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(PARTS[given.parts[0]](SIZES[given.size[0]], Path(scratch))))
        return
    found: list[dict[str, Any]] = []
    for size in given.size or (["135m", "1b"] if has_accelerator() else ["smallest"]):
        for part in given.parts or PARTS:
            started = time.perf_counter()
            figures = json.loads(said_by(part, "--size", size, "--here"))
            took = time.perf_counter() - started
            found.append({"size": size, "part": part, "device": device_name() or "CPU", "took": took, **figures})
            told = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
            print(f"{size} {part}: {told}  ({took:.0f} s)", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
