"""What the reward models of an iteration know (Llama 2, section 3.2.2, tables 7 and 8, figures 6 and 29): each on the
run's held-out pairs of both axes and on every test set of files, by rating, with how sure it is.

Nothing reads what is found here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_store.encoding import text_hash
from data_store.estimate import Estimate
from data_store.rows import AXES, RATINGS
from models.algorithms.reliability import (
    calibration_interval,
    expected_calibration_error,
    preferred,
    reliability,
)
from tasks.answers import dialogue_ids, open_renderer
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.estimates import annotators_of, mean_of, rate_of
from tasks.held_out import apart, plain
from tasks.reward_tests import MeasureRewardModelsConfig
from tasks.sampling import score
from tasks.train_reward import sides

if TYPE_CHECKING:
    from models.dialogue import Renderer
    from tasks.engine.call import StepCall

Row = dict[str, Any]
_KEYS = ("all", *RATINGS)


@dataclass(frozen=True)
class Scored:
    """A pair with the raw scores that one reward model gives its chosen and its rejected answer."""

    pair: Row
    chosen: float
    rejected: float

    @property
    def difference(self) -> float:
        """What the chosen answer has above the rejected one."""
        return self.chosen - self.rejected


def _metrics(call: "StepCall") -> Iterator[str]:
    config: Any = call.config  # a MeasureRewardModelsConfig
    for name in (*AXES, *config.sets):
        yield from (f"pairs/{name}", f"left_out/{name}/too_long", f"left_out/{name}/trained_on")
        for model in AXES:
            yield from (f"accuracy/{model}/{name}/{rating}" for rating in _KEYS)
            yield from (f"difference/{model}/{name}/{rating}" for rating in _KEYS)
            yield f"ece/{model}/{name}"
            for place in range(1, config.bins + 1):
                yield from (f"calibration/{model}/{name}/bin_{place}{what}" for what in ("", "/predicted"))
    for model in AXES:
        yield from (f"accuracy/{model}/batch/{asset.part}" for asset in call.assets["preferences"])


@step(
    version=3,
    config=MeasureRewardModelsConfig,
    inputs={
        **{f"{axis}_reward": Input("model") for axis in AXES},
        "preferences": Input("dataset", "preference", many=True),
        "tests": Input("dataset", "test_pair", optional=True),
        "base": BASE,
    },
    outputs={"scores": Output("dataset", "pair_score")},
    metrics=_metrics,
    headline="accuracy/helpfulness/helpfulness/all",
    about="Measures the reward models of one iteration on held-out pairs and on test sets.",
    tags=("evaluation",),
    spreads=True,
)
def measure_reward_models(run: StepRun, config: MeasureRewardModelsConfig) -> Measurements:
    """Score both answers of each pair by both models. A pair on a text that any pair trains on, or that the models do
    not hold, is left out and counted."""
    from models.checkpoint import load_reward

    base = run.optional_path("base")
    renderer = open_renderer(run.path("safety_reward"))
    models: dict[str, Any] = {
        axis: load_reward(run.path(f"{axis}_reward"), base, dtype=config.sampling.dtype) for axis in AXES
    }
    room = min(model.config.max_position_embeddings for model in models.values())
    training, held_out = apart(run.each_row("preferences"))
    learned = frozenset(plain(row["messages"]) for row in training)
    found: dict[str, float | Estimate] = {}
    rows: list[Row] = []
    sets = _sets(config, held_out, run.records("tests"))
    for place, (name, pairs) in enumerate(sets.items()):
        pairs = sorted(pairs, key=lambda row: text_hash(row["preference_id"]))[: config.max_pairs]
        unseen = [row for row in pairs if plain(row["messages"]) not in learned]
        fitting = [row for row in unseen if _tokens(renderer, row) <= room]
        found |= {
            f"pairs/{name}": float(len(fitting)),
            f"left_out/{name}/trained_on": float(len(pairs) - len(unseen)),
            f"left_out/{name}/too_long": float(len(unseen) - len(fitting)),
        }
        read = [side for row in fitting for side in sides(row)]
        heard = run.part_of_rest(1 / (len(sets) - place), f"scoring the pairs of {name}")
        raw = score(list(models.values()), renderer, read, config.sampling, heard)
        for number, model in enumerate(models):
            scored = [Scored(row, raw[2 * i][number], raw[2 * i + 1][number]) for i, row in enumerate(fitting)]
            rows += [_row(each, name, model, run.version(f"{model}_reward")) for each in scored]
            found |= measured(scored, f"{model}/{name}", config.bins)
            if model == name:
                found |= _by_batch(scored, model)
    run.write_rows("scores", rows)
    run.table("accuracy", _table(found, (*AXES, *config.sets)))
    return found


def measured(scored: Sequence[Scored], of: str, bins: int) -> dict[str, Estimate]:
    """What is known of one model on one set, `of` naming both: accuracy and mean difference of the scores by rating,
    calibration by bins (bin 1 begins at ½) and its expected error. Nothing of no pairs."""
    found: dict[str, Estimate] = {}
    for rating in _KEYS:
        mine = [each for each in scored if rating in ("all", each.pair["rating"])]
        if mine:
            judge = annotators_of(each.pair for each in mine)
            found[f"accuracy/{of}/{rating}"] = rate_of([preferred(each.difference)[1] for each in mine], judge)
            found[f"difference/{of}/{rating}"] = mean_of([each.difference for each in mine], judge)
    if not scored:
        return found
    judge = annotators_of(each.pair for each in scored)
    predicted, hits = zip(*(preferred(each.difference) for each in scored), strict=True)
    filled = reliability(predicted, hits, bins)
    for each in filled:
        name = f"calibration/{of}/bin_{1 + round((each.low - 0.5) / (each.high - each.low))}"
        found[name] = Estimate(each.observed, each.n, *each.interval, judge)
        found[f"{name}/predicted"] = Estimate(each.predicted, each.n)
    low, high = calibration_interval(predicted, filled, bins)
    found[f"ece/{of}"] = Estimate(expected_calibration_error(filled), len(scored), low, high, judge)
    return found


def _sets(config: MeasureRewardModelsConfig, held_out: Sequence[Row], tests: Sequence[Row]) -> dict[str, list[Row]]:
    """The pairs of each set: of each axis those of the run, then those of files."""
    own = {axis: [row for row in held_out if row["axis"] == axis] for axis in AXES}
    return {**own, **{name: [row for row in tests if row["test_set"] == name] for name in config.sets}}


def _by_batch(scored: Sequence[Scored], model: str) -> dict[str, Estimate]:
    """A model's accuracy on the held-out pairs of its axis, batch by batch of those that were collected so far."""
    batches: dict[str, list[Scored]] = {}
    for each in scored:
        batches.setdefault(each.pair["iteration"], []).append(each)
    return {
        f"accuracy/{model}/batch/{part}": rate_of(
            [preferred(each.difference)[1] for each in mine], annotators_of(each.pair for each in mine)
        )
        for part, mine in batches.items()
    }


def _tokens(renderer: "Renderer", row: Row) -> int:
    return max(len(dialogue_ids(renderer, *side).input_ids) for side in sides(row))


def _row(scored: Scored, test_set: str, model: str, version: str) -> Row:
    return {
        "test_set": test_set,
        **{name: scored.pair[name] for name in ("preference_id", "iteration", "rating", "annotator")},
        "model": model,
        "reward_version": version,
        "chosen_score": scored.chosen,
        "rejected_score": scored.rejected,
    }


def _table(found: Mapping[str, float | Estimate], sets: Sequence[str]) -> list[Row]:
    rows = []
    for name in sets:
        for model in AXES:
            known = {rating: found.get(f"accuracy/{model}/{name}/{rating}") for rating in _KEYS}
            ece = found.get(f"ece/{model}/{name}")
            every = known["all"]
            if isinstance(every, Estimate) and isinstance(ece, Estimate):
                values = {rating: each.value if isinstance(each, Estimate) else "" for rating, each in known.items()}
                ends = {"from": every.low, "to": every.high, "judge": every.judge}
                rows.append({"model": model, "set": name, "pairs": every.n, **values, **ends, "ECE": ece.value})
    return rows
