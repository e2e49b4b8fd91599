"""Whether answers still differ from one another: a policy that was optimised says the same to everybody.

distinct-n is the share of different n-grams among all (Li et al., arXiv 1510.03055); it falls with the length and the
number of answers, so it is compared at equal prompts; its interval is the jackknife's over answers. Self-BLEU is the
mean BLEU-4 of each answer against all others (Zhu et al., Texygen, arXiv 1802.01886): 1 where all are alike; its
interval takes the others as they are.
"""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from data_store.estimate import Estimate
from models.algorithms.intervals import jackknife_interval
from tasks.estimates import mean_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Subject

MOST = 200  # answers that are compared with one another
_ORDER = 4
_WORD = re.compile(r"\w+|[^\w\s]")

Words = Sequence[str]


class Diversity(Evaluation):
    """Over the first answers, in the order of the prompts."""

    def metrics(self, config: AnsweringConfig) -> Iterable[Measure]:
        """Always."""
        yield Measure("distinct_1", "Different words among all words of the answers", "dist-1")
        yield Measure("distinct_2", "Different pairs of words among all pairs", "dist-2")
        yield Measure("self_bleu", "Mean BLEU-4 of each answer against the others: 1 where all are alike", "self-BLEU")

    def measure(self, of: Subject, config: AnsweringConfig) -> Mapping[str, Estimate]:
        """What has no words, or nothing to be compared with, has no figure."""
        answers = [words_of(answer.text) for answer in of.answers[:MOST]]
        found = {f"distinct_{order}": distinct_of(answers, order) for order in (1, 2)}
        bleus = self_bleus(answers)
        found["self_bleu"] = mean_of(bleus) if bleus else None
        return {name: each for name, each in found.items() if each is not None}


def words_of(text: str) -> list[str]:
    """Words and marks, in small letters."""
    return _WORD.findall(text.lower())


def distinct_of(answers: Sequence[Words], order: int) -> Estimate | None:
    """Different n-grams among all, for n = `order`, of the answers that have one; None where there are none."""
    grams = [found for words in answers if (found := _grams(words, order))]
    if not grams:
        return None
    holders = Counter(gram for each in grams for gram in set(each))
    total = sum(map(len, grams))
    value = len(holders) / total
    # without one answer its own n-grams are gone, and of the different ones those that only it has
    alone = [sum(holders[gram] == 1 for gram in set(each)) for each in grams]
    without = [(len(holders) - mine) / max(total - len(each), 1) for mine, each in zip(alone, grams, strict=True)]
    if len(set(without)) == 1:  # of one answer, or where nothing is said twice: no spread is seen, and none is known
        return Estimate(value, len(grams))
    low, high = jackknife_interval(value, without)
    return Estimate(value, len(grams), max(low, 0.0), min(high, 1.0))


def self_bleus(answers: Sequence[Words]) -> list[float]:
    """Of each answer that has a word its BLEU with all others as references; none for less than two answers. An answer
    of fewer than four words is compared by the n-grams that it has; nothing is smoothed, so an answer that shares no
    n-gram of an order counts 0."""
    if len(answers) < 2:
        return []
    counts = [[Counter(_grams(words, order)) for words in answers] for order in range(1, _ORDER + 1)]
    best = [_two_most(each) for each in counts]
    lengths = sorted(len(words) for words in answers)
    found = []
    for number, words in enumerate(answers):
        if not words:
            continue
        precisions = []
        for order in range(min(_ORDER, len(words))):
            own = counts[order][number]
            clipped = sum(min(count, _most_of_others(best[order][gram], number)) for gram, count in own.items())
            precisions.append(clipped / own.total())
        found.append(_geometric(precisions) * _brevity(len(words), lengths))
    return found


Most = tuple[int, int, int]  # the greatest count of an n-gram in one answer, whose it is, the greatest of the others


def _two_most(counts: Iterable[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], Most]:
    found: dict[tuple[str, ...], Most] = {}
    for number, counted in enumerate(counts):
        for gram, count in counted.items():
            most, whose, second = found.get(gram, (0, -1, 0))
            found[gram] = (count, number, most) if count > most else (most, whose, max(second, count))
    return found


def _most_of_others(most: Most, number: int) -> int:
    return most[2] if most[1] == number else most[0]


def _geometric(precisions: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, precisions))) if all(precisions) else 0.0


def _brevity(length: int, lengths: Sequence[int]) -> float:
    """BLEU's brevity penalty against the reference whose length is nearest, the shorter of two. `lengths` has the
    answer's own once."""
    others = list(lengths)
    others.remove(length)
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length >= nearest else math.exp(1 - nearest / length)


def _grams(words: Words, order: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
