"""Documents full of words that are not wanted."""

import re
from collections.abc import Iterator

import numpy as np
from pydantic import Field, field_validator

from data_store.corpus.batch import Batch
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig
from data_store.corpus.words import distinct, hashes_of, is_among

_ENGLISH = (
    "arsehole asshole assholes bitch bitches blowjob bukkake cocksucker cumshot cunt cunts dildo fag faggot faggots "
    "fuck fucked fucker fuckers fucking gangbang handjob hardcore hentai horny jizz kike masturbate milf motherfucker "
    "nigger niggers nude nudes orgy paki porn porno pussy retard scum sexcam sexcams shemale shit shitty slut sluts "
    "threesome tits tranny twat upskirt viagra whore whores xxx"
)
_KOREAN = (
    "씨발 씨팔 시발놈 시발년 병신 좆 지랄 개새끼 쌍년 썅 닥쳐 꺼져라 느금마 걸레년 창녀 보지년 야동 섹스 짱깨 쪽바리 "
    "한남충 김치녀"
)
_BLOCKED_WORDS: tuple[str, ...] = (*_ENGLISH.split(), *_KOREAN.split())
"""Sexual text, insults and slurs; no words with a second, harmless meaning (cocks crow, and Moby Dick is a whale)."""
_DIFFERENT = 3


class BlockedWordsConfig(SampleConfig):
    """Which words, and how many are too many."""

    blocked_words: tuple[str, ...] = Field(
        default=_BLOCKED_WORDS, description="Single words, in lower case; one in Hangul is any beginning of a word."
    )
    max_blocked_per_100_words: float = Field(
        default=2,
        ge=0,
        description="Most blocked words per 100 words; fewer than three different ones drop nothing, and two where "
        "they are one in ten of a short text's words.",
    )

    @field_validator("blocked_words")
    @classmethod
    def _single_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not re.fullmatch(r"\w+", word) or word != word.lower():
                raise ValueError(f"{word!r} is not a single word in lower case")
        return words


class BlockedWords(DocumentFilter):
    """By whole words; Korean, whose words have endings, by beginnings of words."""

    reasons = {"blocked_words": "sexual text, insults, slurs"}

    def rules(self, batch: Batch, config: BlockedWordsConfig) -> Iterator[Rule]:
        """Different ones, so that one word of a story or of a town's name drops nothing."""
        hangul = [word for word in config.blocked_words if re.match(r"[가-힣]", word)]
        whole = hashes_of(tuple(word for word in config.blocked_words if word not in hangul))
        blocked, different = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.int64)
        of_list = is_among(batch.words.hashes, whole)
        korean = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, hangul))})") if hangul else None
        for index in range(len(batch)):
            chosen = batch.words.of(index)
            met = batch.words.hashes[chosen][of_list[chosen]]
            blocked[index], different[index] = len(met), len(distinct(met))
        for index in np.flatnonzero(batch.count("|".join(hangul))).tolist() if korean else ():
            said = korean.findall(batch.samples[index]) if korean else []
            blocked[index] += len(said)
            different[index] += len(set(said))
        often = 100 * blocked > config.max_blocked_per_100_words * batch.said
        dense = (different >= 2) & (10 * blocked > batch.said)
        yield Rule(
            "blocked_words",
            often & ((different >= _DIFFERENT) | dense),
            lambda i: f"{blocked[i]} in {batch.n_words[i]} words",
        )
