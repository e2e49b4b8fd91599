"""Each trainer on a few rows: four steps, two of them an epoch. Used in this process and in ones that get killed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.checkpoint import load_policy, load_reward, reward_from_policy
from models.config import (
    ArchitectureConfig,
    DPOConfig,
    LoraConfig,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    SamplingConfig,
    SFTConfig,
)
from models.dialogue import Renderer
from models.roles import Roles, open_roles
from models.tokenizer import load_tokenizer
from models.training.dpo import PreferencePair, train_dpo
from models.training.ppo import train_ppo
from models.training.pretrain import pretrain
from models.training.reporting import SPEED, UTILISATION, Reporter
from models.training.reward import Pair, train_reward
from models.training.rollouts import PPOPrompt
from models.training.sft import fine_tune

LORA = LoraConfig(rank=4, alpha=8)
LITTLE = ArchitectureConfig(hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, ffn_size=64, context_length=128)
NAMES = ("it", "the lamp", "the old mill", "a list", "the ferry", "us", "36", "me")
QUESTIONS = [f"Who keeps {name}?" for name in NAMES]
ANSWERS = ["Nobody.", "The keeper.", "The keeper keeps it.", "I cannot help.", "이 마을", "8 of us", "* 2", "I do."]
Metrics = dict[str, float]


class Recorder:
    """Keeps what a trainer reports."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, int]] = []
        self.lines: list[str] = []
        self.texts: list[str] = []

    def progress(self, fraction: float, text: str) -> None:
        assert 0 <= fraction <= 1
        self.texts.append(text)

    def metric(self, name: str, value: float, step: int) -> None:
        assert step >= 1
        self.metrics.append((name, value, step))

    def log(self, text: str) -> None:
        self.lines.append(text)

    def curve(self, name: str) -> list[float]:
        return [value for metric, value, _ in self.metrics if metric == name]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def renderer_of(folder: Path) -> Renderer:
    return Renderer(load_tokenizer(folder))


def dialogues() -> list[list[dict[str, str]]]:
    return [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
    ]


def pairs(renderer: Renderer, count: int = 4) -> list[Pair]:
    ratings = ("significantly_better", "better", "slightly_better", "negligibly_better")
    labels = ("both_unsafe", "both_safe", "chosen_safe_other_unsafe", None)
    whole = [renderer.dialogue(messages).input_ids for messages in dialogues()]
    return [Pair(whole[i], whole[(i + 4) % 8], ratings[i % 4], labels[i % 4]) for i in range(count)]


def preferences(renderer: Renderer, count: int = 6) -> list[PreferencePair]:
    """Each question with its answer and with that of the question four places later: ragged pairs."""
    found = []
    for i in range(count):
        asked, (_, good), (_, bad) = dialogues()[i][:1], dialogues()[i], dialogues()[(i + 4) % 8]
        prompt = renderer.prompt(asked)
        chosen, rejected = (renderer.dialogue([*asked, answer]).input_ids[len(prompt) :] for answer in (good, bad))
        found.append(PreferencePair(prompt, chosen, rejected))
    return found


