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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

TRL = "TRL 1.9.2"


@dataclass(frozen=True)
class Shape:
    """Of an iteration: its prompts, those of a mini-batch, at most so many tokens of an answer, and of how many answers
    TRL draws tokens at once."""

    prompts: int
    mini_batch: int
    tokens: int
    at_once: int


SHAPE = Shape(prompts=96, mini_batch=24, tokens=48, at_once=48)
ROW = Row(
    "ppo",
    f"A PPO iteration of the smoke run (2 layers of 96), {SHAPE.prompts} prompts, at most {SHAPE.tokens} tokens of an "
    "answer",
    alike={"prompts": 0},
    sampled="tokens of an answer",
)


def take_turns(roles: "Roles", prompts: "Sequence[PPOPrompt]", renderer: "Renderer", config: "PPOConfig") -> None:
    """An iteration a turn, without end, of one thread."""
    import torch
    from accelerate import Accelerator

    from models.training import ppo, ppo_update

    torch.set_num_threads(1)
    turn, accelerator = Turn(), Accelerator(cpu=True)
    optimizers = {name: ppo_update.adamw(model, config.learning_rate, config) for name, model in roles.trained.items()}
    for number in itertools.count(1):
        turn.begin()
        rollouts, stats = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=number)
        ppo_update.update(roles, optimizers, rollouts, renderer, accelerator, config, seed=number)
        turn.end(prompts=len(prompts), **{"tokens of an answer": stats["length"]})


def of_halter(shape: Shape) -> Callable[[Path], None]:
    """Iterations, one a turn."""

    def side(folder: Path) -> None:
        from models.config import PPOConfig, SamplingConfig
        from models.roles import open_roles
        from models.training.rollouts import PPOPrompt
        from tasks.answers import open_renderer

        renderer = open_renderer(folder / "policy")
        roles = open_roles(**{name: folder / name for name in MODELS}, base=None, lora=None)  # type: ignore[arg-type]
        prompts = [PPOPrompt(**prompt) for prompt in read(folder, "prompts")]
        config = PPOConfig(
            batch_size=shape.prompts, mini_batch_size=shape.mini_batch, learning_rate=LEARNING_RATE,
            value_learning_rate=LEARNING_RATE,
            sampling=SamplingConfig(max_new_tokens=shape.tokens, batch_size=shape.prompts),
        )  # fmt: skip
        take_turns(roles, prompts, renderer, config)

    return side


def of_trl(shape: Shape) -> Callable[[Path], None]:
    """The same with TRL's trainer, in whose loop the turns are taken."""

    def side(folder: Path) -> None:
        import torch
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
        from trl.experimental.ppo import PPOConfig, PPOTrainer

        torch.set_num_threads(1)
        takes = trl_turns(shape.prompts)
        prompts = [{"input_ids": prompt["ids"]} for prompt in read(folder, "prompts")]
        arguments = trl_ppo_arguments(
            folder,
            shape.prompts,
            mini_batches=shape.prompts // shape.mini_batch,
            at_once=shape.at_once,
            tokens=shape.tokens,
        )
        trainer = PPOTrainer(
            args=PPOConfig(**arguments),
            processing_class=AutoTokenizer.from_pretrained(folder / "policy", padding_side="left"),
            model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
            ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
            reward_model=AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1),
            value_model=AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1),
            train_dataset=Dataset.from_list(prompts),
            eval_dataset=Dataset.from_list(prompts[:2]),
            callbacks=[takes],
        )
        trainer.log = lambda *_, **__: None
        trainer.train()

    return side


def sides(shape: Shape) -> dict[str, Callable[[Path], None]]:
    """Ours first."""
    return {"Halter": of_halter(shape), TRL: of_trl(shape)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    taken = compare(
        ROW,
        parser,
        sides(SHAPE),
        lambda given, folder: lay_out(given.store, folder, prompts=SHAPE.prompts),
        older=[TRL],
    )
    sys.exit(taken)
