"""Documents full of personal data."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from data_store.corpus.filter import DocumentFilter, SampleConfig

_PATTERNS: dict[str, str] = {
    "e-mail": r"[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}",
    "phone": r"(?:\+\d{1,3}[ .-]?)?\(?\b\d{2,4}\)?[ .-]\d{3,4}[ .-]\d{4}\b",
    "id number": r"\b(?:\d{3}-\d{2}-\d{4}|\d{6}-[1-8]\d{6})\b",
    "iban": r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?\b",
    "card": r"\b\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}\b",
}
"""Personal data as regular expressions on lower-case text: US social security and Korean resident numbers are ids."""


class PersonalDataConfig(SampleConfig):
    """How many are too many."""

    max_personal_per_100_words: float = Field(
        default=4, ge=0, description="Most pieces of personal data per 100 words; fewer than 3 drop nothing."
    )


class PersonalData(DocumentFilter):
    """By patterns."""

    reasons = {"personal_data": "e-mail addresses, phone, id, card and account numbers"}
    of_sample = {"personal": "len(regexp_extract_all(lower(sample), $personal))"}
    rules = (
        (
            "personal_data",
            "personal >= 3 AND 100 * personal > $max_personal_per_100_words * said",
            "format('{} pieces in {} words', personal, n_words)",
        ),
    )

    def parameters(self, config: PersonalDataConfig) -> Mapping[str, Any]:
        """The patterns as one expression."""
        return {"personal": "|".join(f"(?:{pattern})" for pattern in _PATTERNS.values())}
