"""Nectar: seven answers to one prompt, ranked.

https://huggingface.co/datasets/berkeley-nest/Nectar
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RankOptions
from data_store.reading.preference_formats.pairs import Found, attempt, transcript
from data_store.reading.preference_formats.scores import ranked_pair, score_of
from data_store.reading.source_files import Record


def read(records: Sequence[Record], options: RankOptions) -> Iterator[Found]:
    """Every two of `answers`, each with `answer` and `rank`; the lowest rank is the best."""
    for record in records:
        answers = record.fields.get("answers")
        if not isinstance(answers, list) or not all(isinstance(each, Mapping) for each in answers):
            raise InputError(f"{record.where}: field 'answers' must be a list of objects with answer and rank")
        prompt = transcript(record, "prompt", record.text("prompt"))
        if prompt[-1]["role"] == "assistant" and not prompt[-1]["content"]:
            prompt = prompt[:-1]
        ranked = list[tuple[str, float | None]]()
        for place, each in enumerate(answers):
            part = Record(f"{record.where} answer {place}", record.source, dict(each))
            ranked.append((part.text("answer").strip(), score_of(part, "rank")))
        for number, (first, second) in enumerate(combinations(ranked, 2)):
            source = f"{record.source}#{number}"
            yield attempt(source, ranked_pair, source, prompt, first, second, options.rank_gaps)
        if len(ranked) < 2:
            yield Refusal(record.source, "no_pair", f"{len(ranked)} answers")


def _is_nectar(fields: Mapping[str, Any]) -> bool:
    answers = fields.get("answers")
    ranked = isinstance(answers, list) and all(isinstance(each, Mapping) and "rank" in each for each in answers)
    return "prompt" in fields and ranked


NECTAR = PreferenceFormat("nectar", "Nectar: several ranked answers a line", read, _is_nectar)
