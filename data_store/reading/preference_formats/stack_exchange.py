"""Stack Exchange: the answers to a question, with the scores that their votes gave (Askell et al. 2021, arXiv
2112.00861: log2(1 + votes), one more where the asker took it).

https://huggingface.co/datasets/HuggingFaceH4/stack-exchange-preferences
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import ScoreOptions
from data_store.reading.preference_formats.pairs import Found, attempt, judged
from data_store.reading.preference_formats.scores import SCORES_OF_FIVE, score_of, scored_pair
from data_store.reading.source_files import Record

_PAIR = ("response_j", "response_k")


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`question` and every two `answers`, each with `text` and `pm_score`; or pairs of them, of which `response_j` is
    the better one."""
    gaps = options.score_gaps or SCORES_OF_FIVE
    for record in records:
        prompt = prompt_in(record, "question")
        if set(_PAIR) <= set(record.fields):
            texts = [record.text(name).strip() for name in _PAIR]
            yield attempt(record.source, judged, record.source, prompt, *texts)
            continue
        answers = record.fields.get("answers")
        if not isinstance(answers, list) or not all(isinstance(each, Mapping) for each in answers):
            raise InputError(f"{record.where}: field 'answers' must be a list of objects with text and pm_score")
        scored = list[tuple[str, float | None]]()
        for place, each in enumerate(answers):
            part = Record(f"{record.where} answer {place}", record.source, dict(each))
            scored.append((part.text("text").strip(), score_of(part, "pm_score")))
        for number, (first, second) in enumerate(combinations(scored, 2)):
            source = f"{record.source}#{number}"
            yield attempt(source, scored_pair, source, prompt, first, second, gaps)
        if len(scored) < 2:
            yield Refusal(record.source, "no_pair", f"{len(scored)} answers")


def _is_stack_exchange(fields: Mapping[str, Any]) -> bool:
    answers = fields.get("answers")
    scored = isinstance(answers, list) and all(isinstance(each, Mapping) and "pm_score" in each for each in answers)
    return "question" in fields and (scored or set(_PAIR) <= set(fields))


STACK_EXCHANGE = PreferenceFormat(
    "stack_exchange", "Stack Exchange: answers to a question with the scores of their votes", read, _is_stack_exchange
)
