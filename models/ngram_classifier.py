"""Which of two sorts a text is of, by its words and pieces of words: logistic regression on hashed n-grams.

A few hundred labels teach a linear model something, and it costs a second on a CPU; a head on a language model would
have the base's own blind spots, and as many weights to fit as there are labels.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
"""(what was asked, or nothing; what was answered, or the text)."""


@dataclass(frozen=True)
class Features:
    """A sparse row for each of `n` texts: at `places` (2, entries), the text and the bucket, stand `values` (entries,)
    in float64. torch's own product of such a matrix and a vector takes four times as long."""

    n: int
    places: torch.Tensor
    values: torch.Tensor

    def of(self, rows: Sequence[int]) -> "Features":
        """Those of some texts, each named once, in this order."""
        number = torch.full((self.n,), -1, dtype=torch.int64)
        number[list(rows)] = torch.arange(len(rows))
        chosen = number[self.places[0]] >= 0
        texts, buckets = self.places[:, chosen]
        return Features(len(rows), torch.stack((number[texts], buckets)), self.values[chosen])

    def times(self, weights: torch.Tensor) -> torch.Tensor:
        """X w, (n,), of weights (BUCKETS,)."""
        products = self.values * weights[self.places[1]]
        return torch.zeros(self.n, dtype=torch.float64).index_add_(0, self.places[0], products)

    def transposed_times(self, residuals: torch.Tensor) -> torch.Tensor:
        """Xᵀ r, (BUCKETS,), of residuals (n,)."""
        products = self.values * residuals[self.places[0]]
        return torch.zeros(BUCKETS, dtype=torch.float64).index_add_(0, self.places[1], products)


class NgramClassifier:
    """`weights`: BUCKETS + 1 in float64, the last one the bias."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, features: Features, labels: Sequence[bool]) -> "NgramClassifier":
        """The minimum of the mean log loss, both labels weighing the same, plus L2 on all weights but the bias, by
        L-BFGS from zero: the same rows of `features_of` give the same weights. With r_i = (sigmoid(z_i) - y_i) / (2 n),
        n being how many have the label of i, the gradient is Xᵀ r + L2 w, and sum(r) for the bias. Raises ValueError
        where a label is missing."""
        if len(set(labels)) != 2:
            raise ValueError("both labels are needed")
        truth = torch.tensor(labels, dtype=torch.float64)
        weights_of = 0.5 / torch.where(truth > 0, truth.sum(), (1 - truth).sum())
        weights = torch.zeros(BUCKETS + 1, dtype=torch.float64)
        optimizer = torch.optim.LBFGS([weights], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            logits = cls(weights).logits(features)
            residuals = (torch.sigmoid(logits) - truth) * weights_of
            gradient = features.transposed_times(residuals) + _L2 * weights[:-1]
            weights.grad = torch.cat([gradient, residuals.sum()[None]])
            each = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
            return (each * weights_of).sum() + _L2 / 2 * weights[:-1].square().sum()

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return cls(weights)

    def logits(self, features: Features) -> torch.Tensor:
        """(n,) of the rows of `features_of`: above 0 it is rather of the sort that was labelled true."""
        return features.times(self.weights[:-1]) + self.weights[-1]

    def tells(self, texts: Texts) -> list[bool]:
        """Of each text, whether it is rather of the sort that was labelled true."""
        return (self.logits(features_of(texts)) > 0).tolist() if texts else []

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


def features_of(texts: Texts) -> Features:
    """1 + log count of a text's n-grams by bucket, each row of length 1."""
    buckets, values, lengths = list[int](), list[float](), list[int]()
    for asked, answered in texts:
        counts = Counter(zlib.crc32(gram.encode()) % BUCKETS for gram in grams(asked, answered))
        found = [1 + math.log(count) for count in counts.values()]
        length = math.sqrt(sum(value * value for value in found))
        buckets += counts
        values += [value / length for value in found]
        lengths.append(len(found))
    rows = torch.arange(len(texts)).repeat_interleave(torch.tensor(lengths, dtype=torch.int64))
    places = torch.stack((rows, torch.tensor(buckets, dtype=torch.int64)))
    return Features(len(texts), places, torch.tensor(values, dtype=torch.float64))
