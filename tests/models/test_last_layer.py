"""Hidden states of some tokens are those of a whole pass, and the last layer computes no others."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.checkpoint import backbone, load_policy
from models.last_layer import hidden_at
from models.prefix_tree import grow_tree, tree_mask

IDS = torch.tensor([[1, 4, 20, 21, 22, 5], [1, 4, 33, 34, 35, 5]])
PACKED = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2]])
PADDED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
# Of the first row three tokens, of the second one; out of order, and one of them twice.
PLACES = torch.tensor([5, 9, 2, 5, 3])
TREE = grow_tree([[1, 4, 20], [1, 4, 21, 22], [1, 33]])


@pytest.fixture(params=["whole", "adapter"])
def model(
    request: pytest.FixtureRequest, heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> nn.Module:
    """A whole model and an adapter on it, with either kind of attention."""
    base = policy_folders[heads]
    folder = base if request.param == "whole" else adapter_folders[heads] / "policy"
    return load_policy(folder, base, trainable=True)


def inputs_of(kind: str) -> dict[str, torch.Tensor]:
    """Rows of one sequence each, of several, padded on the left, and a tree with a mask of its own."""
    if kind == "tree":
        return {
            "input_ids": torch.tensor([TREE.ids, TREE.ids]),
            "position_ids": torch.tensor([TREE.positions, TREE.positions]),
            "attention_mask": tree_mask(torch.tensor([TREE.ends, TREE.ends]), "sdpa"),  # type: ignore[dict-item]
        }
    positions = {"packed": PACKED, "padded": (PADDED.cumsum(1) - 1).clamp(min=0)}.get(
        kind, torch.arange(6).expand(2, 6)
    )
    return {"input_ids": IDS, "position_ids": positions, **({"attention_mask": PADDED} if kind == "padded" else {})}


def gradients(model: nn.Module, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def whole(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    hidden: torch.Tensor = backbone(model)(**inputs, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)[PLACES]


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert max(float(grad.abs().max()) for grad in theirs.values()) > 1e-2
    for name, grad in theirs.items():
        torch.testing.assert_close(ours[name], grad, atol=2e-5, rtol=1e-4, msg=lambda text, name=name: name + text)


@pytest.mark.conformance("tokens that nobody reads", equation="models.last_layer:hidden_at")
@pytest.mark.parametrize("kind", ["plain", "packed", "padded", "tree"])
def test_hidden_states_and_gradients_are_those_of_a_whole_pass(model: nn.Module, kind: str) -> None:
    inputs = inputs_of(kind)
    expected = whole(model, inputs)
    found = hidden_at(model, PLACES, **inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    same(gradients(model, found), gradients(model, expected))


def seen_by_the_last_feed_forward(model: nn.Module, places: torch.Tensor) -> tuple[int, ...]:
    seen: list[tuple[int, ...]] = []
    layer = backbone(model).layers[-1]  # type: ignore[index,union-attr]
    hook = layer.mlp.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[:2])))  # type: ignore[union-attr]
    hidden_at(model, places, **inputs_of("plain"))
    hook.remove()
    return seen[0]


@pytest.mark.conformance("tokens that nobody reads", equation="models.last_layer:hidden_at")
def test_the_last_layer_computes_the_tokens_that_are_wanted_and_no_others(model: nn.Module) -> None:
    """Three of six columns, for as many as that are wanted of one row; all six where five are."""
    assert seen_by_the_last_feed_forward(model, PLACES) == (2, 3)
    assert seen_by_the_last_feed_forward(model, torch.arange(5)) == (2, 6)


def test_with_layers_that_are_computed_again_on_the_way_back_gradients_are_the_same(model: nn.Module) -> None:
    expected = gradients(model.train(), hidden_at(model, PLACES, **inputs_of("packed")))
    model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    (layer,) = (each for name, each in model.named_modules() if name.endswith("layers.1"))
    read: list[int] = []
    hook = layer.mlp.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].shape[1]))
    found = gradients(model, hidden_at(model, PLACES, **inputs_of("packed")))
    hook.remove()
    assert read == [3, 3], "on the way there, and once more on the way back"
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert layer.gradient_checkpointing
    assert "forward" not in vars(layer)


def test_other_attention_reads_all_tokens_in_all_layers(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    expected = whole(model, inputs_of("plain"))
    model.set_attn_implementation("eager")  # type: ignore[operator]
    torch.testing.assert_close(hidden_at(model, PLACES, **inputs_of("plain")), expected, atol=1e-5, rtol=1e-5)
    assert seen_by_the_last_feed_forward(model, PLACES) == (2, 6)


def test_the_model_is_as_it_was_after_a_pass_that_failed_too(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    before = whole(model, inputs_of("plain"))
    with pytest.raises(RuntimeError):
        hidden_at(model, PLACES, input_ids=IDS, position_ids=torch.zeros((3, 7), dtype=torch.long))
    assert torch.equal(whole(model, inputs_of("plain")), before)
