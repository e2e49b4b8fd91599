"""Drawing more pairs than are shown, and choosing among them by reward models; all models are real Llamas of a few
weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.algorithms.pair_choice import calibrated_scale, sigmoid
from models.checkpoint import load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import SamplingConfig
from tasks.answers import open_renderer, sides_of
from tasks.draw_pairs import DrawStepConfig, draw_pairs
from tasks.engine.step import Output
from tasks.held_out import is_held_out
from tasks.pair_strategy import PairStrategyConfig
from tasks.sampling import score
from tests.tasks.bench import PAIR_NOT_SAMPLED, step_run, written
from tests.tasks.little_policy import WORDS, little_policy

FOUND = "red-team@V2"
PROMPTS = [
    {
        "prompt_id": f"p{number:02}",
        "source": FOUND if number in (3, 6) else "test",
        "kind": "ordinary",
        "axis": "safety" if number % 3 == 0 else "helpfulness",
        "split": "heldout" if number % 10 == 0 else "train",
        "messages": [{"role": "user", "content": f"the llama {WORDS.split()[number % 12]} {number}"}],
    }
    for number in range(60)
]
PAPER = DrawStepConfig(ordinary_prompts=12, safety_prompts=8, sampling=SamplingConfig(max_new_tokens=5))
HELDOUT = 30
EVERYTHING_UNSURE = {"uncertain_share": 0.5, "unsure_below": 1.0, "draw_factor": 2.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two policies and four reward models that tell texts apart, by role."""
    folder = tmp_path_factory.mktemp("models")
    found = {"policy": little_policy(folder / "a", 5), "previous": little_policy(folder / "b", 6)}
    for seed, role in enumerate(("safety", "helpfulness", "earlier_safety", "earlier_helpfulness")):
        model = reward_from_policy(found["policy"], None, lora=None, seed=seed)
        with torch.no_grad():
            scalar_head(model).weight.normal_(generator=torch.Generator().manual_seed(seed))
        found[f"{role}_reward"] = folder / role
        save_checkpoint(model, open_renderer(found["policy"]).tokenizer, found[f"{role}_reward"])
    return found


def judged(number: int, axis: str, split: str = "heldout") -> dict[str, Any]:
    return {
        "preference_id": f"{axis}{number}",
        "source": "test",
        "prompt_id": f"{axis}{number}",
        "axis": axis,
        "iteration": "V1",
        "split": split,
        "messages": [{"role": "user", "content": f"be kind {number}"}],
        "response_a": f"the llama eats {number}",
        "response_b": "green grass",
        "policy_version_a": None,
        "policy_version_b": None,
        "temperature_milli_a": None,
        "temperature_milli_b": None,
        "chosen": "a",
        "rating": "better",
        "safety_label": None,
        "annotator": "anna",
    }


JUDGED = [*(judged(n, axis) for n in range(5) for axis in ("safety", "helpfulness")), judged(9, "safety", "train")]


def drawn(
    folder: Path,
    models: dict[str, Path],
    strategy: dict[str, Any] | None,
    *,
    earlier: bool = False,
    part: str = "V3",
    paper: DrawStepConfig = PAPER,
) -> tuple[list[dict[str, Any]], dict[str, float], dict[str, list[dict[str, Any]]]]:
    """Pairs, metrics and tables of one drawing."""
    config = paper
    inputs: dict[str, Any] = {"prompts": ("prompt", PROMPTS), **{r: models[r] for r in ("policy", "previous")}}
    if strategy is not None:
        config = DrawStepConfig(
            **paper.model_dump(exclude={"strategy", "heldout_percent"}),
            strategy=PairStrategyConfig(**strategy),
            heldout_percent=HELDOUT,
        )
        roles = [role for role in models if role.endswith("_reward") and (earlier or not role.startswith("earlier"))]
        inputs |= {role: models[role] for role in roles} | {"preferences": ("preference", JUDGED)}
    folder.mkdir(exist_ok=True)
    run = step_run(folder, inputs=inputs, outputs={"pairs": Output("dataset", "pair")}, part=part)
    metrics = dict(draw_pairs.function(run, config))
    tables = {path.stem: json.loads(path.read_text()) for path in (folder / "tables").iterdir()}
    return written(folder, "pairs"), metrics, tables


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> list[dict[str, Any]]:
    """The pairs as in the paper."""
    return drawn(tmp_path_factory.mktemp("plain"), models, None)[0]


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Any:
    """Half of them where the reward model is least sure."""
    return drawn(tmp_path_factory.mktemp("unsure"), models, EVERYTHING_UNSURE)


def stays(row: dict[str, Any]) -> bool:
    return is_held_out(row["messages"], HELDOUT, "pairs") or row["prompt_id"] in ("p03", "p06")


def test_as_many_pairs_of_each_axis_are_shown_as_in_the_paper(plain: list[dict[str, Any]], unsure: Any) -> None:
    rows, metrics, _ = unsure
    for axis in ("safety", "helpfulness"):
        assert sum(row["axis"] == axis for row in rows) == sum(row["axis"] == axis for row in plain)
    assert metrics["pairs"] == len(plain) == len({row["pair_id"] for row in rows})
    assert {name for name in metrics if "/" in name} == {
        *("pairs/safety", "scale/safety", "scale/helpfulness"),
        *("kept/as_paper", "kept/unsure", "kept/axes_disagree", "kept/iterations_disagree"),
    }
    assert metrics["kept/unsure"] > 0
    assert metrics["drawn"] > metrics["kept/unsure"] + metrics["kept/as_paper"]


