"""The pairs to be judged (Llama 2, section 3.2.1): two variants of the policy, each at a temperature of its own, answer
the same prompts. All of them are judged, or earlier reward models choose among more (tasks/pair_strategy.py)."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_store.rows import AXES
from models.algorithms.pair_choice import KEPT_BECAUSE
from models.config import Config, SamplingConfig
from models.seeds import derive_seed
from tasks.answers import open_renderer, row_id
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.held_out import is_held_out
from tasks.pair_strategy import PairStrategyConfig, shown_pairs
from tasks.sampling import Speaker, draw_each, speakers

if TYPE_CHECKING:
    from torch import nn

    from tasks.engine.call import StepCall

VARIANTS = ("policy", "previous")


class DrawConfig(Config):
    """Which prompts, and how the two responses are drawn."""

    ordinary_prompts: int = Field(default=400, ge=0, description="Helpfulness prompts of this iteration's batch")
    safety_prompts: int = Field(default=200, ge=0, description="Adversarial prompts of this iteration's batch")
    temperatures: tuple[float, ...] = Field(
        default=(0.7, 1.0, 1.2), min_length=1, description="Two of them for each pair"
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the policies answer")


class DrawStepConfig(DrawConfig):
    """The same for this step, where earlier reward models choose among the pairs."""

    strategy: PairStrategyConfig | None = Field(default=None, description="Empty: every pair that is drawn is shown")
    heldout_percent: int = Field(default=0, ge=0, description="Share of the prompts whose pairs are not chosen among")


@dataclass(frozen=True)
class _Batch:
    """Prompts, the two temperatures of each, what shuffles the sides, and the seed of the responses."""

    prompts: list[dict[str, Any]]
    temperatures: list[list[float]]
    rng: random.Random
    seed: int


def _measures(call: "StepCall") -> Iterator[str]:
    yield from ("pairs", "pairs/safety", "equal_answers")
    if isinstance(call.config, DrawStepConfig):  # the earlier reward models choose
        yield from ("drawn", *(f"kept/{reason}" for reason in KEPT_BECAUSE))
        yield from (f"scale/{role.removesuffix('_reward')}" for role in call.inputs if role.endswith("_reward"))


INPUTS = {
    **{variant: Input("model") for variant in VARIANTS},
    "prompts": Input("dataset", "prompt"),
    "base": BASE,
    # what chooses among the drawn pairs
    "preferences": Input("dataset", "preference", optional=True, many=True),
    **{f"{age}{axis}_reward": Input("model", optional=True) for age in ("", "earlier_") for axis in AXES},
}


@step(
    version=7,
    config=DrawStepConfig,
    inputs=INPUTS,
    outputs={"pairs": Output("dataset", "pair")},
    metrics=_measures,
    headline="pairs",
    about="Draws the pairs of answers to be judged, from the last two policies.",
    tags=("data",),
    spreads=True,
)
def draw_pairs(run: StepRun, config: DrawStepConfig) -> Mapping[str, float]:
    """One batch of pairs from the newest policy and the one before, their sides shuffled. Equal answers are no pair.

    With a strategy the same batch is drawn, and more beside it. Its pairs of held-out prompts, and those of what red
    teams have just found, stay; the others compete with the further ones for the same number of places.
    """
    rng = random.Random(run.seed)
    batches = [_batch(config, _chosen_prompts(run, config, rng), rng, run.seed)]
    if config.strategy is not None:
        seed = derive_seed(run.seed, "beyond the paper's batch")
        more = random.Random(seed)
        prompts = _further_prompts(run, config, config.strategy.draw_factor, batches[0].prompts, more)
        batches.append(_batch(config, prompts, more, seed))
    with speakers(run, config.sampling) as speaker_of:
        responses = [_answers(run, config, batches, side, speaker_of) for side in range(len(VARIANTS))]
    drawn = [_rows(run, batch, [of[number] for of in responses]) for number, batch in enumerate(batches)]
    rows = drawn[0]
    metrics: dict[str, float] = {}
    if config.strategy is None:
        shown = Counter(row["axis"] for row in rows)
        why = "every pair is shown: there are no earlier reward models to choose by" if run.part == "V1" else "as_paper"
        run.table("selection", [{"axis": axis, "kept because": why, "pairs": n} for axis, n in sorted(shown.items())])
    else:
        free = {prompt["prompt_id"] for prompt in batches[0].prompts if _may_go(run, config, prompt)}
        plain = [row for row in rows if row["prompt_id"] in free]
        chosen, metrics = shown_pairs(run, config.strategy, config.sampling, plain, drawn[1])
        # in an order that tells whoever judges nothing of why a pair was kept
        rows = sorted(
            [*(row for row in rows if row["prompt_id"] not in free), *chosen], key=lambda row: str(row["pair_id"])
        )
    if not rows:
        raise ValueError("no pair was drawn: raise collect.ordinary_prompts, or collect.temperatures")
    run.write_rows("pairs", rows)
    run.table("examples", [_example(row) for row in rows[:8]])
    return {
        "pairs": float(len(rows)),
        "pairs/safety": float(sum(row["axis"] == "safety" for row in rows)),
        "equal_answers": float(sum(len(batch.prompts) for batch in batches) - sum(map(len, drawn))),
        **metrics,
    }


def _batch(config: DrawConfig, prompts: list[dict[str, Any]], rng: random.Random, seed: int) -> _Batch:
    temperatures = [
        rng.sample(config.temperatures, 2) if len(config.temperatures) > 1 else list(config.temperatures * 2)
        for _ in prompts
    ]
    return _Batch(prompts, temperatures, rng, seed)


def _rows(run: StepRun, batch: _Batch, responses: list[list[Any]]) -> list[dict[str, Any]]:
    rows = []
    for i, prompt in enumerate(batch.prompts):
        sides = [0, 1]
        batch.rng.shuffle(sides)  # whoever judges cannot tell the variants by their place
        a, b = (responses[side][i] for side in sides)
        if a.text == b.text:
            continue
        rows.append(
            {
                "pair_id": row_id(run.part, prompt["prompt_id"], a.text, b.text),
                "source": f"draw_pairs@{run.part}",
                "prompt_id": prompt["prompt_id"],
                "axis": prompt["axis"],
                "iteration": run.part,
                "messages": prompt["messages"],
                "response_a": a.text,
                "response_b": b.text,
                **a.columns("_a"),
                **b.columns("_b"),
                "policy_version_a": run.version(VARIANTS[sides[0]]),
                "policy_version_b": run.version(VARIANTS[sides[1]]),
                "temperature_milli_a": round(1000 * batch.temperatures[i][sides[0]]),
                "temperature_milli_b": round(1000 * batch.temperatures[i][sides[1]]),
            }
        )
    return rows


def _chosen_prompts(run: StepRun, config: DrawConfig, rng: random.Random) -> list[dict[str, Any]]:
    prompts = [row for row in run.records("prompts") if row["split"] == "train"]
    batch: list[dict[str, Any]] = []
    for axis, count in (("helpfulness", config.ordinary_prompts), ("safety", config.safety_prompts)):
        pool = [row for row in prompts if row["axis"] == axis]
        # What people have just found against the newest policy comes first: it is few, and what it has to learn.
        found = [row for row in pool if _is_just_found(run, row)][:count]
        rest = [row for row in pool if row not in found] if found else pool
        batch += [*found, *rng.sample(rest, min(count - len(found), len(rest)))]
    return batch


def _is_just_found(run: StepRun, prompt: dict[str, Any]) -> bool:
    return bool(prompt["source"] == f"red-team@V{int(run.part[1:]) - 1}")


def _may_go(run: StepRun, config: DrawStepConfig, prompt: dict[str, Any]) -> bool:
    """Whether a pair on this prompt may give its place to another. Held-out pairs test the reward models: they have to
    be of one kind in all iterations, and whatever the strategy."""
    return not is_held_out(prompt["messages"], config.heldout_percent, "pairs") and not _is_just_found(run, prompt)


def _further_prompts(
    run: StepRun, config: DrawStepConfig, factor: float, batch: list[dict[str, Any]], rng: random.Random
) -> list[dict[str, Any]]:
    """For each axis (factor - 1) times as many prompts as the batch has free ones, or as many as are left."""
    there = {prompt["prompt_id"] for prompt in batch}
    left = [
        row
        for row in run.records("prompts")
        if row["split"] == "train" and row["prompt_id"] not in there and _may_go(run, config, row)
    ]
    further: list[dict[str, Any]] = []
    for axis in ("helpfulness", "safety"):
        free = sum(prompt["axis"] == axis and _may_go(run, config, prompt) for prompt in batch)
        pool = [row for row in left if row["axis"] == axis]
        further += rng.sample(pool, min(round((factor - 1) * free), len(pool)))
    return further


def _answers(
    run: StepRun,
    config: DrawConfig,
    batches: list[_Batch],
    side: int,
    speaker_of: "Callable[[str, nn.Module], Speaker]",
) -> list[list[Any]]:
    """One variant's answer to each prompt of each batch, at its temperature."""
    from models.checkpoint import load_policy

    variant = VARIANTS[side]
    policy = load_policy(run.path(variant), run.optional_path("base"), dtype=config.sampling.dtype)
    speaker = speaker_of(variant, policy)
    renderer = open_renderer(run.path("policy"))
    drawn: list[list[Any]] = []
    for place, batch in enumerate(batches):
        answers = draw_each(
            speaker,
            renderer,
            [prompt["messages"] for prompt in batch.prompts],
            config.sampling,
            temperatures=[(both[side],) for both in batch.temperatures],
            seed=derive_seed(batch.seed, variant),
            on_progress=lambda done, place=place: run.progress(  # type: ignore[misc]
                (side + (place + done) / len(batches)) / 2, f"{variant} answers"
            ),
        )
        drawn.append([answer for (answer,) in answers])
    return drawn


def _example(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][-1]["content"], "a": row["response_a"], "b": row["response_b"]}
