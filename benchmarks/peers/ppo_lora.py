"""One PPO iteration of a 135M model with LoRA, here and in TRL 1.9, the last that had PPO.

    pip install --no-deps --target FOLDER trl==1.9.2
    python -m benchmarks.peers.ppo_lora SMOLLM2 --libraries FOLDER [--rounds 6] [--tree OTHER] [--save]

SMOLLM2 is the folder of SmolLM2-135M, or of another Llama of its size. 8 prompts of 24 tokens, answers of 24, adapters
of rank 8 on all linear layers for policy and value model; learning rates are so small that both stay what they are.
TRL's reference is its policy without the adapter, and it reads one reward model, which is a whole one, on a base of its
own; Halter's reference and two reward models are adapters too, on the one base.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.adapters import LAYERS, RANK, lay_prompts
from benchmarks.peers.from_store import MODELS, read
from benchmarks.peers.opened import LEARNING_RATE, trl_ppo_arguments
from benchmarks.peers.ppo import TRL, take_turns
from benchmarks.peers.rows import Row, compare
from benchmarks.peers.turns import trl_turns

PROMPTS, PROMPT_TOKENS, TOKENS = 8, 24, 24
ROW = Row(
    "ppo_lora",
    f"A PPO iteration of SmolLM2-135M with LoRA of rank {RANK}, {PROMPTS} prompts of {PROMPT_TOKENS} tokens, answers "
    f"of {TOKENS}",
    alike={"prompts": 0},
    sampled="tokens of an answer",
    by_hand=True,
)


def of_halter(folder: Path) -> None:
    """Iterations, one a turn."""
    from models.config import LoraConfig, PPOConfig, SamplingConfig
    from models.dialogue import Renderer
    from models.roles import open_roles
    from models.tokenizer import load_tokenizer
    from models.training.rollouts import PPOPrompt

    renderer = Renderer(load_tokenizer(folder / "base"))
    lora = LoraConfig(rank=RANK, alpha=2 * RANK)
    roles = open_roles(**{name: folder / name for name in MODELS}, base=folder / "base", lora=lora)
    prompts = [PPOPrompt(**prompt) for prompt in read(folder, "prompts")]
    config = PPOConfig(
        batch_size=PROMPTS, mini_batch_size=PROMPTS, learning_rate=LEARNING_RATE, value_learning_rate=LEARNING_RATE,
        sampling=SamplingConfig(max_new_tokens=TOKENS, batch_size=PROMPTS),
    )  # fmt: skip
    take_turns(roles, prompts, renderer, config)


def of_trl(folder: Path) -> None:
    """The same with TRL's trainer, in whose loop the turns are taken."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    torch.set_num_threads(1)
    takes = trl_turns(PROMPTS)
    base = folder / "base"

    def with_head() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)

    def lora(task: str) -> LoraConfig:
        return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LAYERS, task_type=task)

    prompts = [{"input_ids": prompt["ids"]} for prompt in read(folder, "prompts")]
    trainer = PPOTrainer(
        args=PPOConfig(
            **trl_ppo_arguments(folder, PROMPTS, mini_batches=1, at_once=PROMPTS, tokens=TOKENS)
        ),
        processing_class=AutoTokenizer.from_pretrained(base, padding_side="left"),
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        ref_model=None,
        peft_config=lora("CAUSAL_LM"),
        reward_model=with_head(),
        value_model=get_peft_model(with_head(), lora("SEQ_CLS")),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:2]),
        callbacks=[takes],
    )  # fmt: skip
    trainer.log = lambda *_, **__: None
    trainer.train()


SIDES = {"Halter": of_halter, TRL: of_trl}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    taken = compare(
        ROW, parser, SIDES, lambda given, folder: lay_prompts(given.base, folder, PROMPTS, PROMPT_TOKENS),
        older=[TRL],
    )  # fmt: skip
    sys.exit(taken)
