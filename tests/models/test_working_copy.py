"""The weights that decoding and reading take: equal, of the adapter too, and gone without a trace."""

from pathlib import Path
from typing import cast

import pytest
import torch
from peft import PeftModel
from torch import nn

from models import onednn
from models import working_copy as module
from models.checkpoint import load_policy, load_reward
from models.devices import CPU, autocast
from models.scoring import last_token_scores, pad_right, score_rows
from models.working_copy import PAYS_FROM_TOKENS, fast_reading, pays_to_merge, working_copy
from tests.models.conftest import stirred
from tests.models.test_generation import draw

IDS = torch.tensor([[1, 4, 20, 21, 22, 5], [1, 4, 33, 34, 35, 5]])
ENOUGH = PAYS_FROM_TOKENS


@pytest.fixture(params=["transposed", "packed"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of copy, whatever the processor."""
    if request.param == "packed" and not onednn.works():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(module, "by_onednn", lambda weight: request.param == "packed" and weight.device == CPU)


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.fixture(params=["whole", "adapter"])
def policy(
    request: pytest.FixtureRequest, heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> nn.Module:
    """A whole policy and an adapter on it, in turn, with either kind of attention."""
    base = policy_folders[heads]
    return load_policy(base if request.param == "whole" else adapter_folders[heads] / "policy", base)


@pytest.mark.conformance("a merged adapter", equation="models.working_copy:working_copy")
def test_the_copy_computes_what_the_model_computes_which_is_as_it_was_to_the_bit_after(policy: nn.Module) -> None:
    before, weights = logits(policy), {name: weight.clone() for name, weight in policy.state_dict().items()}
    with working_copy(policy, ENOUGH) as size:
        inside = logits(policy)
    assert size > 0
    torch.testing.assert_close(inside, before, atol=2e-5, rtol=1e-5)
    assert torch.equal(logits(policy), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in policy.state_dict().items())


@pytest.mark.conformance("a merged adapter", equation="models.working_copy:working_copy")
def test_the_adapter_is_in_the_copy_and_the_base_alone_is_not_it(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    base = load_policy(policy_folders[heads])
    with working_copy(load_policy(adapter_folders[heads] / "policy", base), ENOUGH):
        of_base = logits(base)
    adapted = load_policy(adapter_folders[heads] / "policy", base)
    with working_copy(adapted, ENOUGH):
        assert float((logits(adapted) - of_base).abs().max()) > 0.1
    assert torch.equal(of_base, logits(load_policy(policy_folders[heads])))  # roles over one base do not see it


def test_a_copy_is_of_the_weights_of_its_day(policy: nn.Module) -> None:
    with working_copy(policy, ENOUGH):
        old = logits(policy)
    stirred(policy.requires_grad_())
    with working_copy(policy, ENOUGH):
        new = logits(policy)
    assert float((new - old).abs().max()) > 0.1
    torch.testing.assert_close(new, logits(policy), atol=2e-4, rtol=1e-5)


def test_the_same_answers_are_drawn_with_a_copy_and_without(policy: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    with_copy = draw(policy, tokens=ENOUGH)
    monkeypatch.setattr(module, "PAYS_FROM_TOKENS", 1000)
    without = draw(policy, tokens=ENOUGH)
    assert [[each.ids for each in row] for row in with_copy] == [[each.ids for each in row] for row in without]
    for [ours], [theirs] in zip(with_copy, without, strict=True):
        torch.testing.assert_close(torch.tensor(ours.logprobs), torch.tensor(theirs.logprobs), atol=2e-5, rtol=1e-5)


def test_an_error_inside_leaves_the_model_as_it_was(policy: nn.Module) -> None:
    with pytest.raises(KeyError), working_copy(policy, ENOUGH):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in policy.modules())


def test_biases_are_added(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.bias = nn.Parameter(torch.linspace(-1, 1, layer.out_features))
    before = logits(model)
    with working_copy(model, ENOUGH) as size:
        torch.testing.assert_close(logits(model), before, atol=2e-4, rtol=1e-5)
    assert size > 0


def test_where_a_copy_does_not_pay_or_would_round_there_is_none(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = policy_folders[heads], adapter_folders[heads] / "policy"
    policy = load_policy(adapter, base)

    def size(model: nn.Module, tokens: int = ENOUGH) -> int:
        with working_copy(model, tokens) as found:
            return found

    assert size(policy) > 0
    assert size(policy, ENOUGH - 1) == 0
    assert size(load_policy(adapter, base, dtype="bfloat16")) == 0
    with autocast("bfloat16"):
        assert size(policy) == 0
    with cast(PeftModel, policy).disable_adapter():
        assert size(policy) == 0
    monkeypatch.setattr(module, "AT_MOST_BYTES", size(policy) - 1)
    assert size(policy) == 0


@pytest.fixture
def merging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens are enough."""
    monkeypatch.setattr(module, "pays_to_merge", lambda *_: True)


@pytest.mark.usefixtures("merging")
@pytest.mark.conformance("a merged adapter", equation="models.working_copy:fast_reading")
def test_a_reading_gives_what_the_model_gives_which_is_as_it_was_to_the_bit_after(
    policy: nn.Module, request: pytest.FixtureRequest
) -> None:
    before, weights = logits(policy), {name: weight.clone() for name, weight in policy.state_dict().items()}
    with fast_reading(policy) as layers:
        inside = logits(policy)
    adapted = isinstance(policy, PeftModel)
    assert (layers > 0) is (adapted or "packed" in request.node.callspec.id)
    torch.testing.assert_close(inside, before, atol=2e-5, rtol=1e-5)
    assert torch.equal(logits(policy), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in policy.state_dict().items())


@pytest.mark.usefixtures("merging")
def test_a_reading_is_of_the_adapter_as_it_is_at_that_moment(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    policy = load_policy(adapter_folders[heads] / "policy", policy_folders[heads])
    with fast_reading(policy):
        old = logits(policy)
        stirred(policy.requires_grad_())
        new = logits(policy)
    assert float((new - old).abs().max()) > 0.1
    torch.testing.assert_close(new, logits(policy), atol=2e-4, rtol=1e-5)


@pytest.mark.usefixtures("merging")
@pytest.mark.conformance("a merged adapter", equation="models.working_copy:fast_reading")
def test_roles_over_one_base_are_read_at_once_each_with_its_own_adapter(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    base = load_policy(policy_folders[heads])
    one, other = (load_policy(adapter_folders[heads] / "policy", base) for _ in range(2))
    stirred(other.requires_grad_())
    before = logits(one), logits(other), logits(base)
    with fast_reading(one), fast_reading(other):
        for found, expected in zip((logits(one), logits(other), logits(base)), before, strict=True):
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-5)


@pytest.mark.usefixtures("merging")
def test_a_pass_that_is_learned_from_is_the_models_own(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    policy = load_policy(adapter_folders[heads] / "policy", policy_folders[heads], trainable=True)
    plain = policy(input_ids=IDS).logits
    with fast_reading(policy):
        inside = policy(input_ids=IDS).logits
        inside.sum().backward()
    assert torch.equal(inside, plain)
    learned = [weight for name, weight in policy.named_parameters() if "lora_B" in name]
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in learned)


@pytest.mark.parametrize(
    ("tokens", "d_in", "d_out", "pays"),
    [
        (384, 576, 1536, True),  # 384 (576 + 4 1536) = 2.6 million numbers, merging moves 2 576 1536 = 1.8 million
        (192, 576, 1536, False),  # 1.3 million
        (384, 1536, 576, False),  # 384 (1536 + 4 576) = 1.5 million
        (512, 1536, 576, True),  # 2.0 million
    ],
)
def test_merging_pays_where_it_moves_fewer_numbers(tokens: int, d_in: int, d_out: int, pays: bool) -> None:
    assert pays_to_merge(tokens, d_in, d_out) is pays


@pytest.mark.parametrize("tokens", [1, 10_000])
def test_scores_of_an_adapter_are_those_of_a_plain_reading_whether_it_pays_to_merge_or_not(
    tokens: int,
    heads: str,
    policy_folders: dict[str, Path],
    adapter_folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "pays_to_merge", lambda here, *_: here >= tokens)
    reward = load_reward(adapter_folders[heads] / "safety", policy_folders[heads])
    rows = [[1, 4, 20, 21, 5], [1, 4, 20, 33, 34, 35, 5], [1, 7, 5]]
    with torch.no_grad():
        plain = last_token_scores(reward, *pad_right(rows, 0))
    found = torch.tensor(score_rows(reward, rows, 0, batch_size=2))
    torch.testing.assert_close(found, plain, atol=2e-5, rtol=1e-5)


def test_what_would_round_is_read_as_it_is(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    base, adapter = policy_folders[heads], adapter_folders[heads] / "policy"
    policy = load_policy(adapter, base)

    def layers(model: nn.Module) -> int:
        with fast_reading(model) as found:
            return found

    assert layers(policy) > 0
    assert layers(load_policy(adapter, base, dtype="bfloat16")) == 0
    with autocast("bfloat16"):
        assert layers(policy) == 0
    with cast(PeftModel, policy).disable_adapter():
        assert layers(policy) == 0
    with pytest.raises(KeyError), fast_reading(policy):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in policy.modules())
