"""A real vLLM server draws, and what it says is held against torch with the same weights."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.algorithms.logprobs import token_logprobs
from models.checkpoint import load_policy, reward_from_policy, save_checkpoint
from models.config import LoraConfig, SamplingConfig
from models.dialogue import Renderer
from models.generation import Request, Response
from models.roles import open_roles
from models.samplers.client import VllmError, http_client
from models.samplers.config import VllmConfig
from models.samplers.replies import check_reached
from models.samplers.served import BOUNDS, Called, ServedPolicy
from models.samplers.serving import Serving
from models.training.policy_server import PolicyServer
from tests.models.conftest import stirred
from tests.models.training.little_runs import Recorder, ppo_with
from tests.ports import free_port
from tests.vllm import MISSING, PROGRAM, VLLM, command_of, in_group

pytestmark = [pytest.mark.vllm, pytest.mark.skipif(not PROGRAM.exists(), reason=MISSING)]

VERSION = "0.32.0"
SAMPLING = SamplingConfig(max_new_tokens=24, batch_size=8)
ASKED = [{"role": "user", "content": "Who keeps the lamp?"}]
MORE = [{"role": "user", "content": "Where is the old mill, and who may touch it?"}]


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What was told in the step's log."""
    return []


@pytest.fixture(scope="module")
def serving(told: list[str]) -> Iterator[Serving]:
    with Serving(VLLM, VERSION, "float32", 8, told.append) as open_here:
        yield open_here


def opened(serving: Serving, folders: dict[str, Path], name: str) -> ServedPolicy:
    """One of the folders, as the server answers for it."""
    base = folders["one"] if "adapter" in name else None
    return serving.policy(load_policy(folders[name], base), folders[name], base, name)


def requests(renderer: Renderer, *temperatures: float, seed: int = 3) -> list[Request]:
    return [Request(renderer.prompt(each), temperatures, seed + i) for i, each in enumerate((ASKED, MORE))]


def drawn(policy: ServedPolicy, renderer: Renderer, asked: list[Request]) -> list[list[Response]]:
    return policy.sample(asked, SAMPLING, end_ids=renderer.end_ids)


def worst_difference(policy: ServedPolicy, asked: list[Request], answers: list[list[Response]]) -> float:
    """Between the log-probabilities that the server gave and torch's of the same tokens."""
    found = 0.0
    for request, responses in zip(asked, answers, strict=True):
        for temperature, response in zip(request.temperatures, responses, strict=True):
            ids = torch.tensor([[*request.ids, *response.ids]])
            with torch.inference_mode():
                logits = policy.policy(input_ids=ids).logits[:, len(request.ids) - 1 : -1]
            ours = token_logprobs(logits, ids[:, len(request.ids) :], temperature)[0].tolist()
            found = max(found, *(abs(a - b) for a, b in zip(ours, response.logprobs, strict=True)))
    return found


@pytest.mark.conformance(
    "a server gives log-probabilities of another temperature than it draws at",
    equation="models.samplers.server:Server._command",
)
@pytest.mark.parametrize("name", ["one", "other", "adapter", "next_adapter"])
def test_whole_weights_and_adapters_one_after_the_other_draw_by_their_own_log_probabilities(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer, told: list[str], name: str
) -> None:
    policy = opened(serving, served_folders, name)
    asked = requests(renderer, 0.7, 1.0, 1.3)
    answers = drawn(policy, renderer, asked)
    assert worst_difference(policy, asked, answers) < BOUNDS["float32"]
    assert any("16 tokens are within" in line for line in told)
    for responses in answers:
        for response in responses:
            assert response.finished == (response.ids[-1] in renderer.end_ids)
            assert response.finished or len(response.ids) == SAMPLING.max_new_tokens


def test_at_a_tiny_temperature_each_token_is_the_likeliest_of_torch(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer
) -> None:
    """A token whose logit is .02 below the highest has a probability of e^-20 at .001."""
    policy = opened(serving, served_folders, "adapter")
    asked = requests(renderer, 1e-3)
    for request, (response,) in zip(asked, drawn(policy, renderer, asked), strict=True):
        ids = torch.tensor([[*request.ids, *response.ids]])
        with torch.inference_mode():
            logits = policy.policy(input_ids=ids).logits[0, len(request.ids) - 1 : -1]
        said = logits.gather(1, ids[0, len(request.ids) :, None])[:, 0]
        assert float((logits.amax(-1) - said).max()) < 0.02


@pytest.mark.conformance(
    "an answer depends on what a server is asked beside it", equation="models.samplers.served:ServedPolicy.sample"
)
def test_one_seed_gives_one_answer_in_whatever_company_and_another_seed_or_place_another_one(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer
) -> None:
    policy = opened(serving, served_folders, "adapter")
    asked = requests(renderer, 1.3, 1.3)
    together = drawn(policy, renderer, asked)
    assert drawn(policy, renderer, asked[:1]) == together[:1]
    assert together[0][0].ids != together[0][1].ids
    assert drawn(policy, renderer, requests(renderer, 1.3, 1.3, seed=99))[0][0].ids != together[0][0].ids


