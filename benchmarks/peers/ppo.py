"""One PPO iteration of a finished demo, here and in TRL 1.9, the last that had PPO.

    pip install --no-deps --target FOLDER trl==1.9.2
    python -m benchmarks.peers.ppo halter-store/demo --trl FOLDER [--rounds 9] [--tree OTHER]

Policy, reference, value and reward models, prompts and sizes are those of the demo's last stage; learning rates are so
small that the policy stays what it is. TRL reads one reward model, Halter two. Prints the median CPU seconds of each,
one thread, and of theirs / ours. `--tree` is another checkout of Halter, which takes part as one more side. Ends with 1
where the answers of two sides differ in length by more than a tenth.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.turns import Side, Turn, alternate, ratios, trl_turns

PROMPTS, MINI_BATCH, TOKENS = 96, 24, 48
MODELS = {"policy": "policy-sampled", "safety": "reward-safety", "helpfulness": "reward-helpfulness"}


def lay_out(store: Path, folder: Path, prompts: int) -> None:
    """The demo's models and so many of its prompts, a third of them adversarial, as any library can read them."""
    from data_store.names import AssetName
    from data_store.store import Store
    from tasks.answers import open_renderer

    opened = Store.open(store)

    def version(kind: str, name: str, part: str) -> str:
        head = opened.head(AssetName(kind, name, part))
        if head is None:
            raise SystemExit(f"{store} has no {kind}/{name}@{part}: give the store of a finished demo")
        return head.version_id

    for name, asset in MODELS.items():
        (folder / name).symlink_to(opened.checkout(version("model", asset, "V5")))
    renderer = open_renderer(folder / "policy")
    rows = [row for row in opened.rows(version("dataset", "prompts", "base")).to_pylist() if row["split"] == "train"]
    chosen: list[dict[str, Any]] = []
    for axis, count in (("safety", prompts // 3), ("helpfulness", prompts - prompts // 3)):
        chosen += random.Random(0).sample([row for row in rows if row["axis"] == axis], count)
    asked = [{"ids": renderer.prompt(row["messages"]), "is_safety": row["axis"] == "safety"} for row in chosen]
    (folder / "prompts.json").write_text(json.dumps(asked))


def of_halter(folder: Path) -> None:
    """Iterations, one a turn."""
    import torch
    from accelerate import Accelerator

    from models.config import PPOConfig, SamplingConfig
    from models.roles import open_roles
    from models.training import ppo
    from models.training.rollouts import PPOPrompt
    from tasks.answers import open_renderer

    torch.set_num_threads(1)
    turn, renderer, accelerator = Turn(), open_renderer(folder / "policy"), Accelerator(cpu=True)
    roles = open_roles(**{name: folder / name for name in MODELS}, base=None, lora=None)  # type: ignore[arg-type]
    prompts = [PPOPrompt(**prompt) for prompt in json.loads((folder / "prompts.json").read_text())]
    config = PPOConfig(
        batch_size=PROMPTS, mini_batch_size=MINI_BATCH, learning_rate=1e-9, value_learning_rate=1e-9,
        sampling=SamplingConfig(max_new_tokens=TOKENS, batch_size=96),
    )  # fmt: skip
    optimizers = {name: ppo._adamw(model, config.learning_rate, config) for name, model in roles.trained.items()}
    number = 0
    while True:
        number += 1
        turn.begin()
        rollouts, stats = ppo._roll_out(roles, prompts, renderer, config, accelerator, seed=number)
        ppo._update(roles, optimizers, rollouts, renderer, accelerator, config, seed=number)
        turn.end(length=stats["length"])


def of_trl(folder: Path) -> None:
    """The same with TRL's trainer, in whose loop the turns are taken."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    torch.set_num_threads(1)
    takes = trl_turns(PROMPTS)
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    prompts = [{"input_ids": prompt["ids"]} for prompt in json.loads((folder / "prompts.json").read_text())]
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "helpfulness", num_labels=1)
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder / "trl"), per_device_train_batch_size=PROMPTS, num_mini_batches=PROMPTS // MINI_BATCH,
            num_ppo_epochs=1, total_episodes=PROMPTS * 10_000, local_rollout_forward_batch_size=48, stop_token="eos",
            response_length=TOKENS, temperature=1.0, learning_rate=1e-9, num_sample_generations=0, use_cpu=True,
            bf16=False, gradient_checkpointing=False, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True,
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


def main() -> int:
    """0 where the sides have done the same work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--trl", type=Path, help="folder with TRL 1.9")
    parser.add_argument("--tree", type=Path, help="another checkout of Halter")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", choices=("halter", "trl"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        (of_halter if given.side == "halter" else of_trl)(given.store)
        return 0
    with tempfile.TemporaryDirectory() as name:
        lay_out(given.store, Path(name), PROMPTS)
        command = ["-m", "benchmarks.peers.ppo", name, "--side"]
        sides = [Side("halter", [*command, "halter"])]
        if given.trl:
            sides.append(Side("trl", [*command, "trl"], libraries=given.trl.resolve()))
        if given.tree:
            sides.append(Side("other tree", [*command, "halter"], tree=given.tree.resolve()))
        found = alternate(sides, given.rounds)
    return ratios(found)


if __name__ == "__main__":
    sys.exit(main())
