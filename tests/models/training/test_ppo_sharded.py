"""PPO whose five models are spread over two processes is PPO in one: rollouts, losses, weights, files, and its end when
it is killed. The processes are real ones that talk through gloo; the launcher lets the main one alone write files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file
from torch import distributed

from models.config import PPOConfig
from models.dialogue import Renderer
from models.responses import lay_responses, read_logprobs, read_scores, read_values
from models.roles import open_roles
from models.training.processes import data_parallel
from models.training.reporting import Quiet, Reporter
from models.training.sharding import own, shard
from tests.models.training.conftest import Launch
from tests.models.training.little_runs import LORA, contents

SPREAD = {"processes": 2, "sharded": True}
# 6 prompts in groups of 2: in the second turn one process has none left, and goes along
ROUNDS: dict[str, Any] = {
    "iterations": 3,
    "batch_size": 6,
    "mini_batch_size": 2,
    "adam_eps": 1e-3,
    "sampling": {"temperature": 1.3, "max_new_tokens": 6, "batch_size": 2},
}
KINDS = {"whole models": ("ppo", {"adapted": False}), "one base": ("ppo on one base", {})}


def curves(folder: Path) -> dict[tuple[str, int], float]:
    lines = map(json.loads, (folder / "curves.txt").read_text().splitlines())
    return {(name, step): value for name, step, value in lines}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.conformance("a spread training differs", equation="models.training.sharding:add_up_gradients")
def test_rollouts_losses_weights_and_files_are_those_of_one_process(launch: Launch, tmp_path: Path, kind: str) -> None:
    """Three iterations of three mini-batches. Every figure of an iteration and of a look agrees, gradient norms before
    they are clipped among them; so do the weights of the last checkpoint, and of the policy that is kept."""
    name, own_changes = KINDS[kind]
    folders = {}
    for number, more in enumerate(({}, SPREAD)):
        folder = folders[number] = tmp_path / str(number)
        assert launch(name, folder, **ROUNDS, **own_changes, **more) == 0, (folder / "output.txt").read_text()[-3000:]
    one, spread = folders[0], folders[1]
    first, second = curves(one), curves(spread)
    assert first.keys() == second.keys()
    assert min(value for (figure, _), value in first.items() if figure.endswith("grad_norm")) > 1e-3
    for key, value in first.items():
        assert second[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
    for file in ("policy", "value"):
        weights, others = (load_file(each / "work" / "checkpoint-3" / f"{file}.safetensors") for each in (one, spread))
        assert weights.keys() == others.keys()
        for weight, tensor in weights.items():
            torch.testing.assert_close(others[weight], tensor, atol=1e-5, rtol=0)
    assert contents(spread / "out").keys() == contents(one / "out").keys()
    kept, same = (load_file(next((each / "out").glob("*.safetensors"))) for each in (one, spread))
    for weight, tensor in kept.items():
        torch.testing.assert_close(same[weight], tensor, atol=1e-5, rtol=0)
    metrics = [json.loads((each / "metrics.json").read_text()) for each in (one, spread)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.conformance("resume quietly does nothing, or skips data", equation="models.training.ppo:train_ppo")
def test_when_it_was_killed_it_ends_with_the_bytes_of_one_that_was_not(launch: Launch, tmp_path: Path) -> None:
    name, straight, broken = "ppo on one base", tmp_path / "straight", tmp_path / "broken"
    rounds = {**ROUNDS, "iterations": 2, **SPREAD}
    assert launch(name, straight, checkpoint_seconds=1e9, **rounds) == 0
    assert not list((straight / "work").glob("checkpoint-*"))
    assert launch(name, broken, die_before="checkpoint-2", **rounds) == 1
    assert "training process 1 of 2 ended with code -9" in (broken / "output.txt").read_text()
    assert [path.name for path in (broken / "work").glob("checkpoint-*")] == ["checkpoint-1"]
    assert launch(name, broken, **rounds) == 0
    assert contents(broken / "out") == contents(straight / "out")
    assert contents(broken / "work" / "looks") == contents(straight / "work" / "looks")
    assert json.loads((broken / "metrics.json").read_text()) == json.loads((straight / "metrics.json").read_text())
    assert curves(broken) == curves(straight)


@data_parallel
def held(folders: Path, base: Path, config: PPOConfig, *, reporter: Reporter) -> dict[str, Any]:
    """Bytes of all that the five roles hold in this process, and what they say, after each has read."""
    PartialState(cpu=True)
    roles = open_roles(**{name: folders / name for name in ("policy", "safety", "helpfulness")}, base=base, lora=LORA)  # type: ignore[arg-type]
    batch = lay_responses([[1, 5, 6], [1, 5]], [[7, 8], [9, 10, 11]], 0, roles.row_cost)

    def said() -> list[Any]:
        with torch.no_grad():
            logprobs = [read_logprobs(each, batch, 1.0)[0].tolist() for each in (roles.policy, roles.reference)]
            scores = [read_scores(each, batch).tolist() for each in (roles.safety, roles.helpfulness)]
            return [logprobs, scores, read_values(roles.value, batch).tolist()]

    whole, alone = roles.weight_bytes(), said()
    shard(*roles.models, processes=config.processes)
    together = said()
    tensors = [own(each) for model in roles.models for each in model.parameters()]
    parts = sum({each.data_ptr(): each.nbytes for each in tensors}.values())
    found: list[Any] = [None] * config.processes
    distributed.all_gather_object(found, parts)
    return {"whole": whole, "parts": found, "alone": alone, "together": together}


@pytest.mark.slow
@pytest.mark.conformance("one base, spread for each role", equation="models.training.sharding:shard")
def test_the_base_of_five_roles_is_spread_once_and_each_process_holds_half_of_all(
    adapter_folders: dict[str, Path], gqa_policy: Path, renderer: Renderer
) -> None:
    config = PPOConfig(batch_size=2, mini_batch_size=2, processes=2, sharded=True)
    found = held(adapter_folders["gqa"], gqa_policy, config, reporter=Quiet())
    assert sum(found["parts"]) == found["whole"]
    assert max(found["parts"]) <= 0.51 * found["whole"]
    torch.testing.assert_close(_flat(found["together"]), _flat(found["alone"]), atol=1e-5, rtol=0)


def _flat(said: Any) -> torch.Tensor:
    return torch.tensor([said]) if isinstance(said, float) else torch.cat([_flat(each) for each in said])
