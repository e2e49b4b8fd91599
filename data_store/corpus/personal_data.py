"""Personal data: masked where it stands in a text; a document that is mostly that is dropped."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import Change, DocumentFilter, Rule, SampleConfig
from data_store.corpus.personal_numbers import Span, find_numbers

# Boundaries are of ASCII: a Korean particle follows an address without a blank.
_MAILBOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}\Z")
_HOST = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?P<ending>[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9_@-]|:[A-Za-z0-9~/]|\.[A-Za-z0-9])"
)
_NOT_PEOPLE = frozenset(("git", "hg", "svn", "root", "noreply", "no-reply", "ssh", "user", "username"))
_NOT_HOSTS = frozenset(
    ("png", "jpg", "jpeg", "gif", "svg", "webp", "service", "timer", "socket", "py", "js", "html", "local")
)
_LEAST_PIECES = 5
MASKS = {
    "email": "<EMAIL>",
    "phone": "<PHONE>",
    "resident": "<ID>",
    "social": "<ID>",
    "card": "<CARD>",
    "account": "<IBAN>",
    "address": "<IP>",
}


class PersonalDataConfig(SampleConfig):
    """Masks, and how many are too many."""

    mask_personal_data: bool = Field(
        default=True,
        description="Write <EMAIL>, <PHONE>, <ID>, <CARD>, <IBAN> and <IP> in the place of e-mail addresses, and of "
        "numbers whose check digits or numbering plan hold.",
    )
    max_personal_per_100_words: float = Field(
        default=8, ge=0, description="Most pieces of personal data per 100 words; fewer than 5 drop nothing."
    )


class MaskPersonalData(Change):
    """By patterns, and by what they must fulfil: Luhn's digit, the remainder of an account number, a birth date, a
    numbering plan. Names and places are not looked for."""

    counted = {
        "email": "e-mail addresses",
        "phone": "telephone numbers",
        "resident": "Korean resident registration numbers",
        "social": "social security numbers of the United States",
        "card": "card numbers",
        "account": "account numbers (IBAN)",
        "address": "public IP addresses",
    }

    def change(self, text: str, config: PersonalDataConfig) -> tuple[str, Mapping[str, int]]:
        """The text with its masks, and how many of each."""
        spans = [*_mails(text), *find_numbers(text)]
        if not spans:
            return text, {}
        spans = _apart(spans)
        counts = Counter(kind for _, _, kind in spans)
        return (_masked(text, spans) if config.mask_personal_data else text), counts


class PersonalData(DocumentFilter):
    """What is mostly personal data: lists of addresses."""

    reasons = {"personal_data": "mostly e-mail addresses, telephone, id, card and account numbers"}

    def rules(self, batch: Batch, config: PersonalDataConfig) -> Iterator[Rule]:
        """By the pieces that were found in the whole text, for the words of its sample."""
        pieces = np.array([sum(found.get(kind, 0) for kind in MASKS) for found in batch.found], np.int64)
        share = np.array([len(sample) for sample in batch.samples]) / np.maximum(batch.characters, 1)
        often = 100 * pieces * share > config.max_personal_per_100_words * batch.said
        yield Rule(
            "personal_data",
            (pieces >= _LEAST_PIECES) & often,
            lambda i: f"{pieces[i]} pieces, {batch.n_words[i]} words in the sample",
        )


def _apart(spans: list[Span]) -> list[Span]:
    """In their order, without those that begin inside of another one."""
    chosen: list[Span] = []
    for span in sorted(spans):
        if not chosen or span[0] >= chosen[-1][1]:
            chosen.append(span)
    return chosen


def _masked(text: str, spans: list[Span]) -> str:
    parts, at = list[str](), 0
    for begin, end, kind in spans:
        parts += [text[at:begin], MASKS[kind]]
        at = end
    return "".join((*parts, text[at:]))


def _mails(text: str) -> Iterator[Span]:
    at = text.find("@")
    while at >= 0:
        begin, host = max(at - 64, 0), _HOST.match(text, at + 1)
        if host and host["ending"].lower() not in _NOT_HOSTS and (box := _MAILBOX.search(text[begin:at])):
            begin += box.start()
            before = text[max(begin - 24, 0) : begin]
            if box[0].lower() not in _NOT_PEOPLE and not before.endswith("@") and "://" not in before.split(" ")[-1]:
                yield begin, host.end(), "email"
        at = text.find("@", at + 1)
