"""Runs PPO in several gloo processes: imports torch once, then forks them.

Reads one JSON object a line: how many processes, the models, a folder. Each process leaves there what it reported, the
prompts that it answered, and its weights at the end. Says the largest exit code of a job's processes.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from models.checkpoint import load_policy, load_reward
from models.config import SamplingConfig
from models.roles import Roles, open_roles
from models.training import rollouts
from tests.models.training.little_runs import LORA, Recorder, ppo_with, renderer_of


def open_job(job: dict[str, Any]) -> Roles:
    base, reward = Path(job["policy"]), Path(job["reward"])
    if job["one_base"]:
        folders = {name: reward / name for name in ("policy", "safety", "helpfulness")}
        return open_roles(**folders, base=base, lora=LORA)
    value = load_reward(reward, trainable=True)
    return Roles(load_policy(base, trainable=True), load_policy(base), value, load_reward(reward), load_reward(reward))


def run(job: dict[str, Any], rank: int) -> None:
    answered: list[int] = []
    original = rollouts.sample

    def listen(model: nn.Module, prompts: Sequence[Sequence[int]], *args: Any, **kwargs: Any) -> Any:
        answered.append(len(prompts))
        return original(model, prompts, *args, **kwargs)

    rollouts.sample = listen
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job["processes"])}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job["port"])}
    folder, recorder, roles = Path(job["folder"]), Recorder(), open_job(job)
    metrics = ppo_with(
        roles, renderer_of(Path(job["policy"])), folder / "out", folder / "work", recorder, batch_size=8,
        mini_batch_size=4, iterations=2, epochs=2, adam_eps=1e-3, kl_coef=0.1, checkpoint_seconds=1e-6,
        accumulation_steps=2, sampling=SamplingConfig(temperature=1.3, max_new_tokens=6, batch_size=2),
    )  # fmt: skip
    for name, model in roles.trained.items():
        weights = {key: p.detach().clone() for key, p in model.named_parameters() if p.requires_grad}
        save_file(weights, folder / f"{name}-{rank}.safetensors")
    text = {"metrics": metrics, "reported": recorder.metrics, "answered": answered}
    (folder / f"{rank}.json").write_text(json.dumps(text))


def start(job: dict[str, Any], rank: int) -> int:
    """The process id of the fork that runs the job as `rank`."""
    child = os.fork()
    if child == 0:
        with (Path(job["folder"]) / f"output-{rank}.txt").open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            run(job, rank)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        children = [start(job, rank) for rank in range(job["processes"])]
        print(max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children), flush=True)


if __name__ == "__main__":
    main()
