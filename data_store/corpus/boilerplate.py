"""Page furniture: cookie notices, menus, imprints."""

from collections.abc import Iterator

from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig

_PHRASES: tuple[str, ...] = (
    r"cookies?",
    r"(?:enable|requires?|turn on) javascript",
    r"privacy policy",
    r"terms (?:of|and) (?:service|use|conditions)",
    r"all rights reserved",
    r"copyright (?:©|\(c\)|\d{4})",
    r"(?:log|sign) ?in",
    r"sign up",
    r"click here",
    r"read more",
    r"(?:subscribe|sign up) (?:to|for) (?:our|the) newsletter",
    r"skip to (?:main )?content",
    r"back to top",
    r"add to (?:cart|basket|wishlist)",
    r"free shipping",
    r"share this",
    r"follow us",
    r"like us",
    r"about us",
    r"contact us",
    r"powered by",
    r"sitemap|site map",
    r"(?:previous|next) (?:page|post|article)",
    r"leave a (?:reply|comment)",
    r"lorem ipsum",
    r"쿠키를? 사용|개인정보 ?(?:처리|취급) ?방침|이용 ?약관|무단 ?(?:전재|복제)",
)
"""Page furniture as regular expressions, matched between word boundaries in lower-case text."""
_FURNITURE = rf"\b(?:{'|'.join(_PHRASES)})\b"


class BoilerplateConfig(SampleConfig):
    """Phrases."""

    max_boilerplate_per_100_words: float = Field(
        default=6, ge=0, description="Most phrases of page furniture per 100 words; fewer than 3 drop nothing."
    )


class Boilerplate(DocumentFilter):
    """By phrase."""

    reasons = {"boilerplate": "page furniture: cookie notices, menus, imprints"}

    def rules(self, batch: Batch, config: BoilerplateConfig) -> Iterator[Rule]:
        """Source code has its copyright lines: it is not looked at."""
        furniture = batch.count(_FURNITURE, lower=True)
        often = 100 * furniture > config.max_boilerplate_per_100_words * batch.said
        yield Rule(
            "boilerplate",
            (furniture >= 3) & often & ~batch.is_code,
            lambda i: f"{furniture[i]} phrases in {batch.n_words[i]} words",
        )
