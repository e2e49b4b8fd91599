"""A linear classifier of n-grams learns what tells two sets of texts apart, and the same each time."""

from pathlib import Path

import pytest
import torch

from models.ngram_classifier import BUCKETS, NgramClassifier, grams

WORDS = ["sun", "rain", "hill", "tree", "stone", "river", "cloud", "grass", "wind", "snow"]
ORDINARY = [f"the {a} is near the {b}" for a in WORDS for b in WORDS if a != b]
TEXTS = [("what is it?", f"{text} poison" if number % 3 == 0 else text) for number, text in enumerate(ORDINARY)]
UNSAFE = [number % 3 == 0 for number in range(len(TEXTS))]


def test_it_tells_texts_that_it_has_not_seen_by_the_word_that_makes_them_unsafe() -> None:
    classifier = NgramClassifier.fit(TEXTS[:60], UNSAFE[:60])
    assert classifier.unsafe(TEXTS[60:]) == UNSAFE[60:]
    assert classifier.unsafe([]) == []


def test_where_words_tell_nothing_it_says_what_labels_of_equal_weight_say() -> None:
    classifier = NgramClassifier.fit([("a", "b")] * 10, [True] * 1 + [False] * 9)
    assert classifier.weights.abs().max() < 1e-6, "however many are safe, both labels weigh the same"


def test_the_gradient_is_zero_at_what_was_found() -> None:
    """The loss by hand, in dense numbers: the mean of both labels' mean log loss, and L2 on all but the bias."""
    texts, unsafe = [("", "x"), ("", "x y"), ("", "y")], [True, False, False]
    weights = NgramClassifier.fit(texts, unsafe).weights.clone().requires_grad_()
    from models.ngram_classifier import _L2, _features

    logits = _features(texts).to_dense() @ weights[:-1] + weights[-1]
    loss = torch.log1p(torch.exp(-logits[0])) / 2 + torch.log1p(torch.exp(logits[1:])).mean() / 2
    (loss + _L2 / 2 * weights[:-1].square().sum()).backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert weights.grad.abs().max() < 1e-4


def test_the_same_texts_give_the_same_weights_and_a_file_gives_them_back(tmp_path: Path) -> None:
    one, other = (NgramClassifier.fit(TEXTS[:30], UNSAFE[:30]) for _ in range(2))
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
        NgramClassifier.fit([("a", "b")], [True])
