"""The temperature of a round: found on prompts of the split validation, the same with the same seed."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_store.errors import InputError
from data_store.estimate import Estimate
from models.config import SamplingConfig
from tasks import temperature_tuning
from tasks.engine.step import Output
from tasks.rejection_sample import RejectionConfig, rejection_sample
from tasks.reward_curves import place_of
from tasks.temperature_tuning import TuningConfig
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import terse_policy, with_reward_model

SAMPLING = SamplingConfig(max_new_tokens=4)
OUTPUTS = {
    "candidates": Output("dataset", "response"),
    "scores": Output("dataset", "score"),
    "picks": Output("dataset", "dialogue"),
}
GRID = (0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that ends about every second answer with each token; beside it a reward model with an opinion."""
    return with_reward_model(terse_policy(tmp_path_factory.mktemp("policy")))


def prompt(number: int, split: str, axis: str = "helpfulness") -> dict[str, Any]:
    asked = [{"role": "user", "content": f"ask the llama {number}"}]
    row = {"prompt_id": f"{split}{axis}{number}", "source": "p", "kind": "import", "axis": axis, "split": split}
    return {**row, "messages": asked}


PROMPTS = [
    prompt(n, split, axis)
    for split in ("train", "validation", "heldout")
    for axis in ("helpfulness", "safety")
    for n in range(8)
]


def sampled(folder: Path, policy: Path, seed: int = 7, **values: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The candidates and the metrics of one run of the step."""
    inputs: dict[str, Any] = {
        "policy": policy,
        "safety_reward": policy.parent / "reward",
        "helpfulness_reward": policy.parent / "reward",
        "prompts": ("prompt", values.pop("rows", PROMPTS)),
    }
    given: dict[str, Any] = {"prompts": 6, "samples": 4, "temperatures": "auto", "unfinished": "score"}
    config = RejectionConfig(**{**given, "tuning": {"grid": GRID, "prompts": 9}, "sampling": SAMPLING, **values})
    metrics = dict(rejection_sample.function(step_run(folder, inputs=inputs, outputs=OUTPUTS, seed=seed), config))
    return written(folder, "candidates"), metrics


@pytest.mark.conformance("the temperature of another round", equation="tasks.temperature_tuning:tuned_temperature")
def test_the_temperature_is_that_of_the_highest_best_of_n_and_all_candidates_are_drawn_at_it(
    tmp_path: Path, policy: Path
) -> None:
    rows, metrics = sampled(tmp_path, policy)
    at_all = {t: metrics[f"tuning/max/T{t:g}/N4"] for t in GRID}
    best = max(GRID, key=lambda t: at_all[t].value)
    assert metrics["temperature"] == best
    assert {row["temperature_milli"] for row in rows} == {round(1000 * best)}
    for found in at_all.values():
        assert isinstance(found, Estimate)
        assert (found.n, found.judge) == (9, "reward models")
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
    second = sorted((each.value for each in at_all.values()), reverse=True)[1]
    assert metrics["temperature/lead"].value == pytest.approx(at_all[best].value - second)
    assert {place_of(name) for name in metrics if name.startswith("tuning/")} == {
        ("tuning", statistic, f"{t:g}", n) for statistic in ("max", "median") for t in GRID for n in (1, 2, 4)
    }


@pytest.mark.conformance("the temperature of another round", equation="tasks.temperature_tuning:tuned_temperature")
def test_it_is_found_on_validation_prompts_alone(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []
    draw = temperature_tuning.draw_candidates

    def watched(*given: Any, **values: Any) -> Any:
        asked.append({row["prompt_id"] for row in given[3]})
        return draw(*given, **values)

    monkeypatch.setattr("tasks.temperature_tuning.draw_candidates", watched)
    sampled(tmp_path, policy, safety_share=0.34)
    (tuned,) = asked
    assert len(tuned) == 9
    assert all(name.startswith("validation") for name in tuned)
    assert sum(name.startswith("validationsafety") for name in tuned) == 3, "9 · 0.34"


def test_the_same_seed_finds_the_same_temperature_by_the_same_curve(tmp_path: Path, policy: Path) -> None:
    a, b, other = (sampled(tmp_path / str(number), policy, seed=seed)[1] for number, seed in enumerate((7, 7, 8)))
    assert a == b
    assert [a[name] for name in a if name.startswith("tuning/")] != [
        other[name] for name in other if name.startswith("tuning/")
    ]


def test_a_cut_answer_is_worth_no_more_than_the_worst_finished_one_where_cut_ones_are_left_out(
    tmp_path: Path, policy: Path
) -> None:
    """At one token about half of the answers are cut, at any temperature."""
    one = {"sampling": SamplingConfig(max_new_tokens=1), "prompts": 6}
    _, own = sampled(tmp_path / "score", policy, **one)
    _, lowest = sampled(tmp_path / "leave", policy, unfinished="leave_out", **one)
    for t in GRID:
        for n in (1, 2, 4):
            name = f"tuning/max/T{t:g}/N{n}"
            assert lowest[name].value <= own[name].value
    assert statistics.fmean(lowest[f"tuning/max/T{t:g}/N1"].value for t in GRID) < statistics.fmean(
        own[f"tuning/max/T{t:g}/N1"].value for t in GRID
    )


def test_without_validation_prompts_it_is_said_what_to_give(tmp_path: Path, policy: Path) -> None:
    rows = [row for row in PROMPTS if row["split"] != "validation"]
    with pytest.raises(InputError, match="auto needs two prompts of the split validation"):
        sampled(tmp_path, policy, rows=rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tuning": {"grid": (1.0, 0.7)}}, "must rise from temperature to temperature, not 1, 0.7"),
        ({"tuning": {"grid": (0.7, 0.7)}}, "must rise"),
        ({"tuning": {"grid": (0.7,)}}, "at least 2 items"),
        ({"tuning": {"grid": (0.0, 0.7)}}, "greater than 0"),
        ({"temperatures": ()}, "at least 1 item"),
        ({"temperatures": (0.0,)}, "greater than 0"),
        ({"temperatures": "automatic"}, "'auto'"),
    ],
)
def test_temperatures_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RejectionConfig(**values)


def test_the_defaults_stay_what_they_were() -> None:
    assert RejectionConfig().temperatures == (0.7, 1.0, 1.2)
    assert TuningConfig().grid[0] < 1 < TuningConfig().grid[-1]
