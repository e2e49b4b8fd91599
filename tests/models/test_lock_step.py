"""A model that is spread over two processes is drawn from by both at once, and each pass is made by both."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch import distributed

from models import lock_step as module
from models.checkpoint import load_policy
from models.config import SamplingConfig, SFTConfig
from models.dialogue import Renderer
from models.generation import Request, Response, ask, sample
from models.lock_step import lock_step, one_pass
from models.responses import lay_responses, read_logprobs
from models.training.processes import data_parallel
from models.training.reporting import Quiet, Reporter
from models.training.sharding import shard

BOTH = SFTConfig(batch_size=2, processes=2, sharded=True)
PROMPTS = ([1, 5, 6, 7], [1, 8, 9], [1, 10, 11, 12, 13], [1, 14], [1, 15, 16, 17, 18, 19])
SAMPLING = SamplingConfig(max_new_tokens=9, batch_size=8)


@pytest.fixture(autouse=True)
def processes_of_its_own() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def drawn(model: torch.nn.Module, requests: list[Request], renderer: Renderer) -> list[Response]:
    return [each for [each] in sample(model, requests, SAMPLING, end_ids=range(3, 300, 8), pad_id=renderer.pad_id)]


def wanted() -> list[Request]:
    return ask(PROMPTS, [1.3], seed=4)


@data_parallel
def apart(policy: Path, renderer: Renderer, config: SFTConfig, *, reporter: Reporter) -> dict[str, Any]:
    """The first process draws four answers, the second one; then both read what was said."""
    rank, requests = PartialState(cpu=True).process_index, wanted()
    model = load_policy(policy)
    shard(model, processes=config.processes)
    mine = requests[:4] if rank == 0 else requests[4:]
    said = drawn(model, mine, renderer)
    batch = lay_responses([each.ids for each in mine], [each.ids for each in said], renderer.pad_id, None)
    with torch.no_grad():
        logprobs, _ = one_pass(model, read_logprobs, model, batch, 1.3)
    found: list[Any] = [None] * config.processes
    distributed.all_gather_object(found, (said, logprobs[batch.mask].tolist()))
    return {"said": [each for some, _ in found for each in some], "read": [n for _, some in found for n in some]}


@pytest.mark.slow
def test_processes_that_draw_unequal_numbers_of_answers_draw_what_one_draws(
    gqa_policy: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=120))
    model = load_policy(gqa_policy)
    alone = drawn(model, wanted(), renderer)
    lengths = [len(each.ids) for each in alone]
    assert max(lengths[:4]) != lengths[4], "one process is done before the other"
    together = apart(gqa_policy, renderer, BOTH, reporter=Quiet())
    assert [(each.ids, each.finished) for each in together["said"]] == [(each.ids, each.finished) for each in alone]
    numbers = [number for each in alone for number in each.logprobs]
    assert together["read"] == pytest.approx(numbers, abs=1e-5)
    assert [n for each in together["said"] for n in each.logprobs] == pytest.approx(numbers, abs=1e-5)


@data_parallel
def gone_elsewhere(policy: Path, renderer: Renderer, config: SFTConfig, *, reporter: Reporter) -> dict[str, float]:
    """The second process waits in another place for the first, which draws."""
    rank = PartialState(cpu=True).process_index
    model = load_policy(policy)
    shard(model, processes=config.processes)
    if rank == 0:
        drawn(model, wanted(), renderer)
    with lock_step(model):
        distributed.barrier()
    return {}


@pytest.mark.slow
@pytest.mark.conformance("a process leaves the others waiting", equation="models.lock_step:lock_step")
def test_a_process_that_stands_elsewhere_ends_the_training_and_does_not_hang_it(
    gqa_policy: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=2))
    with pytest.raises(RuntimeError, match=r"did not come along with a pass of the spread model within 0:00:02"):
        gone_elsewhere(gqa_policy, renderer, BOTH, reporter=Quiet())


def test_a_model_that_is_not_spread_is_read_and_drawn_from_as_it_is() -> None:
    model = torch.nn.Linear(2, 2)
    with lock_step(model):
        assert one_pass(model, lambda x: x + 1, 2) == 3
    assert "forward" not in vars(model)
