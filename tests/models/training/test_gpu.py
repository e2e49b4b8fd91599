"""On a real GPU, about a minute: `python -m pytest -m gpu tests/models/training/test_gpu.py`.

Sampling, scoring, verdicts and each trainer run there in float32 and in bfloat16, and say what the CPU says within what
the other order of sums leaves over.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from models import devices
from models.checkpoint import load_policy, load_reward
from models.config import SamplingConfig
from models.devices import device
from models.dialogue import Renderer
from models.generation import ask, sample
from models.scoring import lay_out, response_logprobs, score_rows
from models.shards import map_shards
from tests.models.training.little_runs import Recorder, dialogues, prompts
from tests.models.training.test_precision import LOSSES, TRAINERS, WAYS, Models, trained

pytestmark = pytest.mark.gpu
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # TF32 is off by default; weights here are ten times the usual


@pytest.fixture
def models(gqa_policy: Path, reward_folders: dict[str, Path], adapter_folders: dict[str, Path]) -> Models:
    return Models(gqa_policy, reward_folders["gqa"], adapter_folders["gqa"])


class Places:
    """The devices of the weights and ids of every forward pass."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __enter__(self) -> "Places":
        self.hook = nn.modules.module.register_module_forward_pre_hook(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def _note(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding):
            self.seen |= {module.weight.device.type, inputs[0].device.type}


def test_the_gpu_is_the_device_of_this_process() -> None:
    assert device() == torch.device("cuda", 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_log_probabilities_of_what_was_drawn_are_exact_and_those_of_the_cpu(
    models: Models, renderer: Renderer, dtype: str
) -> None:
    policy = load_policy(models.base, dtype=dtype)
    asked = [prompt.ids for prompt in prompts(renderer)]
    with Places() as places:
        drawn = sample(
            policy, ask(asked, [1.3, 1.3], 1), SamplingConfig(max_new_tokens=8), end_ids=renderer.end_ids,
            pad_id=renderer.pad_id,
        )  # fmt: skip
    assert places.seen == {"cuda"}
    responses = [first for first, _ in drawn]
    kept = torch.tensor([number for response in responses for number in response.logprobs])
    for where, tolerance in (("cuda", TOLERANCE[dtype]), ("cpu", 2 * TOLERANCE[dtype])):
        ids, attention, mask = lay_out(asked, [r.ids for r in responses], renderer.pad_id, torch.device(where))
        with torch.no_grad():
            found, _ = response_logprobs(policy.to(where), ids, attention, mask.shape[1], 1.3)
        assert (found[mask].cpu() - kept).abs().mean() < tolerance


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rewards_are_those_of_the_cpu(models: Models, renderer: Renderer, way: str, dtype: str) -> None:
    folder = models.reward if way == "whole" else models.adapters / "safety"
    rows = [renderer.dialogue(messages).input_ids for messages in dialogues()]
    model = load_reward(folder, models.base, dtype=dtype)
    with Places() as places:
        found = torch.tensor(score_rows(model, rows, renderer.pad_id, 4))
    assert places.seen == {"cuda"}
    expected = torch.tensor(score_rows(load_reward(folder, models.base, on=devices.CPU), rows, renderer.pad_id, 4))
    assert (found - expected).abs().max() < TOLERANCE[dtype] * expected.std()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_trainer_runs_there_and_its_loss_is_that_of_the_cpu(
    models: Models, renderer: Renderer, tmp_path: Path, trainer: str, way: str, dtype: str, checkpointing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """PPO draws other answers there: random numbers of a GPU are its own. So of it the numbers are finite alone."""
    losses = []
    for where in ("cuda", "cpu"):
        with monkeypatch.context() as patch:
            if where == "cpu":
                patch.setattr(torch.cuda, "is_available", lambda: False)
            AcceleratorState._reset_state(reset_partial_state=True)
            model, train = TRAINERS[trainer](models, renderer, way, dtype, gradient_checkpointing=checkpointing)
            heard = Recorder()
            with Places() as places:
                train(tmp_path / where, heard)
            assert places.seen == {where}
            assert {weight.dtype for weight in trained(model).values()} == {torch.float32}
            losses.append(torch.tensor(heard.curve(LOSSES[trainer])))
    assert torch.isfinite(losses[0]).all()
    if trainer != "ppo":
        torch.testing.assert_close(losses[0], losses[1], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_shards_do_not_fork() -> None:
    def part(items: Any, shard: int) -> list[float]:
        return [float(torch.tensor(item, device=device()) + shard) for item in items]

    assert map_shards(part, range(4), 2) == [0, 2, 2, 4]
