"""Products by oneDNN: those of the layer, and made where processor and size ask for them."""

import pytest
import torch

from models import onednn
from models.onednn import FROM_NUMBERS, by_onednn, pack, product, works

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
