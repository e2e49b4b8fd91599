"""One prompt with a list of answers and a list of their scores, as distilabel and Argilla have them.

https://distilabel.argilla.io/latest/components-gallery/tasks/ultrafeedback/
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.pairs import Found, attempt
from data_store.reading.preference_formats.scores import SCORES_OF_FIVE, score_of, scored_pair
from data_store.reading.source_files import Record

_LISTS = (("generations", "ratings"), ("responses", "scores"), ("responses", "ratings"), ("completions", "scores"))
_PROMPTS = ("instruction", "prompt", "input", "question")


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`generations` and `ratings`, or `responses` and `scores`; every two answers become a pair."""
    gaps = options.score_gaps or SCORES_OF_FIVE
    for record in records:
        answers, scores = next((names for names in _LISTS if set(names) <= set(record.fields)), _LISTS[0])
        texts, given = record.value(answers), record.value(scores)
        if not isinstance(texts, list) or not isinstance(given, list) or len(texts) != len(given):
            raise InputError(f"{record.where}: fields {answers!r} and {scores!r} must be lists of the same length")
        prompt = prompt_in(record, next((name for name in _PROMPTS if name in record.fields), _PROMPTS[0]))
        scored = [
            (record.check_text(f"{answers}[{n}]", "" if text is None else text).strip(), _score(record, scores, n))
            for n, text in enumerate(texts)
        ]
        for number, (first, second) in enumerate(combinations(scored, 2)):
            source = f"{record.source}#{number}"
            yield attempt(source, scored_pair, source, prompt, first, second, gaps)
        if len(scored) < 2:
            yield Refusal(record.source, "no_pair", f"{len(scored)} answers")


def _score(record: Record, scores: str, place: int) -> float | None:
    each = {f"{scores}[{place}]": record.fields[scores][place]}
    return score_of(Record(record.where, record.source, each), f"{scores}[{place}]")


def _is_list(fields: Mapping[str, Any]) -> bool:
    return not set(_PROMPTS).isdisjoint(fields) and any(
        all(isinstance(fields.get(name), list) for name in names)
        and all(text is None or isinstance(text, str) for text in fields[names[0]])
        for names in _LISTS
    )


SCORED_LISTS = PreferenceFormat(
    "scored_lists",
    "A prompt with a list of answers and a list of their scores (distilabel)",
    read,
    _is_list,
)
