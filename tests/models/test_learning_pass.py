"""Passes that are learned from by another kernel: the values and gradients of the layers, and the model as it was."""

from pathlib import Path
from typing import cast

import pytest
import torch
from peft import PeftModel
from torch import nn

from models import learning_pass as module
from models import onednn
from models.checkpoint import load_policy, load_reward, scalar_head
from models.config import DPOConfig, Kernel, PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from models.devices import autocast
from models.learning_pass import fast_learning, told_of_kernel
from models.scoring import last_token_scores, pad_right
from models.working_copy import PAYS_FROM_TOKENS, fast_reading, working_copy
from tests.models.conftest import stirred

IDS = torch.tensor([[1, 4, 20, 21, 22, 5], [1, 4, 33, 34, 35, 5]])


@pytest.fixture(params=["auto", "onednn"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Adapters alone, whatever the processor, and all products by oneDNN."""
    found: Kernel = request.param
    if found == "onednn" and not onednn.works():
        pytest.skip("this torch has no oneDNN")
    return found


@pytest.fixture(params=["whole", "adapter"])
def policy(
    request: pytest.FixtureRequest, heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> nn.Module:
    """A whole policy and an adapter on it, in turn, with either kind of attention."""
    base = policy_folders[heads]
    folder = base if request.param == "whole" else adapter_folders[heads] / "policy"
    return load_policy(folder, base, trainable=True)


Learned = tuple[torch.Tensor, dict[str, torch.Tensor]]


def learned(model: nn.Module, kernel: Kernel) -> Learned:
    """Logits, and the gradients of a loss on them by the name of the weight."""
    model.zero_grad()
    with fast_learning(model, kernel):
        logits: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
        logits.log_softmax(-1)[..., 7].sum().backward()
    grads = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return logits.detach(), grads


def same(
    found: tuple[torch.Tensor, dict[str, torch.Tensor]], plain: tuple[torch.Tensor, dict[str, torch.Tensor]]
) -> None:
    torch.testing.assert_close(found[0], plain[0], atol=1e-4, rtol=1e-5)
    assert found[1].keys() == plain[1].keys()
    assert max(float(grad.abs().max()) for grad in plain[1].values()) > 1e-2
    for name, grad in plain[1].items():
        torch.testing.assert_close(found[1][name], grad, atol=2e-4, rtol=1e-4, msg=lambda text, name=name: name + text)


@pytest.mark.conformance("a gradient by hand", equation="models.learning_pass:fast_learning")
def test_values_and_gradients_are_those_of_the_layers(policy: nn.Module, kernel: Kernel) -> None:
    plain = learned(policy, "torch")
    same(learned(policy, kernel), plain)
    assert all(torch.equal(a, b) for a, b in zip(learned(policy, "torch")[1].values(), plain[1].values(), strict=True))


@pytest.mark.conformance("a gradient by hand", equation="models.learning_pass:fast_learning")
def test_an_adapted_layer_by_hand() -> None:
    """W = [[1, 2]], A = [[1, 1]], B = [[3]], s = 2, x = (1, 5): y = 11 + 2 · 6 · 3 = 47. With a gradient of 10:
    dx = 10 (1, 2) + 2 · 30 (1, 1), dA = 2 · 30 (1, 5), dB = 2 · 10 · 6."""
    given = [torch.tensor(numbers, requires_grad=True) for numbers in ([[1.0, 5.0]], [[1.0, 1.0]], [[3.0]])]
    x, down, up = given
    y = module._Adapted.apply(x, torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]), down, up, 2.0, False)
    y.backward(torch.tensor([[10.0]]))
    assert y.tolist() == [[47.5]]
    assert [cast(torch.Tensor, each.grad).tolist() for each in given] == [[[70.0, 80.0]], [[60.0, 300.0]], [[120.0]]]


def test_activations_that_are_computed_again_on_the_way_back_give_the_same_gradients(
    policy: nn.Module, kernel: Kernel
) -> None:
    plain = learned(policy.train(), "torch")
    policy.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    same(learned(policy, kernel), plain)


def test_a_reward_models_head_and_its_adapter_learn_alike(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path], kernel: Kernel
) -> None:
    reward = load_reward(adapter_folders[heads] / "safety", policy_folders[heads], trainable=True)
    found = []
    for each in ("torch", kernel):
        reward.zero_grad()
        with fast_learning(reward, each):
            last_token_scores(reward, *pad_right(IDS.tolist(), 0)).sum().backward()
        found.append({name: w.grad.clone() for name, w in reward.named_parameters() if w.grad is not None})
    same((torch.zeros(1), found[1]), (torch.zeros(1), found[0]))
    assert any(weight.grad is not None for weight in scalar_head(reward).parameters())


@pytest.mark.conformance("a gradient by hand", equation="models.learning_pass:fast_learning")
def test_a_pass_is_of_the_weights_as_they_are_at_that_moment(policy: nn.Module, kernel: Kernel) -> None:
    with fast_learning(policy, kernel):
        old = policy(input_ids=IDS).logits
        stirred(policy)
        new = policy(input_ids=IDS).logits
    assert float((new - old).detach().abs().max()) > 0.1
    torch.testing.assert_close(new, policy(input_ids=IDS).logits, atol=1e-3, rtol=1e-4)


def test_the_model_is_as_it_was_after_and_may_be_sampled_and_read_by_the_other_ways(
    policy: nn.Module, kernel: Kernel
) -> None:
    with torch.no_grad():
        before = policy(input_ids=IDS).logits
        with pytest.raises(KeyError), fast_learning(policy, kernel) as bent:
            raise KeyError
        assert bent > 0 or kernel == "auto"
        assert torch.equal(policy(input_ids=IDS).logits, before)
        with working_copy(policy, PAYS_FROM_TOKENS) as size:
            assert size > 0
    assert not any("forward" in vars(layer) for layer in policy.modules())


def test_inside_another_way_nothing_is_bent_twice(policy: nn.Module, kernel: Kernel) -> None:
    with fast_learning(policy, kernel) as outer, fast_learning(policy, kernel) as inner:
        assert inner == 0 or outer == 0
    with fast_learning(policy, kernel) as outer, fast_reading(policy) as inner:
        assert inner == 0 or outer == 0


def test_what_would_round_or_has_dropout_is_computed_as_it_is(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path], kernel: Kernel
) -> None:
    base, adapter = policy_folders[heads], adapter_folders[heads] / "policy"

    def bent(model: nn.Module, kernel: Kernel = kernel) -> int:
        with fast_learning(model, kernel) as layers:
            return layers

    policy = load_policy(adapter, base, trainable=True)
    assert bent(policy) > 0
    assert bent(policy, "torch") == 0
    assert bent(load_policy(adapter, base, trainable=True, dtype="bfloat16")) == 0
    with cast(PeftModel, policy).disable_adapter():
        assert bent(policy) == 0
    with autocast("bfloat16"):
        plain = policy(input_ids=IDS).logits
        with fast_learning(policy, kernel):
            assert torch.equal(policy(input_ids=IDS).logits, plain)
    every = bent(policy)
    for layer in policy.modules():
        if isinstance(layer, module.LoraLinear):
            layer.lora_dropout["default"] = nn.Dropout(0.1)
    assert bent(policy) < every


def test_what_is_told_of_the_kernel(gqa_policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "learns_from", lambda kernel: {"torch": None, "onednn": 0, "auto": 2 * 10**6}[kernel])
    model = load_policy(gqa_policy)
    assert told_of_kernel(model, "torch") == "all matrix products by torch"
    assert told_of_kernel(model, "onednn") == "matrix products of float32 by oneDNN"
    assert told_of_kernel(model, "auto") == ""
    monkeypatch.setattr(module, "FROM_NUMBERS", 1)
    assert told_of_kernel(model, "auto") == "matrix products of float32 by oneDNN, from 2 million multiply-adds on"


@pytest.mark.parametrize("kind", [SFTConfig, PretrainConfig, RewardConfig, PPOConfig, DPOConfig])
def test_the_usual_kernel_has_the_fingerprint_of_before_there_was_such_a_key(kind: type[SFTConfig]) -> None:
    assert "kernel" not in kind().model_dump(mode="json")
    assert kind(kernel="torch").model_dump(mode="json")["kernel"] == "torch"
