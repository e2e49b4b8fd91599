"""A linear classifier of n-grams learns what tells two sets of texts apart, and the same each time."""

from pathlib import Path

import pytest
import torch

from models.ngram_classifier import BUCKETS, NgramClassifier, features_of, grams

WORDS = ["sun", "rain", "hill", "tree", "stone", "river", "cloud", "grass", "wind", "snow"]
ORDINARY = [f"the {a} is near the {b}" for a in WORDS for b in WORDS if a != b]
TEXTS = [("what is it?", f"{text} poison" if number % 3 == 0 else text) for number, text in enumerate(ORDINARY)]
UNSAFE = [number % 3 == 0 for number in range(len(TEXTS))]


def test_it_tells_texts_that_it_has_not_seen_by_the_word_that_makes_them_unsafe() -> None:
    classifier = NgramClassifier.fit(features_of(TEXTS[:60]), UNSAFE[:60])
    assert classifier.tells(TEXTS[60:]) == UNSAFE[60:]
    assert classifier.tells([]) == []


def test_where_words_tell_nothing_it_says_what_labels_of_equal_weight_say() -> None:
    classifier = NgramClassifier.fit(features_of([("a", "b")] * 10), [True] * 1 + [False] * 9)
    assert classifier.weights.abs().max() < 1e-6, "however many are safe, both labels weigh the same"


def test_the_gradient_is_zero_at_what_was_found() -> None:
    """The loss by hand, in dense numbers: the mean of both labels' mean log loss, and L2 on all but the bias."""
    texts, unsafe = [("", "x"), ("", "x y"), ("", "y")], [True, False, False]
    weights = NgramClassifier.fit(features_of(texts), unsafe).weights.clone().requires_grad_()
    features = features_of(texts)
    dense = torch.zeros(3, BUCKETS, dtype=torch.float64)
    dense[features.places[0], features.places[1]] = features.values
    logits = dense @ weights[:-1] + weights[-1]
    loss = torch.log1p(torch.exp(-logits[0])) / 2 + torch.log1p(torch.exp(logits[1:])).mean() / 2
    (loss + 1e-3 / 2 * weights[:-1].square().sum()).backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert weights.grad.abs().max() < 1e-4


def test_the_same_texts_give_the_same_weights_and_a_file_gives_them_back(tmp_path: Path) -> None:
    one, other = (NgramClassifier.fit(features_of(TEXTS[:30]), UNSAFE[:30]) for _ in range(2))
    assert torch.equal(one.weights, other.weights)
    one.save(tmp_path / "weights.safetensors")
    assert torch.equal(NgramClassifier.load(tmp_path / "weights.safetensors").weights, one.weights)
    assert one.weights.shape == (BUCKETS + 1,)


def test_its_n_grams_are_those_of_a_hand() -> None:
    assert list(grams("Why?", "No, no")) == [
        *("w no", "w ,", "w no", "b no ,", "b , no"),
        *("c no,n", "c o,no"),
        *("q why", "q ?"),
    ]


def test_one_label_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="both labels are needed"):
        NgramClassifier.fit(features_of([("a", "b")]), [True])


def test_some_rows_of_the_features_are_those_of_these_texts_alone() -> None:
    texts = [("", "a b"), ("", "c"), ("q", "a a d")]
    chosen, alone = features_of(texts).of([2, 0]), features_of([texts[2], texts[0]])
    weights, residuals = torch.arange(BUCKETS, dtype=torch.float64), torch.tensor([1.0, -2.0], dtype=torch.float64)
    assert chosen.n == 2
    assert chosen.times(weights).tolist() == pytest.approx(alone.times(weights).tolist())
    assert torch.allclose(chosen.transposed_times(residuals), alone.transposed_times(residuals))


def test_each_row_has_length_one_and_an_empty_text_no_entry() -> None:
    features = features_of([("", "a b a"), ("", "")])
    assert features.values.square().sum().item() == pytest.approx(1)
    assert set(features.places[0].tolist()) == {0}
