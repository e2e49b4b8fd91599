"""Which of the drawn pairs are shown to those who judge: a share of them where the earlier reward models are unsure or
disagree (uncertainty sampling and query by committee: Settles, "Active Learning Literature Survey", 2009)."""

import statistics
from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from data_store.figures import figure
from models.algorithms.pair_choice import KEPT_BECAUSE, Beliefs, calibrated_scale, choose_pairs, sigmoid
from models.config import Config, SamplingConfig
from tasks.answers import open_renderer, sides_of
from tasks.engine.step import StepRun
from tasks.sampling import score
from tasks.train_reward import sides

AXES = ("safety", "helpfulness")


class PairStrategyConfig(Config):
    """From V2 on more pairs are drawn than are shown, and the reward models of the iteration before choose. Pairs of
    held-out prompts, and of what red teams found last, are shown as they are. V1 has no earlier reward models: there
    all pairs are shown, as in the paper."""

    draw_factor: float = Field(
        default=3.0, gt=1, le=100, description="So many times the prompts are answered, each once, as far as there are"
    )
    uncertain_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the shown pairs of which their axis' reward model is unsure",
    )
    axes_disagree_share: float = Field(
        default=0.0, ge=0, le=1, description="Share on which the safety and the helpfulness model prefer different ones"
    )
    iterations_disagree_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share on which their axis' last two models do; from V3 on",
    )
    unsure_below: float = Field(
        default=0.75,
        gt=0.5,
        le=1,
        description="Unsure: the calibrated probability of the response that the model prefers is below this",
    )

    @model_validator(mode="after")
    def _shares_of_a_whole(self) -> "PairStrategyConfig":
        total = self.uncertain_share + self.axes_disagree_share + self.iterations_disagree_share
        if total > 1 + 1e-9:
            raise ValueError(
                f"the shares add up to {figure(total, 6)}: together they may be 1, the rest is as in the paper"
            )
        if not total:
            raise ValueError("all shares are 0, so nothing would be chosen: raise one, or take the strategy out")
        return self


def shown_pairs(
    run: StepRun, config: PairStrategyConfig, sampling: SamplingConfig, plain: list[dict[str, Any]], more: Sequence[Any]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """As many of the pairs as are `plain`, by axis, and what was measured. Why each was kept is in two tables.

    `plain` are drawn as in the paper, `more` beyond them, both pair rows.
    """
    pairs = [*plain, *more]
    names = {row["pair_id"] for row in plain}
    beliefs, scales = _beliefs(run, sampling, pairs)
    kept: dict[str, str] = {}
    for axis in AXES:
        chosen = [
            Beliefs(
                row["pair_id"],
                belief[axis],
                belief[AXES[1 - AXES.index(axis)]],
                belief.get(f"earlier_{axis}"),
                row["pair_id"] in names,
            )
            for row, belief in zip(pairs, beliefs, strict=True)
            if row["axis"] == axis
        ]
        kept |= choose_pairs(
            chosen,
            uncertain_share=config.uncertain_share,
            axes_share=config.axes_disagree_share,
            iterations_share=config.iterations_disagree_share,
            unsure_below=config.unsure_below,
        )
    rows = [
        {
            "pair": row["pair_id"],
            "axis": row["axis"],
            "kept because": kept[row["pair_id"]],
            **{f"P(a) by {name.replace('_', ' ')}": value for name, value in belief.items()},
        }
        for row, belief in zip(pairs, beliefs, strict=True)
        if row["pair_id"] in kept
    ]
    run.table("kept", rows)
    run.table("selection", _selection(pairs, beliefs, kept))
    counts = {f"kept/{reason}": float(list(kept.values()).count(reason)) for reason in KEPT_BECAUSE}
    metrics = {"drawn": float(len(pairs)), **counts, **{f"scale/{name}": scale for name, scale in scales.items()}}
    return [row for row in pairs if row["pair_id"] in kept], metrics


def _beliefs(
    run: StepRun, sampling: SamplingConfig, pairs: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """For each pair, P(a is better) by name of the model; and each model's scale, found on its axis' held-out pairs."""
    from models.checkpoint import load_reward

    renderer = open_renderer(run.path("policy"))
    held_out = [row for row in run.each_row("preferences") if row["split"] == "heldout"]
    dialogues = [side for row in pairs for side in sides_of(row)]
    dialogues += [side for row in held_out for side in sides(row)]
    beliefs: list[dict[str, float]] = [{} for _ in pairs]
    scales: dict[str, float] = {}
    for name in (*AXES, *(f"earlier_{axis}" for axis in AXES)):
        folder = run.optional_path(f"{name}_reward")
        if folder is None:
            continue
        model = load_reward(folder, run.optional_path("base"), dtype=sampling.dtype)
        scores = [value for (value,) in score([model], renderer, dialogues, sampling)]
        differences = [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]
        known = zip(held_out, differences[len(pairs) :], strict=True)
        scales[name] = calibrated_scale([d for row, d in known if row["axis"] == name.removeprefix("earlier_")])
        for belief, difference in zip(beliefs, differences, strict=False):  # the held-out ones come after the pairs
            belief[name] = sigmoid(scales[name] * difference)
        run.progress(0.9, f"scored by the {name.replace('_', ' ')} model")
    return beliefs, scales


def _selection(
    pairs: Sequence[dict[str, Any]], beliefs: Sequence[dict[str, float]], kept: dict[str, str]
) -> list[dict[str, Any]]:
    """For each axis and reason: how many, and how sure the axis' model is of them in the mean."""
    sure: dict[tuple[str, str], list[float]] = {}
    for row, belief in zip(pairs, beliefs, strict=True):
        own = belief[row["axis"]]
        for reason in ("drawn", kept.get(row["pair_id"])):
            if reason is not None:
                sure.setdefault((row["axis"], reason), []).append(max(own, 1 - own))
    return [
        {"axis": axis, "kept because": reason, "pairs": len(values), "sure": statistics.fmean(values)}
        for (axis, reason), values in sorted(sure.items())
    ]
