"""Do judgements teach the reward models more where earlier reward models choose the pairs?

    python benchmarks/pair_strategies.py --seeds 0 1 2

The smoke run up to V1, then V2's pairs, judgements and reward models once for each strategy, each in a copy of the
store after V1: as many judgements, the same judge, the same settings. All reward models are tested on the same pairs of
V2's policies: held-out prompts, drawn as in the paper. One foundation serves all seeds; a seed decides every draw and
training from V1 on. One process, so that it can run beside other work.

Prints a row per seed and strategy (clear pairs are those rated significantly better), then the mean difference to the
paper's way with its standard error over seeds, in points.
"""

import argparse
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import torch
import yaml

from data_store.names import AssetName
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.places import FIRST, FOUNDATION
from flows.recipe.plan import Plan, build_plan
from models.checkpoint import load_reward
from models.config import SamplingConfig
from tasks.answers import open_renderer
from tasks.engine.execute import execute
from tasks.engine.processes import Workers
from tasks.train_reward import accuracy_by_rating

ROOT = Path(__file__).resolve().parents[1]
AXES = ("safety", "helpfulness")
PAPER = "as in the paper"
STRATEGIES: Mapping[str, dict[str, Any] | None] = {
    PAPER: None,
    "half unsure": {"uncertain_share": 0.5},
    "all unsure": {"uncertain_share": 1.0, "unsure_below": 1.0},
    "half where axes disagree": {"uncertain_share": 0.0, "axes_disagree_share": 0.5},
}
V2 = ("draw_pairs", "collect_preferences", "train_safety_reward", "train_helpfulness_reward")
Row = dict[str, Any]


def config_of(seed: int, strategy: dict[str, Any] | None) -> RunConfig:
    """The smoke run without what comes after V2's reward models, in one process, with more held-out prompts."""
    content = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())
    content |= {"seed": seed, "gatt": None, "final_stage": "none"}
    content["collect"] |= {"strategy": strategy, "heldout_percent": 30}
    for section in (content["pretrain"], content["sft"], content["fine_tune"]["training"]):
        section["processes"] = 1
    for name in ("collect", "rejection"):
        content[name]["sampling"]["shards"] = 1
    return RunConfig.model_validate(content)


def make(store: Store, workers: Workers, plan: Plan, part: str, steps: Sequence[str]) -> None:
    """These steps of a part, in order."""
    for step in steps:
        execute(store, workers, plan[part, step])


def drawn_to_test(store: Store, workers: Workers, plan: Plan) -> list[Row]:
    """Judged pairs on all held-out prompts, from the policies that V2's pairs come from."""
    draw, judge = plan["V2", "draw_pairs"], plan["V2", "collect_preferences"]
    pairs, judged = AssetName("dataset", "pairs-test", "V2"), AssetName("dataset", "preferences-test", "V2")
    everything = draw.config.model_copy(update={"ordinary_prompts": 100_000, "safety_prompts": 100_000})
    execute(store, workers, replace(draw, config=everything, seed=draw.seed + 1, outputs={"pairs": pairs}))
    execute(store, workers, replace(judge, inputs={"pairs": (pairs,)}, outputs={"preferences": judged}))
    return [row for row in rows_of(store, judged) if row["split"] == "heldout"]


def rows_of(store: Store, asset: AssetName) -> list[Row]:
    """The rows of an asset's head."""
    rows: list[Row] = pq.read_table(folder_of(store, asset) / "rows.parquet").to_pylist()
    return rows


def folder_of(store: Store, asset: AssetName) -> Path:
    """Where an asset's head lies."""
    return store.checkout(store.heads()[asset].version_id)


def measured(store: Store, part: str, tests: list[Row]) -> Row:
    """How many judgements of this part are learned from, the share of «negligibly better» among them, and the accuracy
    of each reward model on the test pairs of its axis."""
    learned = [row for row in rows_of(store, AssetName("dataset", "preferences", part)) if row["split"] == "train"]
    negligible = statistics.fmean(row["rating"] == "negligibly_better" for row in learned)
    found: Row = {"judged": len(learned), "negligible": negligible}
    for axis in AXES:
        folder = folder_of(store, AssetName("model", f"reward-{axis}", part))
        own = [row for row in tests if row["axis"] == axis]
        by_rating = accuracy_by_rating(load_reward(folder), open_renderer(folder), own, SamplingConfig(batch_size=64))
        found |= {axis: by_rating["all"].value, f"{axis}, clear pairs": by_rating["significantly_better"].value}
        found[f"{axis} tests"] = by_rating["all"].n
    return found


def of_seed(foundation: Path, workers: Workers, seed: int, home: Path, strategies: Sequence[str]) -> Iterator[Row]:
    """One row for the reward models of V1, and one a strategy for those of V2."""
    plan = build_plan(config_of(seed, None))
    store = Store.open(Path(shutil.copytree(foundation, home / f"{seed}")))
    make(store, workers, plan, "V1", [*V2, "rejection_sample", "fine_tune"])
    tests = drawn_to_test(store, workers, plan)
    yield {"seed": seed, "strategy": "V1, before", **measured(store, "V1", tests)}
    for name in strategies:
        branch = Store.open(Path(shutil.copytree(store.root, home / f"{seed}-branch")))
        make(branch, workers, build_plan(config_of(seed, STRATEGIES[name])), "V2", V2)
        yield {"seed": seed, "strategy": name, **measured(branch, "V2", tests)}
        shutil.rmtree(branch.root)
    shutil.rmtree(store.root)


def line(row: Row) -> str:
    """A row of the table in Markdown."""
    return "| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |"


def differences(rows: Sequence[Row], strategies: Sequence[str]) -> Iterator[str]:
    """Mean difference to the paper's way over seeds, in points, and its standard error where there are two and more."""
    by = {(row["seed"], row["strategy"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    for name in (name for name in strategies if name != PAPER):
        for measure in [key for key in rows[0] if key.startswith(AXES) and "tests" not in key]:
            found = [100 * (by[seed, name][measure] - by[seed, PAPER][measure]) for seed in seeds]
            error = f" ± {statistics.stdev(found) / len(found) ** 0.5:.1f}" if len(found) > 1 else ""
            yield f"{name}, {measure}: {statistics.fmean(found):+.1f}{error} points over {len(found)} seeds"


def main() -> None:
    """Run; print as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--strategies", nargs="+", choices=[*STRATEGIES][1:], default=[*STRATEGIES][1:])
    given = parser.parse_args()
    strategies = [PAPER, *given.strategies]
    torch.set_num_threads(1)
    rows: list[Row] = []
    workers = Workers()
    with TemporaryDirectory() as name:
        home = Path(name)
        try:
            plan, store = build_plan(config_of(0, None)), Store.open(home / "foundation")
            for part in (FOUNDATION, FIRST):
                make(store, workers, plan, part, [step for each, step in plan if each == part and step != "evaluate"])
            for seed in given.seeds:
                for row in of_seed(store.root, workers, seed, home, strategies):
                    if not rows:
                        print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
                    print(line(row), flush=True)
                    rows.append(row)
        finally:
            workers.close()
    print("\n".join(differences(rows, strategies)))


if __name__ == "__main__":
    main()
