"""Answers with scores: UltraFeedback (several completions a line), HelpSteer (one answer a line), and the pairs with
their scores that TRL and many published sets use (`datasets`)."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, groupby
from typing import Any

from data_store.errors import InputError
from data_store.preference_formats.pairs import (
    Found,
    Row,
    attempt,
    check_answers,
    each_row,
    judged,
    prompt_in,
    said,
    word,
)
from data_store.preference_options import SCORES_OF_FIVE, SCORES_OF_TEN, PreferenceOptions, RatingGaps
from data_store.row_import import Messages, Refusal, RefusedRowError, messages_of
from data_store.source_files import Record

_PROMPTS = ("instruction", "prompt", "messages")
_NO_SCORE = ("N/A", "", None)
_HELPSTEER_TURN = re.compile(r"\n<extra_id_1>(User|Assistant)\n")
_DATASETS_SCORES = ("score_chosen", "score_rejected")


def read_ultrafeedback(records: Iterable[Record], options: PreferenceOptions) -> Iterator[Found]:
    """`instruction` (or `prompt`, `messages`) and `completions`, each with `response` and a score."""
    field, gaps = options.score_field or "overall_score", options.score_gaps or SCORES_OF_TEN
    for record in records:
        prompt = prompt_in(record, next((name for name in _PROMPTS if name in record.fields), _PROMPTS[0]))
        answers = []
        for place, completion in enumerate(_completions(record)):
            part = Record(f"{record.where} completion {place}", record.source, completion)
            answers.append((part.text("response").strip(), _score(part, field)))
        pairs = [
            attempt(source := f"{record.source}#{number}", _scored, source, prompt, first, second, gaps)
            for number, (first, second) in enumerate(combinations(answers, 2))
        ]
        yield from pairs or [Refusal(record.source, "no_pair", f"{len(answers)} completions")]


def read_helpsteer(records: Iterable[Record], options: PreferenceOptions) -> Iterator[Found]:
    """`prompt`, `response` and a score; lines that follow each other with one prompt are answers to it. The source of a
    pair names both lines, as FILE:7+8."""
    field, gaps = options.score_field or "helpfulness", options.score_gaps or SCORES_OF_FIVE
    for prompt, group in groupby(records, key=lambda record: record.text("prompt")):
        found = [(record, (record.text("response").strip(), _score(record, field))) for record in group]
        if len(found) == 1:
            yield Refusal(found[0][0].source, "no_pair", "no line beside it has the same prompt")
        for (first, one), (second, other) in combinations(found, 2):
            source = f"{first.source}+{second.source.rpartition(':')[2]}"
            yield attempt(source, _scored, source, _turns(prompt), one, other, gaps)


def read_datasets(records: Iterable[Record], options: PreferenceOptions) -> Iterator[Found]:
    """`chosen` and `rejected` as texts or messages, with `prompt` as text or messages, or inside both dialogues. The
    rating comes from `rating`, else from `score_chosen` and `score_rejected`. Other columns are not read."""
    gaps = options.score_gaps or SCORES_OF_TEN
    return each_row(records, lambda record: _dataset_row(record, gaps))


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as TRL's trainers take it: messages under prompt, chosen and rejected, and everything else a row says."""
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    rest = ("axis", "split", "rating", "safety_label", "annotator", "iteration", "source")
    sides = [f"{name}_{side}" for name in ("policy_version", "temperature_milli") for side in "ab"]
    return {
        "prompt": row["messages"],
        "chosen": [{"role": "assistant", "content": row[f"response_{better}"]}],
        "rejected": [{"role": "assistant", "content": row[f"response_{worse}"]}],
        "chosen_is": row["chosen"],
        **{name: row[name] for name in (*rest, *sides)},
    }


def _dataset_row(record: Record, gaps: RatingGaps) -> Row:
    (prompt, better), (other_prompt, worse) = (_dialogue(record, field) for field in ("chosen", "rejected"))
    if prompt != other_prompt:
        raise RefusedRowError("prompts_differ", "the turns before the last answer are not the same")
    words = said(record)
    scores = [_score(record, field) for field in _DATASETS_SCORES if field in record.fields]
    if "rating" not in words and len(scores) == 2 and None not in scores:
        gap = float(scores[0] or 0) - float(scores[1] or 0)
        if gap <= 0:
            raise RefusedRowError("tie", f"the scores are {scores[0]} and {scores[1]}")
        words["rating"] = gaps.word(gap)
    if "chosen_is" not in record.fields:
        return judged(record.source, prompt, better, worse, **words)
    check_answers(prompt, {"the better one": better, "the other": worse})
    sides = {"response_a": better, "response_b": worse}
    if (chosen := word(record, "chosen_is", ("a", "b"))) == "b":
        sides = {"response_a": worse, "response_b": better}
    return {"messages": prompt, **sides, "chosen": chosen, **words}


def _dialogue(record: Record, field: str) -> tuple[Messages, str]:
    """The prompt and the answer of one side."""
    if not isinstance(record.fields.get(field), list):
        return prompt_in(record, "prompt"), record.text(field).strip()
    messages = messages_of(record, field)
    if messages[-1]["role"] != "assistant":
        raise RefusedRowError("last_turn_not_assistant", f"{field} ends with a turn of the {messages[-1]['role']}")
    before = messages[:-1] or prompt_in(record, "prompt")
    return before, messages[-1]["content"]


def _scored(
    source: str,
    prompt: Messages,
    first: tuple[str, float | None],
    second: tuple[str, float | None],
    gaps: RatingGaps,
) -> Row:
    if first[1] is None or second[1] is None:
        raise RefusedRowError("no_score", "an answer has none")
    if first[1] == second[1]:
        raise RefusedRowError("tie", f"both scores are {first[1]:g}")
    better, worse = (first, second) if first[1] > second[1] else (second, first)
    return judged(source, prompt, better[0], worse[0], rating=gaps.word(abs(first[1] - second[1])))


def _completions(record: Record) -> list[dict[str, Any]]:
    completions = record.fields.get("completions")
    if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
        raise InputError(f"{record.where}: field 'completions' must be a list of objects with response and a score")
    return completions


def _score(record: Record, field: str) -> float | None:
    """The number that the dotted path leads to; None for one that is not given. Raises InputError for anything else."""
    value: Any = record.fields
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else "none"
            raise InputError(f"{record.where}: there is no score {field!r}: {name!r} is not among the fields {there}")
        value = value[name]
    if value in _NO_SCORE:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{record.where}: score {field!r} is {value!r}; give a number")
    return number


def _turns(prompt: str) -> Messages:
    """HelpSteer 2 writes dialogues into the prompt, with a mark before each turn but the first."""
    first, *rest = _HELPSTEER_TURN.split(prompt)
    messages = [{"role": "user", "content": first.strip()}]
    for speaker, text in zip(rest[::2], rest[1::2], strict=True):
        messages.append({"role": speaker.lower(), "content": text.strip()})
    return messages if messages[-1]["role"] == "user" or messages[-1]["content"] else messages[:-1]
