"""Steps whose answers a server draws: rejection sampling by a server that is started, dies, and is started again."""

import sys
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.generation import Request, sample
from models.samplers.client import VllmError
from models.samplers.config import VllmConfig
from models.seeds import derive_seed
from tasks.answers import open_renderer
from tasks.candidates import draw_candidates
from tasks.rejection_sample import RejectionConfig, rejection_sample
from tasks.sampling import speakers
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import SAMPLED, llama_prompts, terse_policy, with_reward_model
from tests.vllm import SAMPLER

PROGRAM = Path(__file__).resolve().parents[1] / "models" / "samplers" / "torch_server.py"
SAMPLING = SamplingConfig.model_validate({"max_new_tokens": 4, "sampler": SAMPLER, "batch_size": 1})
CONFIG = RejectionConfig(
    prompts=4, safety_share=0, temperatures=(0.7, 1.0), samples=2, unfinished="score", sampling=SAMPLING
)
PROMPTS = llama_prompts(4)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_reward_model(terse_policy(tmp_path_factory.mktemp("policy")))


def server(**environment: str) -> VllmConfig:
    return VllmConfig(command=(sys.executable, str(PROGRAM), "serve"), environment=environment, retries=1)


def drawn(folder: Path, policy: Path, vllm: VllmConfig | None) -> list[dict[str, Any]]:
    """The candidates of rejection sampling."""
    folder.mkdir()
    rewards = dict.fromkeys(("safety_reward", "helpfulness_reward"), policy.parent / "reward")
    inputs = {"policy": policy, **rewards, "prompts": ("prompt", PROMPTS)}
    rejection_sample.function(step_run(folder, inputs=inputs, outputs=SAMPLED, vllm=vllm), CONFIG)
    return written(folder, "candidates")


@pytest.mark.slow
def test_a_step_whose_server_dies_fails_with_its_last_words_and_redone_it_makes_what_it_would_have_made(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        VllmError, match=r"ended; the same command does this step again[^O]*\nOutOfMemoryError: no room"
    ):
        drawn(tmp_path / "dies", policy, server(DIES_AFTER="5"))
    assert not (tmp_path / "dies" / "out").exists()
    again = drawn(tmp_path / "again", policy, server())
    assert len(again) == 8  # the best two of four prompts
    assert again == drawn(tmp_path / "undisturbed", policy, server())
    assert "vLLM's log-probabilities of 16 tokens are within" in capsys.readouterr().out


@pytest.mark.slow
def test_each_answer_is_the_one_to_its_prompt_at_its_temperature_by_a_seed_of_the_row(
    policy: Path, tmp_path: Path
) -> None:
    run = step_run(tmp_path, inputs={"policy": policy}, vllm=server())
    model, renderer = load_policy(policy), open_renderer(policy)
    with speakers(run, SAMPLING) as speaker_of:
        speaker = speaker_of("policy", model)
        rows = draw_candidates(run, speaker, renderer, PROMPTS[:2], SAMPLING, (0.7, 1.0), 2)
    seed = derive_seed(run.seed, "candidates")
    wanted = {}
    for i, prompt in enumerate(PROMPTS[:2]):
        for place, temperature in enumerate((0.7, 0.7, 1.0, 1.0)):
            own = derive_seed(derive_seed(seed, "prompt", i), "response", place)
            one = Request(renderer.prompt(prompt["messages"]), (temperature,), own)
            ((answer,),) = sample(model, [one], SAMPLING, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
            wanted[prompt["prompt_id"], round(1000 * temperature), place % 2] = answer.ids
    found = {}
    for row in rows:
        key = row["prompt_id"], row["temperature_milli"]
        found[(*key, sum(known[:2] == key for known in found))] = row["token_ids"]
    assert found == wanted


def test_a_sampler_of_which_nothing_tells_how_it_is_reached_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the section vllm"), speakers(step_run(tmp_path), SAMPLING):
        pass
