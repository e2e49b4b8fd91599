"""PPO whose answers a server draws: it is given each policy, and its log-probabilities are held against the trainer's.
The server is one of ours that draws by torch and is started as vLLM is; a real one is in tests/models/samplers."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from models.roles import open_roles
from models.samplers.client import VllmError
from models.samplers.config import VllmConfig
from models.samplers.serving import Serving
from models.training.policy_server import PolicyServer
from tests.models.training.little_runs import LORA, Recorder, ppo_with, renderer_of

PROGRAM = Path(__file__).resolve().parents[1] / "samplers" / "torch_server.py"
SAMPLING = {"temperature": 1.3, "max_new_tokens": 6, "batch_size": 2}


class Served:
    """A PPO on one base, and what it told."""

    def __init__(self, folder: Path, adapters: Path, base: Path, environment: dict[str, str], **changes: Any) -> None:
        folders = {name: adapters / name for name in ("policy", "safety", "helpfulness")}
        roles = open_roles(**folders, base=base, lora=LORA)
        config = VllmConfig(command=(sys.executable, str(PROGRAM), "serve"), environment=environment, retries=1)
        self.said: list[str] = []
        self.recorder = Recorder()
        with Serving(config, "0.32.0", "float32", 1, self.said.append) as serving:
            roles = replace(roles, server=PolicyServer(serving, base, folder / "work" / "served"))
            self.metrics = ppo_with(
                roles, renderer_of(base), folder / "out", folder / "work", self.recorder, sampling=SAMPLING, **changes
            )
        AcceleratorState._reset_state(reset_partial_state=True)
        assert not list((folder / "work" / "served").iterdir()), "adapters go when they have drawn"

        self.weights = load_file(folder / "out" / "adapter_model.safetensors")

    @property
    def adapters(self) -> list[str]:
        return [line for line in self.said if "given halter-policy-" in line]


STEADY = {"learning_rate": 1e-2, "adam_eps": 1e-3}


@pytest.fixture(scope="module")
def alone(adapter_folders: dict[str, Path], gqa_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """By one process: four iterations and three looks."""
    return Served(tmp_path_factory.mktemp("alone"), adapter_folders["gqa"], gqa_policy, {}, **STEADY)


@pytest.mark.slow
@pytest.mark.conformance(
    "PPO learns from another engine's log-probabilities", equation="models.training.policy_server:PolicyServer.draw"
)
def test_each_policy_is_given_to_the_server_under_a_name_of_its_own_and_draws_by_its_own_log_probabilities(
    alone: Served,
) -> None:
    assert len(set(alone.adapters)) == len(alone.adapters) == 4 + 3
    assert alone.recorder.curve("ppo/sampler_weighted") == [0.0] * 4
    gaps = alone.recorder.curve("ppo/sampler_gap_max")
    assert 0 < max(gaps) < 1e-4
    assert all(mean <= most for mean, most in zip(alone.recorder.curve("ppo/sampler_gap"), gaps, strict=True))
    assert alone.metrics["sampler_gap_max"] == gaps[-1]


@pytest.mark.slow
def test_two_processes_over_which_the_models_are_spread_learn_from_the_same_answers_as_one(
    alone: Served, adapter_folders: dict[str, Path], gqa_policy: Path, tmp_path: Path
) -> None:
    spread = Served(tmp_path, adapter_folders["gqa"], gqa_policy, {}, processes=2, sharded=True, **STEADY)
    assert spread.metrics == pytest.approx(alone.metrics, rel=1e-4, abs=1e-5)
    for name, weights in alone.weights.items():
        torch.testing.assert_close(spread.weights[name], weights, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_answers_of_a_policy_of_before_count_by_their_weight(
    adapter_folders: dict[str, Path], gqa_policy: Path, tmp_path: Path
) -> None:
    found = Served(tmp_path, adapter_folders["gqa"], gqa_policy, {"KEEPS": "1"}, learning_rate=1e-2)
    assert found.recorder.curve("ppo/sampler_weighted") == [0.0, 1.0, 1.0, 1.0]
    gaps = found.recorder.curve("ppo/sampler_gap_max")
    assert gaps[1] > 1e-3
    assert gaps[1] < gaps[3]


@pytest.mark.conformance(
    "PPO learns from another engine's log-probabilities",
    equation="models.training.policy_server:PolicyServer.held_against",
)
def test_weights_count_beyond_rounding_alone_and_other_weights_are_found_out() -> None:
    """In float32 a token may be .001 off, in bfloat16 the mean .15; padding counts nowhere."""
    learner, mask = torch.full((1, 4), math.log(0.5)), torch.tensor([[True, True, True, False]])
    near, off = torch.tensor([[0.0009, 0.0, 0.0, 9.0]]), torch.tensor([[0.4, -0.02, 0.0, 9.0]])
    weights, told = PolicyServer.held_against(learner - near, learner, mask, "float32")
    assert weights is None
    assert told["sampler_weighted"] == 0
    assert told["sampler_gap_max"] == pytest.approx(0.0009, abs=1e-6)
    weights, told = PolicyServer.held_against(learner - off, learner, mask, "float32")
    assert weights is not None
    torch.testing.assert_close(weights[0, :3], torch.tensor([math.exp(0.4), math.exp(-0.02), 1.0]))
    assert told == pytest.approx({"sampler_gap": 0.14, "sampler_gap_max": 0.4, "sampler_weighted": 1.0})
    weights, told = PolicyServer.held_against(learner - off, learner, mask, "bfloat16")
    assert weights is None, "a mean of .14"
    for wrong in (learner - 1.1, torch.full((1, 4), math.nan)):
        with pytest.raises(VllmError, match="other weights have answered"):
            PolicyServer.held_against(wrong, learner, mask, "bfloat16")
