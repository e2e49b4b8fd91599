"""Answers of one policy drawn by torch's sampler and by a vLLM server, in turns, and how far their log-probabilities
are apart.

`python -m benchmarks.vllm_sampling MODEL_FOLDER PROGRAM…`: the program with its first arguments, such as
`build/vllm/bin/vllm serve`. Takes a few minutes on two cores.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import torch

from models.algorithms.logprobs import token_logprobs
from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.generation import Request, Response, sample
from models.samplers.config import VllmConfig
from models.samplers.served import ServedPolicy
from models.samplers.serving import Serving
from tasks.answers import open_renderer

TOPICS = ("lighthouses", "bread", "tides", "trains", "snow", "violins", "maps", "bees")
ANSWERS = 4
SAMPLING = SamplingConfig(max_new_tokens=32, batch_size=32)


def asked_of(folder: Path, round_: int) -> list[Request]:
    """A prompt for each topic, each to be answered several times; each round by other random numbers."""
    renderer = open_renderer(folder)
    prompts = [renderer.prompt([{"role": "user", "content": f"Tell me something about {topic}."}]) for topic in TOPICS]
    return [Request(ids, (0.7,) * ANSWERS, 1000 * round_ + i) for i, ids in enumerate(prompts)]


def apart(policy: torch.nn.Module, requests: list[Request], answers: list[list[Response]]) -> list[float]:
    """Each log-probability that vLLM gave, from torch's of the same token."""
    found = []
    for request, responses in zip(requests, answers, strict=True):
        for response in responses:
            ids = torch.tensor([[*request.ids, *response.ids]])
            with torch.inference_mode():
                logits = policy(input_ids=ids, logits_to_keep=len(response.ids) + 1).logits[:, :-1]
            ours = token_logprobs(logits, ids[:, len(request.ids) :], 0.7)[0].tolist()
            found += [abs(a - b) for a, b in zip(ours, response.logprobs, strict=True)]
    return found


def measure(folder: Path, config: VllmConfig, dtype: str, rounds: int) -> None:
    """Write the figures of one precision."""
    policy, renderer = load_policy(folder, dtype=dtype), open_renderer(folder)
    differences: list[float] = []
    speeds: dict[str, list[float]] = {"torch": [], "vLLM": []}
    began = time.monotonic()
    with Serving(config, "0.32.0", dtype, SAMPLING.batch_size, lambda _: None) as serving:
        served: ServedPolicy = serving.policy(policy, folder, None, "base")
        started = time.monotonic() - began
        served.sample(asked_of(folder, 0)[:1], SAMPLING, end_ids=renderer.end_ids)
        first = time.monotonic() - began - started
        for round_ in range(1, rounds + 1):
            requests = asked_of(folder, round_)
            for name in ("torch", "vLLM"):
                begin = time.monotonic()
                if name == "vLLM":
                    answers = served.sample(requests, SAMPLING, end_ids=renderer.end_ids)
                else:
                    answers = sample(policy, requests, SAMPLING, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
                tokens = sum(len(one.ids) for responses in answers for one in responses)
                speeds[name].append(tokens / (time.monotonic() - begin))
                if name == "vLLM":
                    differences += apart(policy, requests, answers)
    windows = [statistics.fmean(differences[i : i + 16]) for i in range(0, len(differences) - 15, 16)]
    ratios = [b / a for a, b in zip(speeds["torch"], speeds["vLLM"], strict=True)]
    sys.stdout.write(
        f"{dtype}: started in {started:.0f} s, first answer after {first:.0f} s more; tokens a second: "
        + ", ".join(f"{name} {statistics.median(each):.0f}" for name, each in speeds.items())
        + f"; vLLM / torch {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}); "
        f"log-probabilities apart at most {max(differences):.2g}, in the mean {statistics.fmean(differences):.2g}, "
        f"of {len(differences)} tokens; of 16 in a row at most {max(windows):.2g} in the mean\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", nargs="+")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    on_cpu = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    settings = {} if torch.cuda.is_available() else {"environment": on_cpu, "arguments": ("--enforce-eager",)}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    measure(given.folder, VllmConfig.model_validate({"command": given.command, **settings}), given.dtype, given.rounds)


if __name__ == "__main__":
    main()
