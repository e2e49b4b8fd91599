"""UltraFeedback: several completions a line, each with a score."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.pairs import Found, attempt
from data_store.reading.preference_formats.scores import SCORES_OF_TEN, score_of, scored_pair
from data_store.reading.source_files import Record

_PROMPTS = ("instruction", "prompt", "messages")


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`instruction` (or `prompt`, `messages`) and `completions`, each with `response` and a score."""
    field, gaps = options.score_field or "overall_score", options.score_gaps or SCORES_OF_TEN
    for record in records:
        prompt = prompt_in(record, next((name for name in _PROMPTS if record.fields.get(name)), _PROMPTS[0]))
        answers = []
        for place, completion in enumerate(_completions(record)):
            part = Record(f"{record.where} completion {place}", record.source, completion)
            answers.append((part.text("response").strip(), score_of(part, field)))
        pairs = [
            attempt(source := f"{record.source}#{number}", scored_pair, source, prompt, first, second, gaps)
            for number, (first, second) in enumerate(combinations(answers, 2))
        ]
        yield from pairs or [Refusal(record.source, "no_pair", f"{len(answers)} completions")]


def _completions(record: Record) -> list[dict[str, Any]]:
    completions = record.fields.get("completions")
    if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
        raise InputError(f"{record.where}: field 'completions' must be a list of objects with response and a score")
    return completions


ULTRAFEEDBACK = PreferenceFormat(
    "ultrafeedback",
    "UltraFeedback: several scored completions a line",
    read,
    lambda fields: (
        isinstance(fields.get("completions"), list)
        and all(isinstance(each, dict) and "response" in each for each in fields["completions"])
    ),
)
