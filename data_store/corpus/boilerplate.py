"""Page furniture (cookie notices, menus), and lines that stand in many documents."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from data_store.corpus.filter import DocumentFilter, SampleConfig

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


class BoilerplateConfig(SampleConfig):
    """Phrases and repeated lines."""

    max_boilerplate_per_100_words: float = Field(
        default=6, ge=0, description="Most phrases of page furniture per 100 words; fewer than 3 drop nothing."
    )
    repeated_line_documents: int = Field(
        default=10,
        ge=2,
        description="A line of 4 words and more is repeated if it stands in this many documents of 4 lines and more.",
    )
    max_repeated_line_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of such lines' characters in a document.",
    )


class Boilerplate(DocumentFilter):
    """By phrase, or by line."""

    reasons = {"boilerplate": "page furniture (cookie notices, menus), or lines that stand in many documents"}
    of_sample = {"furniture": "len(regexp_extract_all(lower(sample), $furniture))"}
    tables = {
        "repeated_lines": """
            WITH lines AS (
                SELECT place, unnest(string_split(left(text, $sample_characters), chr(10))) AS line
                FROM documents SEMI JOIN (FROM features WHERE lines >= 4) USING (place)
            ), trimmed AS (
                SELECT place, lower(trim(regexp_replace(line, '\\s+', ' ', 'g'))) AS line FROM lines
            ), counted AS (
                SELECT place, line, count(*) AS n FROM trimmed WHERE line <> '' GROUP BY ALL
            ), frequent AS (
                SELECT line FROM counted
                WHERE len(string_split(line, ' ')) >= 4
                GROUP BY line HAVING count(*) >= $repeated_line_documents
            )
            SELECT
                place,
                coalesce(sum(n * length(line)) FILTER (line IN (FROM frequent)), 0) / sum(n * length(line)) AS repeated
            FROM counted GROUP BY place
        """
    }
    rules = (
        (
            "boilerplate",
            "furniture >= 3 AND 100 * furniture > $max_boilerplate_per_100_words * said",
            "format('{} phrases in {} words', furniture, n_words)",
        ),
        ("boilerplate", "repeated > $max_repeated_line_share", "format('repeated lines {:.2f}', repeated)"),
    )

    def parameters(self, config: BoilerplateConfig) -> Mapping[str, Any]:
        """The phrases as one expression."""
        return {"furniture": rf"\b(?:{'|'.join(_PHRASES)})\b"}
