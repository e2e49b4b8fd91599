"""Documents full of words that are not wanted."""

from pydantic import Field, field_validator

from data_store.corpus.filter import DocumentFilter, SampleConfig

_LISTED = (
    "anal arsehole asshole bastard bitch bitches blowjob bollocks bondage boobs bukkake cock cocks cocksucker cum "
    "cumshot cunt cunts dick dildo ejaculation erotica fag faggot faggots fuck fucked fucker fuckers fucking "
    "gangbang handjob hardcore hentai hooker horny jizz kike masturbate milf motherfucker nigga nigger niggers "
    "nude nudes orgy paki penis piss porn porno pornography pussy rapist retard scum sexcam sexcams shemale shit "
    "shitty slut sluts spic stripper threesome tits tranny twat upskirt vagina viagra whore whores xxx"
)
_BLOCKED_WORDS: tuple[str, ...] = tuple(_LISTED.split())
"""Sexual text, insults and slurs. One alone in a long text drops nothing."""


class BlockedWordsConfig(SampleConfig):
    """Which words, and how many are too many."""

    blocked_words: tuple[str, ...] = Field(default=_BLOCKED_WORDS, description="Single words, in lower case.")
    max_blocked_per_100_words: float = Field(
        default=2, ge=0, description="Most blocked words per 100 words; a single one drops nothing."
    )

    @field_validator("blocked_words")
    @classmethod
    def _single_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not word or word != word.lower() or any(sign.isspace() for sign in word):
                raise ValueError(f"{word!r} is not a single word in lower case")
        return words


class BlockedWords(DocumentFilter):
    """By whole words."""

    reasons = {"blocked_words": "sexual text, insults, slurs"}
    of_words = {"blocked": "sum(n) FILTER (list_contains($blocked_words::VARCHAR[], word))"}
    rules = (
        (
            "blocked_words",
            "blocked >= 2 AND 100 * blocked > $max_blocked_per_100_words * said",
            "format('{} in {} words', blocked, n_words)",
        ),
    )
