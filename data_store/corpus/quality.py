"""Documents that a classifier holds for worse than what somebody wants to train on. It is trained elsewhere, by
language; here it is asked of the documents that no other rule has dropped."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from data_store.corpus.batch import Batch
from data_store.corpus.describing import language_in

LOW_QUALITY = "low_quality"
REASON = {LOW_QUALITY: "below the threshold of the quality classifier of its language (section `quality`)"}
CHARACTERS = 2000
"""Of a document so many are judged, from its start; of those that the classifier learns from as many."""
Score = Callable[[Sequence[str]], Sequence[float]]
"""Of each text how surely it is a good one, in [0, 1]."""


@dataclass(frozen=True)
class QualityJudge:
    """`scores` and `thresholds` by language."""

    scores: Mapping[str, Score]
    thresholds: Mapping[str, float]

    def drops(self, batch: Batch, documents: Sequence[int]) -> tuple[dict[int, str], Counter[str]]:
        """Those of these documents that are not good enough, with their score; and how many there are of each language
        without a classifier."""
        of_language: dict[str, list[int]] = {}
        for index in documents:
            of_language.setdefault(language_in(batch, index), []).append(index)
        found, left_alone = dict[int, str](), Counter[str]()
        for language, mine in of_language.items():
            if language not in self.scores:
                left_alone[language] += len(mine)
                continue
            least = self.thresholds[language]
            scores = self.scores[language]([batch.texts[index][:CHARACTERS] for index in mine])
            for index, score in zip(mine, scores, strict=True):
                if score < least:
                    found[index] = f"{language} {score:.2f}, below {least:.2f}"
        return found, left_alone