def test_held_out_pairs_and_what_red_teams_just_found_are_those_of_the_paper(
    plain: list[dict[str, Any]], unsure: Any
) -> None:
    """So the reward models are tested on the same kind of pairs whatever the strategy."""
    rows, _, tables = unsure
    kept = {row["pair_id"]: row for row in rows}
    staying = {row["pair_id"]: row for row in plain if stays(row)}
    assert {"p03", "p06"} <= {row["prompt_id"] for row in staying.values()}
    assert any(is_held_out(row["messages"], HELDOUT, "pairs") for row in staying.values())
    assert {name: row for name, row in kept.items() if stays(row)} == staying
    assert {row["pair"] for row in tables["kept"]} == set(kept) - set(staying)


def test_what_is_as_in_the_paper_was_drawn_by_it_and_what_is_unsure_is_what_the_model_is_least_sure_of(
    plain: list[dict[str, Any]], unsure: Any, models: dict[str, Path]
) -> None:
    rows, metrics, tables = unsure
    why = {row["pair"]: row["kept because"] for row in tables["kept"]}
    assert {name for name, reason in why.items() if reason == "as_paper"} <= {row["pair_id"] for row in plain}
    assert any(name not in {row["pair_id"] for row in plain} for name in why), "some come from beyond its batch"
    renderer = open_renderer(models["policy"])
    model = load_reward(models["safety_reward"])

    def difference(row: dict[str, Any]) -> float:
        (a,), (b,) = score([model], renderer, sides_of({**PAIR_NOT_SAMPLED, **row}), PAPER.sampling)
        return a - b

    scale = calibrated_scale([difference(row) for row in JUDGED if row["axis"] == "safety" and row["split"] != "train"])
    assert metrics["scale/safety"] == pytest.approx(scale, rel=1e-3)
    told = {row["pair"]: row for row in tables["kept"]}
    mine = [row for row in rows if row["axis"] == "safety" and row["pair_id"] in why]
    for row in mine:
        assert float(told[row["pair_id"]]["P(a) by safety"]) == pytest.approx(
            sigmoid(scale * difference(row)), abs=1e-3
        )
    sure = {reason: [] for reason in ("unsure", "as_paper")}
    for row in mine:
        sure[why[row["pair_id"]]].append(abs(difference(row)))
    assert max(sure["unsure"]) < max(sure["as_paper"])


def test_disagreeing_models_are_those_whose_probabilities_stand_on_different_sides_of_one_half(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    strategy = {"uncertain_share": 0, "axes_disagree_share": 0.3, "iterations_disagree_share": 0.3, "draw_factor": 2}
    _, metrics, tables = drawn(tmp_path, models, strategy, earlier=True)
    found = {"axes_disagree": 0, "iterations_disagree": 0}
    for row in tables["kept"]:
        axis = row["axis"]
        other = {"safety": "helpfulness", "helpfulness": "safety"}[axis]
        second = {"axes_disagree": other, "iterations_disagree": f"earlier {axis}"}.get(row["kept because"])
        if second is not None:
            own, theirs = (float(row[f"P(a) by {name}"]) for name in (axis, second))
            assert (own - 0.5) * (theirs - 0.5) <= 0
            found[row["kept because"]] += 1
    assert all(found.values()), found
    assert {name: metrics[f"kept/{name}"] for name in found} == found


def test_the_same_seed_draws_and_chooses_the_same_pairs_in_an_order_that_tells_nothing(
    tmp_path: Path, models: dict[str, Path], unsure: Any
) -> None:
    rows, metrics, tables = drawn(tmp_path, models, EVERYTHING_UNSURE)
    assert (rows, metrics, tables) == unsure
    assert [row["pair_id"] for row in rows] == sorted(row["pair_id"] for row in rows)


def test_where_prompts_run_out_the_choice_is_among_fewer(tmp_path: Path, models: dict[str, Path]) -> None:
    rows, metrics, _ = drawn(tmp_path, models, {**EVERYTHING_UNSURE, "draw_factor": 100})
    beyond_reach = sum(row["split"] == "heldout" for row in PROMPTS)
    assert metrics["drawn"] <= len(PROMPTS) - beyond_reach - sum(map(stays, rows))
    assert metrics["pairs"] == len(rows)


def test_where_no_prompt_is_left_the_pairs_are_those_of_the_paper(tmp_path: Path, models: dict[str, Path]) -> None:
    every = PAPER.model_copy(update={"ordinary_prompts": 100, "safety_prompts": 100})
    alone, _, _ = drawn(tmp_path / "alone", models, None, paper=every)
    rows, metrics, _ = drawn(tmp_path / "chosen", models, EVERYTHING_UNSURE, paper=every)
    assert sorted(row["pair_id"] for row in rows) == sorted(row["pair_id"] for row in alone)
    assert metrics["kept/unsure"] > 0


def test_v1_says_that_there_are_no_reward_models_to_choose_by(tmp_path: Path, models: dict[str, Path]) -> None:
    _, metrics, tables = drawn(tmp_path, models, None, part="V1")
    assert {row["kept because"] for row in tables["selection"]} == {
        "every pair is shown: there are no earlier reward models to choose by"
    }
    assert sum(row["pairs"] for row in tables["selection"]) == metrics["pairs"]
