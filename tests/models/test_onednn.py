"""Products by oneDNN: those of the layer, and made where processor and size ask for them."""

import pytest
import torch

from models import onednn
from models.config import Kernel
from models.onednn import FROM_NUMBERS, by_onednn, learned_product, learns_by_onednn, learns_from, pack, product, works

needs_onednn = pytest.mark.skipif(not works(), reason="this torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("rows", [1, 8, 32, 200])
def test_a_product_from_packed_weights_is_that_of_the_layer(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(2, rows, 48, generator=generator)
    weight, bias = torch.randn(72, 48, generator=generator), torch.randn(72, generator=generator)
    with torch.no_grad():
        packed = pack(weight)
        torch.testing.assert_close(product(x, packed, bias), x @ weight.t() + bias, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(product(x, weight, bias), x @ weight.t() + bias, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(product(x, packed, None), x @ weight.t(), atol=2e-5, rtol=1e-5)


@needs_onednn
def test_a_product_by_hand() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -1.0]])
    made = product(torch.tensor([[10.0, 1.0]]), pack(weight), torch.tensor([0.5, 0.0, 0.0]))
    assert made.tolist() == [[12.5, 34.0, -1.0]]


@needs_onednn
def test_a_packed_copy_is_of_the_weights_of_its_day() -> None:
    weight = torch.ones(4, 4)
    packed = pack(weight)
    weight.zero_()
    assert product(torch.ones(1, 4), packed, None).tolist() == [[4.0] * 4]


@pytest.mark.parametrize(
    ("maker", "numbers", "dtype", "packed"),
    [
        ("AuthenticAMD", FROM_NUMBERS, torch.float32, True),
        ("AuthenticAMD", FROM_NUMBERS - 1, torch.float32, False),
        ("AuthenticAMD", FROM_NUMBERS, torch.bfloat16, False),
        ("GenuineIntel", FROM_NUMBERS, torch.float32, False),
        ("", FROM_NUMBERS, torch.float32, False),
    ],
)
def test_which_products_are_made_by_onednn_follows_from_processor_and_size_alone(
    maker: str, numbers: int, dtype: torch.dtype, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "cpu_maker", lambda: maker)
    monkeypatch.setattr(onednn, "works", lambda: True)
    assert by_onednn(torch.zeros(1, numbers, dtype=dtype)) is packed


@needs_onednn
@pytest.mark.parametrize("weights_too", [True, False])
def test_gradients_of_a_product_by_hand(weights_too: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """y = x W^T + b: dx = g W, dW = g^T x, db = g, summed over rows."""
    monkeypatch.setattr(onednn, "WEIGHTS_TOO", (onednn.cpu_family(),) if weights_too else ())
    x = torch.tensor([[[1.0, 2.0], [0.0, 1.0]]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]], requires_grad=True)
    bias = torch.tensor([0.0, 0.0, 0.5], requires_grad=True)
    y = learned_product(x, weight, bias)
    assert y.tolist() == [[[1.0, 5.0, 4.5], [0.0, 1.0, 2.5]]]
    y.backward(torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]]))
    assert [each.grad.tolist() for each in (x, weight, bias) if each.grad is not None] == [
        [[[1.0, 4.0], [3.0, 1.0]]],
        [[1.0, 2.0], [0.0, 1.0], [2.0, 4.0]],
        [1.0, 1.0, 2.0],
    ]


@needs_onednn
def test_a_product_whose_weights_are_frozen_gives_the_gradient_of_what_was_read_alone() -> None:
    x, weight = torch.ones(2, 3, requires_grad=True), torch.full((4, 3), 2.0)
    learned_product(x, weight, None).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[8.0] * 3] * 2


@pytest.mark.parametrize(
    ("maker", "family", "kernel", "least"),
    [
        ("AuthenticAMD", 25, "auto", 2**28),
        ("AuthenticAMD", 26, "auto", 2**24),
        ("AuthenticAMD", 23, "auto", None),  # never measured
        ("GenuineIntel", 25, "auto", None),
        ("GenuineIntel", 6, "onednn", 0),
        ("AuthenticAMD", 26, "torch", None),
    ],
)
def test_what_is_learned_by_onednn_follows_from_processor_and_size_alone(
    maker: str, family: int, kernel: Kernel, least: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "cpu_maker", lambda: maker)
    monkeypatch.setattr(onednn, "cpu_family", lambda: family)
    monkeypatch.setattr(onednn, "works", lambda: True)
    assert learns_from(kernel) == least
    monkeypatch.setattr(onednn, "works", lambda: False)
    assert learns_from(kernel) is None


def test_a_product_is_large_by_its_rows_and_its_weight() -> None:
    weight = torch.zeros(8, 4)
    assert learns_by_onednn(weight, 4, 128)
    assert not learns_by_onednn(weight, 3, 128)
    assert not learns_by_onednn(weight.bfloat16(), 4, 128)
    assert not learns_by_onednn(weight, 10**6, None)


@needs_onednn
@pytest.mark.parametrize("ways", [torch.no_grad, torch.inference_mode])
def test_the_operators_are_tried_where_no_gradients_are_wanted(ways: type) -> None:
    onednn.works.cache_clear()
    with ways():
        assert works()
    assert works()


def test_nothing_by_onednn_where_the_private_operators_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "cpu_maker", lambda: "AuthenticAMD")
    onednn.works.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(onednn, "product", _gone)
            assert not by_onednn(torch.zeros(1, FROM_NUMBERS))
    finally:
        onednn.works.cache_clear()


def _gone(*_: object) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")
