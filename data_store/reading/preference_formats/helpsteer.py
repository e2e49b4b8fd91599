"""HelpSteer: one scored answer a line; lines that follow each other have one prompt."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from data_store.reading.bad_rows import Refusal
from data_store.reading.messages import Messages
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.pairs import Found, attempt, beside
from data_store.reading.preference_formats.scores import SCORES_OF_FIVE, score_of, scored_pair
from data_store.reading.source_files import Record

_TURN = re.compile(r"\n<extra_id_1>(User|Assistant)\n")


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`prompt`, `response` and a score; lines that follow each other with one prompt are answers to it. The source of a
    pair names both lines, as FILE:7+8."""
    field, gaps = options.score_field or "helpfulness", options.score_gaps or SCORES_OF_FIVE
    prompt = turns(records[0].text("prompt"))
    found = [(record, (record.text("response").strip(), score_of(record, field))) for record in records]
    if len(found) == 1:
        yield Refusal(found[0][0].source, "no_pair", "no line beside it has the same prompt")
    for (first, one), (second, other) in combinations(found, 2):
        source = beside(first, second)
        yield attempt(source, scored_pair, source, prompt, one, other, gaps)


def turns(prompt: str) -> Messages:
    """The dialogue in a prompt: HelpSteer 2 writes a mark before each turn but the first."""
    first, *rest = _TURN.split(prompt)
    messages = [{"role": "user", "content": first.strip()}]
    for speaker, text in zip(rest[::2], rest[1::2], strict=True):
        messages.append({"role": speaker.lower(), "content": text.strip()})
    return messages if messages[-1]["role"] == "user" or messages[-1]["content"] else messages[:-1]


HELPSTEER = PreferenceFormat(
    "helpsteer",
    "HelpSteer: one scored answer a line",
    read,
    lambda fields: {"prompt", "response", "helpfulness"} <= set(fields),
    together=lambda fields: fields.get("prompt"),
)