def without_the_clock(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that equal trainings share."""
    return {name: value for name, value in metrics.items() if name not in (SPEED, *UTILISATION)}


def prompts(renderer: Renderer) -> list[PPOPrompt]:
    return [PPOPrompt(renderer.prompt(messages[:1]), i % 2 == 0) for i, messages in enumerate(dialogues())]


def run_pretrain(
    policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, *, on: bool = False, **changes: Any
) -> Metrics:
    """`on`: on from the policy, not from nothing."""
    config = PretrainConfig(
        **{
            "learning_rate": 1e-2, "batch_size": 2, "max_steps": 4, "warmup_steps": 1, "sequence_length": 40, **changes
        }
    )  # fmt: skip
    texts = [f"{question} {answer}"[:18] for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    start = policy if on else LITTLE
    return pretrain(texts, renderer_of(policy), start, config, out=out, work=work, seed=3, reporter=reporter)


def run_pretrain_on(policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, **changes: Any) -> Metrics:
    return run_pretrain(policy, reward, out, work, reporter, on=True, **changes)


def run_sft(policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, **changes: Any) -> Metrics:
    config = SFTConfig(
        **{"learning_rate": 1e-2, "batch_size": 2, "epochs": 2, "warmup_ratio": 0.25, "sequence_length": 64, **changes}
    )
    renderer = renderer_of(policy)
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    model = load_policy(policy, lora=LORA, trainable=True)
    return fine_tune(model, rendered, renderer, config, out=out, work=work, seed=3, reporter=reporter)


def run_reward(
    policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, *, rows: int = 4, **changes: Any
) -> Metrics:
    config = RewardConfig(
        **{"learning_rate": 1e-2, "batch_size": 2, "epochs": 2, "min_warmup_steps": 1, "max_length": 128, **changes}
    )
    renderer = renderer_of(policy)
    model = reward_from_policy(policy, None, lora=None, seed=3)
    return train_reward(
        model, pairs(renderer, rows), renderer, config, safety=True, out=out, work=work, seed=3, reporter=reporter
    )


def run_ppo(
    policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, *, adapted: bool = True, **changes: Any
) -> Metrics:
    roles = Roles(
        policy=load_policy(policy, lora=LORA if adapted else None, trainable=True),
        reference=load_policy(policy),
        value=load_reward(reward, trainable=True),
        safety=load_reward(reward),
        helpfulness=load_reward(reward),
    )
    return ppo_with(roles, renderer_of(policy), out, work, reporter, **changes)


def run_ppo_on_one_base(
    policy: Path, reward: Path, out: Path, work: Path, reporter: Reporter, **changes: Any
) -> Metrics:
    """`policy` is the base, `reward` the folder of its adapters."""
    roles = open_roles(
        policy=reward / "policy", safety=reward / "safety", helpfulness=reward / "helpfulness", base=policy, lora=LORA
    )
    return ppo_with(roles, renderer_of(policy), out, work, reporter, **changes)


def ppo_with(roles: Roles, renderer: Renderer, out: Path, work: Path, reporter: Reporter, **changes: Any) -> Metrics:
    config = PPOConfig(
        **{
            "learning_rate": 1e-3, "value_learning_rate": 1e-3, "iterations": 4, "batch_size": 4, "mini_batch_size": 2,
            "validate_every": 2, "kl_limit": 1e6, "min_entropy": 0.0,
            "sampling": SamplingConfig(temperature=1.3, max_new_tokens=6, batch_size=4), **changes,
        }
    )  # fmt: skip
    found = prompts(renderer)
    return train_ppo(roles, found, found[:4], renderer, config, out=out, work=work, seed=3, reporter=reporter)


def run_dpo(
    policy: Path,
    reward: Path,
    out: Path,
    work: Path,
    reporter: Reporter,
    *,
    rows: int = 4,
    adapted: bool = True,
    **changes: Any,
) -> Metrics:
    """Without adapters it is validated on pairs that it learns: then it gets better."""
    config = DPOConfig(
        **{
            "learning_rate": 1e-2, "batch_size": 2, "epochs": 2, "warmup_ratio": 0.25, "validate_every": 2,
            "sampling": SamplingConfig(max_new_tokens=6, batch_size=4), **changes,
        }
    )  # fmt: skip
    renderer = renderer_of(policy)
    found = preferences(renderer, rows + 2)
    model = load_policy(policy, lora=LORA if adapted else None, trainable=True)
    kept = found[rows:] if adapted else found[:2]
    return train_dpo(model, found[:rows], kept, renderer, config, out=out, work=work, seed=3, reporter=reporter)


RUNS = {
    "pretrain": run_pretrain, "pretrain on a base": run_pretrain_on, "sft": run_sft, "reward": run_reward,
    "ppo": run_ppo, "ppo on one base": run_ppo_on_one_base, "dpo": run_dpo,
}  # fmt: skip
