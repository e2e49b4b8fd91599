"""Whether a sentence encoder knows the languages of a run's own rows, before any row is dropped by it.

A model that has never seen a language gives nearly one vector for all its texts; then unrelated ones lie above any
threshold. So texts are drawn by language, and all pairs of them count as unrelated: in a set worth training on few say
the same.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from data_store.corpus.batch import Batch
from data_store.corpus.describing import CODE, UNKNOWN, language_in
from data_store.corpus.language import by_script, scripts_of
from data_store.errors import InputError
from data_store.figures import figure, percent
from tasks.drawn_texts import DrawnTexts
from tasks.similar import SimilarChoice

if TYPE_CHECKING:
    from models.sentence_encoder import SentenceEncoder

LEAST = 21
"""Texts of a language by themselves: they have 210 pairs. Those of rarer ones are looked at together."""
OTHERS = "others"
"""The rarer languages, and texts too short to tell."""
_DRAWN, _PAIRS = 200, 5_000
_CHARACTERS = 1_000  # of a text by which its language is told


@dataclass(frozen=True)
class Looked:
    """What was seen of a language: how many texts and pairs of them, the cosine that 99 of 100 pairs lie below, the
    share at or above the threshold, and the share of letters that are cut."""

    texts: int
    pairs: int
    p99: float
    share: float
    cut_letters: float


class Languages:
    """Rows by language as they come by, with some texts of each."""

    def __init__(self, config: SimilarChoice, seed: int) -> None:
        self._config, self._seed = config, seed
        self._drawn = dict[str, DrawnTexts]()

    def add(self, texts: Sequence[str], fits: Sequence[bool]) -> list[str | None]:
        """The language of each text; None where rows of it are left alone. Drawn from are those that `fits` says the
        encoder reads whole."""
        batch = Batch(list(map(str, range(len(texts)))), texts, [{} for _ in texts], _CHARACTERS)
        found = list[str | None]()
        for place, (text, (script, signs)) in enumerate(zip(texts, by_script(batch), strict=True)):
            language = CODE if batch.is_code[place] else signs or language_in(batch, place)
            is_compared = bool(text.strip()) and not self._is_left_alone(language, script)
            if is_compared and fits[place]:
                self._drawn.setdefault(language, DrawnTexts(_DRAWN, self._seed)).add(text)
            found.append(language if is_compared else None)
        return found

    def _is_left_alone(self, language: str, script: str) -> bool:
        named = self._config.languages
        if named is None or language in named:
            return False
        return language != UNKNOWN or script not in scripts_of(named)

    def groups(self) -> dict[str, list[str]]:
        """The drawn texts of each language that has enough, and under `OTHERS` those of all others, if they have."""
        drawn = {language: each.texts() for language, each in sorted(self._drawn.items())}
        own = {name: texts for name, texts in drawn.items() if len(texts) >= LEAST and name not in (UNKNOWN, CODE)}
        others = DrawnTexts(_DRAWN, self._seed)
        for name, texts in drawn.items():
            for text in texts if name not in own else ():
                others.add(text)
        rest = others.texts()
        return {**own, **({OTHERS: rest} if len(rest) >= LEAST else {})}


def look(
    encoder: "SentenceEncoder", groups: Mapping[str, Sequence[str]], config: SimilarChoice, seed: int
) -> dict[str, Looked]:
    """What is seen of each group of texts. Raises InputError for one that the encoder does not know."""
    found = {name: _looked(encoder, texts, config.threshold, seed) for name, texts in groups.items()}
    for name, each in found.items():
        _refuse_unknown(name, each, config)
    return found


def _looked(encoder: "SentenceEncoder", texts: Sequence[str], threshold: float, seed: int) -> Looked:
    from models.algorithms.distinct import cosines

    cut, letters = encoder.cut_letters(texts)
    pairs = list(combinations(range(len(texts)), 2))
    if len(pairs) > _PAIRS:
        pairs = random.Random(seed).sample(pairs, _PAIRS)
    found = sorted(cosines(encoder.embed(encoder.encode(texts)), pairs).tolist())
    p99 = found[-(-99 * len(found) // 100) - 1]
    share = sum(cosine >= threshold for cosine in found) / len(found)
    return Looked(len(texts), len(pairs), p99, share, cut / max(letters, 1))


def _refuse_unknown(name: str, found: Looked, config: SimilarChoice) -> None:
    of = f"similar.encoder: {'rare languages and texts too short to tell' if name == OTHERS else name}"
    remedy = (
        "give an encoder that was trained on it (a multilingual one), or name in similar.languages those that it "
        "knows, so that rows of others are left alone"
    )
    if found.cut_letters > config.max_cut_letters:
        raise InputError(
            f"{of}: its tokenizer does not know {percent(found.cut_letters, 1)} of the letters of {found.texts} texts, "
            f"or cuts them to pieces, and similar.max_cut_letters is {figure(config.max_cut_letters)}: it does not "
            f"read this language; {remedy}"
        )
    if found.share > config.max_unrelated_share:
        raise InputError(
            f"{of}: {percent(found.share, 1)} of {figure(found.pairs)} pairs of different texts, drawn by chance, have "
            f"a cosine of {figure(config.threshold)} or more (99 of 100 lie below {figure(found.p99, 3)}), and "
            f"similar.max_unrelated_share is {figure(config.max_unrelated_share)}: it does not tell them apart; "
            f"{remedy}. Where many rows do mean the same, raise similar.max_unrelated_share"
        )
