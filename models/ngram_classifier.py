"""Whether a response is unsafe, by its words and pieces of words: logistic regression on hashed n-grams.

A few hundred labels teach a linear model something, and it costs a second on a CPU; a head on a language model would
have the base's own blind spots, and as many weights to fit as there are labels.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BUCKETS = 2**16
_L2 = 1e-3
_MOST_STEPS = 200
_LONGEST = 4_000  # characters of one text that are read
_LETTERS = 4
_WORD = re.compile(r"\w+|[^\w\s]")

Texts = Sequence[tuple[str, str]]
"""(what was asked, what was answered)."""


class NgramClassifier:
    """`weights`: BUCKETS + 1 in float64, the last one the bias."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, texts: Texts, unsafe: Sequence[bool]) -> "NgramClassifier":
        """The minimum of the mean log loss, both labels weighing the same, plus L2 on all weights but the bias, by
        L-BFGS from zero: the same texts give the same weights. Raises ValueError where a label is missing."""
        if len(set(unsafe)) != 2:
            raise ValueError("both labels are needed")
        features = _features(texts)
        labels = torch.tensor(unsafe, dtype=torch.float64)
        shares = torch.where(labels > 0, labels.sum(), (1 - labels).sum())
        weights = torch.zeros(BUCKETS + 1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            each = torch.nn.functional.binary_cross_entropy_with_logits(
                _logits(features, weights), labels, reduction="none"
            )
            value = (each / shares).sum() / 2 + _L2 / 2 * weights[:-1].square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return cls(weights.detach())

    def unsafe(self, texts: Texts) -> list[bool]:
        """Of each text, whether it is rather unsafe than safe."""
        return (_logits(_features(texts), self.weights) > 0).tolist() if texts else []

    def save(self, file: Path) -> None:
        """As safetensors."""
        save_file({"weights": self.weights.contiguous()}, file)

    @classmethod
    def load(cls, file: Path) -> "NgramClassifier":
        """What `save` wrote."""
        return cls(load_file(file)["weights"])


def grams(asked: str, answered: str) -> Iterator[str]:
    """Words and pairs of words of the answer, pieces of four letters of it, for languages without spaces, and the words
    of the question."""
    said, question = _plain(answered), _plain(asked)
    words = _WORD.findall(said)
    yield from (f"w {word}" for word in words)
    yield from (f"b {first} {second}" for first, second in pairwise(words))
    letters = "".join(words)
    yield from (f"c {letters[at : at + _LETTERS]}" for at in range(len(letters) - _LETTERS + 1))
    yield from (f"q {word}" for word in _WORD.findall(question))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:_LONGEST]).casefold()


def _features(texts: Texts) -> torch.Tensor:
    """A sparse row for each text: 1 + log count of its n-grams by bucket, of length 1."""
    places: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    for number, (asked, answered) in enumerate(texts):
        counts = Counter(zlib.crc32(gram.encode()) % BUCKETS for gram in grams(asked, answered))
        found = {bucket: 1 + math.log(count) for bucket, count in counts.items()}
        length = math.sqrt(sum(value * value for value in found.values())) or 1.0
        places.append(torch.tensor([[number] * len(found), list(found)], dtype=torch.int64))
        values.append(torch.tensor(list(found.values()), dtype=torch.float64) / length)
    shape = (len(texts), BUCKETS)
    return torch.sparse_coo_tensor(torch.cat(places, 1), torch.cat(values), shape, check_invariants=True).coalesce()


def _logits(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.sparse.mm(features, weights[:-1, None])[:, 0] + weights[-1]
    return found
