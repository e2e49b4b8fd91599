"""Where models lie and compute, and in how many processes."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from models import devices, shards
from models.checkpoint import load_policy, load_reward
from models.config import SamplingConfig
from models.devices import autocast, device, require_devices, use_threads
from models.dialogue import Renderer
from models.roles import open_roles
from models.shards import map_shards
from models.training.rollouts import answer
from tests.models.elsewhere import CPU, DEVICE, elsewhere
from tests.models.training.little_runs import LORA, prompts


def test_a_process_of_a_training_has_the_gpu_of_its_rank_and_any_other_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert device() == torch.device("cuda", 2)


def test_more_processes_than_gpus_are_refused_and_on_a_cpu_any_number_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    require_devices(4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_devices(2)
    with pytest.raises(ValueError, match="processes: 3 take a GPU each, this machine has 2: set processes to 2"):
        require_devices(3)


@pytest.mark.slow
def test_what_is_read_opens_where_this_process_computes_and_what_is_trained_where_a_fork_may_take_it(
    policy_folder: Path,
    reward_folder: Path,
    adapter_folders: dict[str, Path],
    heads: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def places(model: nn.Module) -> set[torch.device]:
        return {tensor.device for tensor in (*model.parameters(), *model.buffers())}

    adapters = adapter_folders[heads]
    with elsewhere(monkeypatch):
        read = [
            load_policy(policy_folder), load_policy(adapters / "policy", policy_folder), load_reward(reward_folder),
            load_reward(adapters / "safety", policy_folder),
            load_policy(adapters / "policy", load_policy(policy_folder)),
            load_policy(policy_folder, dtype="bfloat16"), load_reward(reward_folder, dtype="bfloat16"),
        ]  # fmt: skip
        assert [places(model) for model in read] == [{DEVICE}] * len(read)
        trained = [load_policy(policy_folder, trainable=True), load_policy(policy_folder, lora=LORA, trainable=True)]
        folders = {name: adapters / name for name in ("policy", "safety", "helpfulness")}
        trained += open_roles(**folders, base=policy_folder, lora=LORA).models
        trained += open_roles(
            policy=policy_folder, safety=reward_folder, helpfulness=reward_folder, base=None, lora=None
        ).models
        assert [places(model) for model in trained] == [{CPU}] * len(trained)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "adapters"])
def test_the_rollouts_of_ppo_are_drawn_and_read_by_all_five_models_on_the_device(
    policy_folder: Path,
    reward_folder: Path,
    adapter_folders: dict[str, Path],
    heads: str,
    renderer: Renderer,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    adapters = {name: adapter_folders[heads] / name for name in ("policy", "safety", "helpfulness")}
    whole = {"policy": policy_folder, "safety": reward_folder, "helpfulness": reward_folder}
    with elsewhere(monkeypatch) as read:
        if way == "whole":
            roles = open_roles(**whole, base=None, lora=None)
        else:
            roles = open_roles(**adapters, base=policy_folder, lora=LORA)
        roles.place(devices.device())
        sampling = SamplingConfig(max_new_tokens=4, batch_size=4)
        found = answer(roles, prompts(renderer), renderer, sampling, Accelerator(cpu=True), seed=1)
    assert len(found) == 8
    assert set(read) == {DEVICE}


def test_with_an_accelerator_shards_are_done_in_this_process_with_the_same_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def part(items: Sequence[int], shard: int) -> list[tuple[int, int, int]]:
        return [(item, shard, os.getpid()) for item in items]

    forked = map_shards(part, range(7), 3)
    assert len({pid for *_, pid in forked}) == 3
    monkeypatch.setattr(shards, "has_accelerator", lambda: True)
    here = map_shards(part, range(7), 3)
    assert {pid for *_, pid in here} == {os.getpid()}
    assert [each[:2] for each in here] == [each[:2] for each in forked] == [(i, i % 3) for i in range(7)]


def test_autocast_changes_products_alone_and_only_in_bfloat16() -> None:
    x = torch.full((1, 256), 1 / 3, requires_grad=True)
    with autocast("float32"):
        assert (x @ x.T).dtype == torch.float32
    with autocast("bfloat16"):
        assert (x @ x.T).dtype == torch.bfloat16
        assert (x + x).dtype == torch.float32


def test_threads_are_those_that_were_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        use_threads(before)
