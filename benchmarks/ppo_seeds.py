"""PPO on many seeds: a bandit whose optimum is known, and the last stage of a finished demo.

    python benchmarks/ppo_seeds.py bandit [--seeds 10]
    python benchmarks/ppo_seeds.py demo halter-store/demo [--seeds 10]

The bandit is that of the tests: one token an answer, right where it is even, so the best reward is 1 and that of a
policy that guesses a half. On the demo PPO starts each time from the policy that it started from there, with the same
reward models and another seed, which draws its prompts, its order and its responses; what came out is judged on
held-out prompts by the simulated annotator, which PPO never sees. It runs in a copy of the store. Prints a row per
seed, and ends with 1 where a seed does not improve or diverges.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from data_store.names import AssetName
from data_store.store import Store
from flows.recipe.config import load_config
from flows.recipe.plan import build_plan
from models.checkpoint import save_checkpoint
from models.config import TokenizerConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.engine.execute import execute
from tasks.engine.processes import Workers
from tests.models.conftest import CORPUS, little_llama
from tests.models.training.little_runs import Recorder
from tests.models.training.test_ppo import bandit

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, float]


def of_bandit(seeds: range) -> Iterator[Row]:
    """Reward of the first two and of the last three iterations, and on held-out prompts."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_tokenizer(CORPUS, folder / "tokenizer", TokenizerConfig(vocab_size=420), seed=1)
        renderer = Renderer(load_tokenizer(folder / "tokenizer"))
        for seed in seeds:
            policy = folder / str(seed) / "policy"
            save_checkpoint(little_llama(renderer, 2, seed), renderer.tokenizer, policy)
            recorder = Recorder()
            metrics, _ = bandit(policy, renderer, policy.parent, recorder, seed=seed)
            curve = recorder.curve("ppo/reward")
            yield {
                "seed": seed,
                "before": statistics.fmean(curve[:2]),
                "after": statistics.fmean(curve[-3:]),
                "held out": metrics["best_validation_reward"],
                "iterations": metrics["iterations"],
            }


def of_demo(store: Path, config_file: Path, seeds: range) -> Iterator[Row]:
    """What the annotator and the reward models say before and after, the KL of a held-out response and how long PPO
    went on."""
    config = load_config(config_file)
    part = f"V{config.iterations}"
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(store, Path(name) / "store")
        copy, workers = Store.open(Path(name) / "store"), Workers()
        try:
            plan = build_plan(config, copy.overrides())
            before = execute(copy, workers, plan[part, "evaluate_sampled"]).metrics
            for seed in seeds:
                policy = AssetName("model", f"policy-seed-{seed}", part)
                ppo = execute(copy, workers, replace(plan[part, "ppo"], seed=10_000 + seed, outputs={"policy": policy}))
                kept = ppo.metrics["best_iteration"]
                judged = plan[part, "evaluate"]
                after = execute(
                    copy,
                    workers,
                    replace(
                        judged,
                        inputs={**judged.inputs, "policy": (policy,)},
                        outputs={
                            role: replace(asset, name=f"{asset.name}-seed-{seed}")
                            for role, asset in judged.outputs.items()
                        },
                    ),
                ).metrics
                yield {
                    "seed": seed,
                    "before": before["oracle_score"],
                    "after": after["oracle_score"],
                    "reward before": before["reward"],
                    "reward after": after["reward"],
                    "win": after["win_rate"],
                    "violation": after["violation"],
                    "false refusal": after["false_refusal"],
                    "KL": next(
                        point.value
                        for point in copy.metrics(ppo.run_id)
                        if (point.name, point.step) == ("ppo/validation_kl", kept + 1)
                    ),
                    "best iteration": kept,
                    "iterations": ppo.metrics["iterations"],
                }
        finally:
            workers.close()


def main() -> int:
    """0 where every seed improved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("bandit", "demo"))
    parser.add_argument("store", nargs="?", type=Path, help="the finished store of the demo")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "demo.yaml")
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if given.task == "demo" and given.store is None:
        parser.error("name the store of a finished demo")
    seeds = range(given.seeds)
    rows = []
    for row in of_bandit(seeds) if given.task == "bandit" else of_demo(given.store, given.config, seeds):
        if not rows:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print(
            "| " + " | ".join(f"{value:g}" if value == int(value) else f"{value:.3f}" for value in row.values()) + " |",
            flush=True,
        )
        rows.append(row)
    worse = [row["seed"] for row in rows if not row["after"] > row["before"]]
    print(f"improved: {len(rows) - len(worse)} of {len(rows)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
