"""Pairs with their scores, as TRL and many published sets have them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RatingGaps, ScoreOptions
from data_store.reading.preference_formats.pairs import (
    Found,
    Row,
    check_answers,
    each_row,
    judged,
    prompt_in,
    said,
    word,
)
from data_store.reading.preference_formats.scores import SCORES_OF_TEN, score_of
from data_store.reading.row_import import Messages, RefusedRowError, messages_of
from data_store.reading.source_files import Record

_SCORES = ("score_chosen", "score_rejected")


def read(records: Iterable[Record], options: ScoreOptions) -> Iterator[Found]:
    """`chosen` and `rejected` as texts or messages, with `prompt` as text or messages, or inside both dialogues. The
    rating comes from `rating`, else from `score_chosen` and `score_rejected`. Other columns are not read."""
    gaps = options.score_gaps or SCORES_OF_TEN
    return each_row(records, lambda record: _row(record, gaps))


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as TRL's trainers take it: messages under prompt, chosen and rejected, and everything else a row says."""
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    rest = ("axis", "split", "rating", "safety_label", "annotator", "iteration", "source")
    sides = [f"{name}_{side}" for name in ("policy_version", "temperature_milli", "finished") for side in "ab"]
    return {
        "prompt": row["messages"],
        "chosen": [{"role": "assistant", "content": row[f"response_{better}"]}],
        "rejected": [{"role": "assistant", "content": row[f"response_{worse}"]}],
        "chosen_is": row["chosen"],
        **{name: row[name] for name in (*rest, *sides)},
    }


def _row(record: Record, gaps: RatingGaps) -> Row:
    (prompt, better), (other_prompt, worse) = (_dialogue(record, field) for field in ("chosen", "rejected"))
    if prompt != other_prompt:
        raise RefusedRowError("prompts_differ", "the turns before the last answer are not the same")
    words = said(record)
    scores = [score_of(record, field) for field in _SCORES if field in record.fields]
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


DATASETS = PreferenceFormat(
    "datasets",
    "`chosen` and `rejected` as texts or messages, as TRL's trainers take them",
    read,
    lambda fields: (
        {"chosen", "rejected"} <= set(fields)
        and "response_a" not in fields
        and (isinstance(fields["chosen"], list) or "score_chosen" in fields)
    ),
    written,
)