@pytest.mark.conformance(
    "a server that has the weights of before answers for the new ones",
    equation="models.samplers.served:ServedPolicy._compare",
)
def test_a_server_that_kept_the_policy_of_before_is_refused(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer
) -> None:
    before = opened(serving, served_folders, "adapter")
    drawn(before, renderer, requests(renderer, 1.0))
    after = load_policy(served_folders["next_adapter"], served_folders["one"])
    kept = ServedPolicy(before._client, Called.now("halter-adapter", 256), after, "float32", print)
    with pytest.raises(VllmError, match="it answers with other weights"):
        drawn(kept, renderer, requests(renderer, 1.0))


def test_other_weights_at_the_place_of_an_adapter_are_the_ones_that_answer(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer, tmp_path: Path
) -> None:
    place, asked = tmp_path / "adapter", requests(renderer, 1.0)
    worst = []
    for name in ("adapter", "next_adapter"):
        place.mkdir(exist_ok=True)
        for file in served_folders[name].iterdir():
            (place / file.name).write_bytes(file.read_bytes())
        base = served_folders["one"]
        policy = serving.policy(load_policy(place, base), place, base, "same")
        worst.append(worst_difference(policy, asked, drawn(policy, renderer, asked)))
    assert max(worst) < BOUNDS["float32"]


def test_a_server_that_somebody_else_started_is_given_adapters_and_keeps_none(
    served_folders: dict[str, Path], renderer: Renderer
) -> None:
    port = free_port()
    words = [str(PROGRAM), "serve", str(served_folders["one"]), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--enforce-eager", "--dtype", "float32", "--enable-lora", "--max-lora-rank", "8"]
    words += ["--logprobs-mode", "processed_logprobs", "--served-model-name", "the-base"]
    environment = {**os.environ, **VLLM.environment, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    config = VllmConfig(url=f"http://127.0.0.1:{port}", retries=0)
    with subprocess.Popen(words, env=environment, start_new_session=True) as running:
        try:
            for _ in range(600):
                time.sleep(0.5)
                with suppress(VllmError):
                    check_reached(config, VERSION)
                    break
            with Serving(config, VERSION, "float32", 8, print) as serving:
                for name in ("adapter", "next_adapter"):
                    policy, asked = opened(serving, served_folders, name), requests(renderer, 1.0)
                    assert worst_difference(policy, asked, drawn(policy, renderer, asked)) < BOUNDS["float32"]
            with http_client(config) as http:
                assert [each["id"] for each in http.get("/v1/models").json()["data"]] == ["the-base"]
        finally:
            os.killpg(running.pid, signal.SIGKILL)


def test_a_server_that_is_killed_at_work_is_an_error_with_its_last_words_and_leaves_nothing(
    served_folders: dict[str, Path], renderer: Renderer
) -> None:
    long = SamplingConfig(max_new_tokens=200, batch_size=4)
    with Serving(VLLM, VERSION, "float32", 4, print) as serving:
        policy = opened(serving, served_folders, "one")
        drawn(policy, renderer, requests(renderer, 1.0))
        assert serving.server is not None
        group = serving.server.group
        engine = next(pid for pid in in_group(group) if "EngineCore" in command_of(pid))

        def kill() -> None:
            time.sleep(0.5)
            os.kill(engine, signal.SIGKILL)

        threading.Thread(target=kill).start()
        with pytest.raises(VllmError, match="the same command does this step again"):
            policy.sample(requests(renderer, *[1.3] * 200), long, end_ids=())
    assert in_group(group) == []


@pytest.mark.conformance(
    "PPO learns from another engine's log-probabilities", equation="models.training.policy_server:PolicyServer.draw"
)
def test_ppo_gives_the_server_each_new_policy_and_finds_it_as_near_as_rounding(
    serving: Serving, served_folders: dict[str, Path], renderer: Renderer, told: list[str], tmp_path: Path
) -> None:
    """Steps large enough for a policy of before to be found out: two iterations, each of two steps, and two looks."""
    base, policy = served_folders["one"], served_folders["adapter"]
    for number, name in enumerate(("safety", "helpfulness")):
        lora = LoraConfig(rank=4, alpha=8)
        reward = stirred(reward_from_policy(policy, base, lora=lora, seed=number), seed=number)
        save_checkpoint(reward, renderer.tokenizer, tmp_path / name)
    roles = open_roles(
        policy=policy,
        safety=tmp_path / "safety",
        helpfulness=tmp_path / "helpfulness",
        base=base,
        lora=LoraConfig(rank=4),
    )
    recorder = Recorder()
    ppo_with(
        replace(roles, server=PolicyServer(serving, base, tmp_path / "served")),
        renderer, tmp_path / "out", tmp_path / "work", recorder, learning_rate=1e-2, iterations=2, batch_size=8,
        mini_batch_size=4, sampling={"temperature": 1.3, "max_new_tokens": 16, "batch_size": 8},
    )  # fmt: skip
    assert recorder.curve("ppo/sampler_weighted") == [0.0, 0.0]
    assert max(recorder.curve("ppo/sampler_gap_max")) < BOUNDS["float32"]
    assert recorder.curve("ppo/kl")[1] > 10 * BOUNDS["float32"], "the policy has moved"
