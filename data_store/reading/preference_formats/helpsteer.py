"""HelpSteer: one scored answer a line; lines that follow each other have one prompt."""

import re
from collections.abc import Iterable, Iterator
from itertools import combinations, groupby

from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RatingGaps, ScoreOptions
from data_store.reading.preference_formats.pairs import Found, attempt
from data_store.reading.preference_formats.scores import score_of, scored_pair
from data_store.reading.row_import import Messages, Refusal
from data_store.reading.source_files import Record

_SCORES_OF_FIVE = RatingGaps(significantly_better=3, better=2, slightly_better=1)
_TURN = re.compile(r"\n<extra_id_1>(User|Assistant)\n")


def read(records: Iterable[Record], options: ScoreOptions) -> Iterator[Found]:
    """`prompt`, `response` and a score; lines that follow each other with one prompt are answers to it. The source of a
    pair names both lines, as FILE:7+8."""
    field, gaps = options.score_field or "helpfulness", options.score_gaps or _SCORES_OF_FIVE
    for prompt, group in groupby(records, key=lambda record: record.text("prompt")):
        found = [(record, (record.text("response").strip(), score_of(record, field))) for record in group]
        if len(found) == 1:
            yield Refusal(found[0][0].source, "no_pair", "no line beside it has the same prompt")
        for (first, one), (second, other) in combinations(found, 2):
            source = f"{first.source}+{second.source.rpartition(':')[2]}"
            yield attempt(source, scored_pair, source, _turns(prompt), one, other, gaps)


def _turns(prompt: str) -> Messages:
    """HelpSteer 2 writes dialogues into the prompt, with a mark before each turn but the first."""
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
)
