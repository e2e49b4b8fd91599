"""How rewards move from policy to policy: bins by hand, and every policy under one pair of reward models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.evaluations.evaluation import Subject
from tasks.evaluations.registry import EvaluateConfig
from tasks.evaluations.reward_shift import BINS, RewardShift, bin_edges, bin_of, earlier_policies
from tasks.sampling import draw, score
from tests.tasks.bench import step_run
from tests.tasks.little_policy import terse_policy


def test_bins_are_equally_wide_from_the_least_to_the_highest_and_the_outer_ones_hold_what_lies_beyond() -> None:
    edges = bin_edges([2.0, 0.0, 4.0, 1.0], 4)
    assert edges == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [bin_of(value, edges) for value in (0.0, 0.99, 1.0, 2.5, 3.0, 4.0)] == [0, 0, 1, 2, 3, 3]
    assert (bin_of(-9.0, edges), bin_of(9.0, edges)) == (0, 3)


def test_one_value_in_two_hundred_lies_beyond_each_end() -> None:
    values = [-1000.0, *(float(n) for n in range(398)), 1000.0]
    assert bin_edges(values, 1) == [1.0, 396.0]


def test_values_that_are_all_alike_stand_in_the_middle() -> None:
    edges = bin_edges([3.0] * 5, 2)
    assert edges == [2.5, 3.0, 3.5]
    assert bin_of(3.0, edges) == 1


def test_the_policy_before_the_final_stage_is_another_one_than_that_after_it() -> None:
    rows = [{"iteration": part, "response_id": str(n)} for n, part in enumerate(["V0", "V1", "V1", "V2"])]
    found = earlier_policies(rows, "V2")
    assert {name: [row["response_id"] for row in each] for name, each in found.items()} == {
        "V0": ["0"],
        "V1": ["1", "2"],
        "V2-sampled": ["3"],
    }


def prompt(number: int) -> dict[str, Any]:
    asked = [{"role": "user", "content": f"ask the llama {number}"}]
    axis = "safety" if number % 2 else "helpfulness"
    row = {"prompt_id": f"p{number}", "source": "p", "kind": "import", "axis": axis, "split": "heldout"}
    return {**row, "messages": asked}


def responses(part: str, prompts: Sequence[dict[str, Any]], answers: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "response_id": f"{part}{row['prompt_id']}", "prompt_id": row["prompt_id"], "iteration": part,
            "policy_version": part, "temperature_milli": 700, "seed": 1, "text": answer.text, **answer.columns(),
            "messages": row["messages"],
        }
        for row, answer in zip(prompts, answers, strict=True)
    ]  # fmt: skip


@pytest.mark.conformance(
    "policies compared by reward models of several iterations",
    equation="tasks.evaluations.reward_shift:RewardShift.measure",
)
def test_every_policys_answers_are_scored_by_the_newest_reward_models_and_make_one_histogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = terse_policy(tmp_path)
    renderer, policy = Renderer(load_tokenizer(folder)), load_policy(folder)
    torch.manual_seed(2)
    for axis in ("safety", "helpfulness"):
        model = reward_from_policy(folder, None, lora=None, seed=0)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.normal_(std=0.5)
        save_checkpoint(model, renderer.tokenizer, tmp_path / axis)
    prompts, sampling = [prompt(n) for n in range(10)], SamplingConfig(max_new_tokens=3)

    def said(seed: int) -> list[Any]:
        asked = [row["messages"] for row in prompts]
        return [each for (each,) in draw(policy, renderer, asked, sampling, temperatures=[1.0], seed=seed)]

    first, mine = said(1), said(2)
    gone = {**responses("V1", [prompt(99)], first[:1])[0]}  # to a prompt that is no longer asked
    earlier = [*responses("V0", prompts, first), *responses("V1", prompts, mine), gone]
    inputs: dict[str, Any] = {
        **{f"{axis}_reward": tmp_path / axis for axis in ("safety", "helpfulness")},
        "earlier_responses": ("response", earlier),
    }
    run = step_run(tmp_path / "run", inputs=inputs, part="V2")
    subject = Subject(run, policy, renderer, None, None, prompts, mine, {})
    shown: list[tuple[float, str]] = []
    progress = run.progress
    monkeypatch.setattr(run, "progress", lambda *told: (shown.append(told), progress(*told)))
    found = dict(RewardShift().measure(subject, EvaluateConfig(sampling=sampling)))
    assert [text for _, text in shown] == ["scoring answers"] * len(shown)
    assert [fraction for fraction, _ in shown] == sorted({fraction for fraction, _ in shown}), "and it shows"
    assert len(shown) >= 6, "of three policies by two models"

    models = [load_reward(tmp_path / axis) for axis in ("safety", "helpfulness")]
    for part, answers in (("V0", first), ("V2", mine)):
        raw = score(
            models, renderer, [(row["messages"], each) for row, each in zip(prompts, answers, strict=True)], sampling
        )
        # no level was learned, so the prompt alone decides which model does
        rewards = [
            safe if row["axis"] == "safety" else helpful for row, (safe, helpful) in zip(prompts, raw, strict=True)
        ]
        mean = found[f"shift/{part}/mean"]
        assert mean.value == pytest.approx(sum(rewards) / 10, abs=1e-5)
        assert (mean.n, mean.judge) == (10, "newest reward models")
        edges = [found[f"shift/edge/{i}"] for i in range(BINS + 1)]
        for i in range(BINS):
            assert found[f"shift/{part}/bin/{i}"].value == sum(bin_of(each, edges) == i for each in rewards) / 10
    assert found["shift/V1/mean"].value == pytest.approx(found["shift/V2/mean"].value, abs=1e-5)
    for part in ("V0", "V1", "V2"):
        assert sum(found[f"shift/{part}/bin/{i}"].value for i in range(BINS)) == pytest.approx(1.0)
