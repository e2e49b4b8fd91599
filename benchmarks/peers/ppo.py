"""One PPO iteration of a finished run, here and in TRL 1.9, the last that had PPO.

    pip install --no-deps --target FOLDER trl==1.9.2
    python -m benchmarks.peers.ppo halter-store/smoke --libraries FOLDER [--rounds 7] [--tree OTHER] [--save]

Policy, reference, value and reward models and prompts are those of the run's last stage; learning rates are so small
that the policy stays what it is. TRL reads one reward model, Halter two. Answers are drawn with other random numbers,
so no figure is given where their mean lengths differ by more than a tenth.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.from_store import MODELS, lay_out, read
from benchmarks.peers.opened import LEARNING_RATE, trl_ppo_arguments
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import Turn, trl_turns

if TYPE_CHECKING:
    from models.config import PPOConfig
    from models.dialogue import Renderer
    from models.roles import Roles
    from models.training.rollouts import PPOPrompt

PROMPTS, MINI_BATCH, TOKENS = 96, 24, 48
ROW = Row(
    "ppo",
    f"A PPO iteration of the smoke run (2 layers of 96), {PROMPTS} prompts, at most {TOKENS} tokens of an answer",
    alike={"prompts": 0},
    sampled="tokens of an answer",
)


def take_turns(roles: "Roles", prompts: "Sequence[PPOPrompt]", renderer: "Renderer", config: "PPOConfig") -> None:
    """An iteration a turn, without end, of one thread."""
    import torch
    from accelerate import Accelerator

    from models.training import ppo

    torch.set_num_threads(1)
    turn, accelerator = Turn(), Accelerator(cpu=True)
    optimizers = {name: ppo._adamw(model, config.learning_rate, config) for name, model in roles.trained.items()}
    for number in itertools.count(1):
        turn.begin()
        rollouts, stats = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=number)
        ppo._update(roles, optimizers, rollouts, renderer, accelerator, config, seed=number)
        turn.end(prompts=len(prompts), **{"tokens of an answer": stats["length"]})


def of_halter(folder: Path) -> None:
    """Iterations, one a turn."""
    from models.config import PPOConfig, SamplingConfig
    from models.roles import open_roles
    from models.training.rollouts import PPOPrompt
    from tasks.answers import open_renderer

    renderer = open_renderer(folder / "policy")
    roles = open_roles(**{name: folder / name for name in MODELS}, base=None, lora=None)  # type: ignore[arg-type]
    prompts = [PPOPrompt(**prompt) for prompt in read(folder, "prompts")]
    config = PPOConfig(
        batch_size=PROMPTS, mini_batch_size=MINI_BATCH, learning_rate=LEARNING_RATE, value_learning_rate=LEARNING_RATE,
        sampling=SamplingConfig(max_new_tokens=TOKENS, batch_size=96),
    )  # fmt: skip
    take_turns(roles, prompts, renderer, config)


def of_trl(folder: Path) -> None:
    """The same with TRL's trainer, in whose loop the turns are taken."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    torch.set_num_threads(1)
    takes = trl_turns(PROMPTS)
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    prompts = [{"input_ids": prompt["ids"]} for prompt in read(folder, "prompts")]
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1)
    trainer = PPOTrainer(
        args=PPOConfig(
            **trl_ppo_arguments(folder, PROMPTS, mini_batches=PROMPTS // MINI_BATCH, at_once=48, tokens=TOKENS)
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        reward_model=reward,
        value_model=AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:2]),
        callbacks=[takes],
    )  # fmt: skip
    trainer.log = lambda *_, **__: None
    trainer.train()


SIDES = {"Halter": of_halter, "TRL 1.9.2": of_trl}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    taken = compare(
        ROW, parser, SIDES, lambda given, folder: lay_out(given.store, folder, prompts=PROMPTS), older=["TRL 1.9.2"]
    )
    sys.exit(taken)
