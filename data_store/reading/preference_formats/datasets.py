"""A prompt, a chosen answer and a rejected one: TRL's sets, and what other sets and trainers have in their place.

https://huggingface.co/docs/trl/dataset_formats#preference; LLaMA-Factory (alpaca and ShareGPT), axolotl, OpenRLHF,
Orca's pairs, UltraFeedback binarized, Skywork, Tülu 3 and distilabel's sets have these fields, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import Messages, answer_in, messages_of, prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RatingGaps, ScoreOptions
from data_store.reading.preference_formats.pairs import (
    Found,
    Row,
    check_answers,
    each_row,
    judged,
    said,
)
from data_store.reading.preference_formats.scores import SCORES_OF_FIVE, SCORES_OF_ONE, SCORES_OF_TEN, score_of
from data_store.reading.source_files import Record
from data_store.reading.words import word
from data_store.rows import MESSAGES

# (of the chosen one, of the rejected one), and what their differences mean where both are not of 0 to 1
_SCORES = (
    ("score_chosen", "score_rejected", SCORES_OF_TEN),
    ("chosen_score", "rejected_score", SCORES_OF_TEN),
    ("chosen_rating", "rejected_rating", SCORES_OF_FIVE),
    ("chosen-rating", "rejected-rating", SCORES_OF_FIVE),
    ("rating_chosen", "rating_rejected", SCORES_OF_FIVE),
)
# Every column has its type: those who open the file would take one that begins with nulls for a column of nulls.
SCHEMA = pa.schema(
    [
        *((name, MESSAGES) for name in ("prompt", "chosen", "rejected")),
        *((name, pa.string()) for name in ("chosen_is", "axis", "split", "rating", "safety_label", "annotator")),
        *((name, pa.string()) for name in ("iteration", "source", "policy_version_a", "policy_version_b")),
        *((name, pa.int32()) for name in ("temperature_milli_a", "temperature_milli_b")),
        *((name, pa.bool_()) for name in ("finished_a", "finished_b")),
    ]
)
_DIALOGUES = ("messages", "conversations", "conversation")
_TEXTS = ("prompt", "instruction", "question", "input")


def read(records: Sequence[Record], options: ScoreOptions) -> Iterator[Found]:
    """`chosen` and `rejected` as texts or messages; the prompt beside them as text or messages, or inside both
    dialogues. The rating comes from `rating`, else from two scores. Other columns are not read."""
    return each_row(records, lambda record: _row(record, options.score_gaps))


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


def _row(record: Record, gaps: RatingGaps | None) -> Row:
    (prompt, better), (other_prompt, worse) = (_side(record, field) for field in ("chosen", "rejected"))
    if prompt != other_prompt:
        raise RefusedRowError("prompts_differ", "the turns before the last answer are not the same")
    words = said(record)
    if "rating" not in words and (rating := _rating(record, gaps)) is not None:
        words["rating"] = rating
    if "chosen_is" not in record.fields:
        return judged(record.source, prompt, better, worse, **words)
    check_answers(prompt, {"the better one": better, "the other": worse})
    sides = {"response_a": better, "response_b": worse}
    if (chosen := word(record, "chosen_is", ("a", "b"))) == "b":
        sides = {"response_a": worse, "response_b": better}
    return {"messages": prompt, **sides, "chosen": chosen, **words}


def _rating(record: Record, gaps: RatingGaps | None) -> str | None:
    """What the difference of the two scores says, where there are both."""
    for better, worse, usual in _SCORES:
        if record.fields.get(better) in (None, "") or record.fields.get(worse) in (None, ""):
            continue
        scores = [score_of(record, name) for name in (better, worse)]
        if scores[0] is None or scores[1] is None:
            continue
        gap = scores[0] - scores[1]
        if gap == 0:
            raise RefusedRowError("tie", f"both scores are {scores[0]:g}")
        if gap < 0:
            raise RefusedRowError("scores_contradict", f"{better} is {scores[0]:g}, {worse} is {scores[1]:g}")
        of_one = all(0 <= score <= 1 for score in (scores[0], scores[1])) and gap != 1
        return (gaps or (SCORES_OF_ONE if of_one else usual)).word(gap)
    return None


def _side(record: Record, field: str) -> tuple[Messages, str]:
    """The prompt and the answer of one side."""
    value = record.fields.get(field)
    if not isinstance(value, list) or len(value) == 1:
        return _prompt(record), answer_in(record, field, value) if value is not None else record.text(field)
    messages = messages_of(record, field)
    if messages[-1]["role"] != "assistant":
        raise RefusedRowError("last_turn_not_assistant", f"{field} ends with a turn of the {messages[-1]['role']}")
    before = messages[:-1]
    if not before:  # its other message was a system message that says nothing
        return _prompt(record), messages[-1]["content"].strip()
    _check_prompt(record, before)
    return before, messages[-1]["content"].strip()


def _prompt(record: Record) -> Messages:
    """The prompt that stands beside the answers. A second paragraph may stand in `input`."""
    for name in _DIALOGUES:
        if isinstance(record.fields.get(name), list):
            return messages_of(record, name)
    name = next((name for name in _TEXTS if record.fields.get(name) not in (None, "")), "prompt")
    prompt = prompt_in(record, name)
    if name == "instruction" and record.fields.get("input") not in (None, ""):
        prompt[0]["content"] = f"{prompt[0]['content']}\n\n{record.text('input').strip()}"
    return prompt


def _check_prompt(record: Record, before: Messages) -> None:
    """A prompt beside whole dialogues is one of their turns, or all of them."""
    beside = record.fields.get("prompt")
    turns = [_plain(message["content"]) for message in before if message["role"] == "user"]
    if isinstance(beside, list) and beside:
        asked = [_plain(message["content"]) for message in prompt_in(record, "prompt") if message["role"] == "user"]
        agrees = asked == turns
    elif isinstance(beside, str) and beside.strip():
        agrees = _plain(beside) in turns or all(turn in _plain(beside) for turn in turns)
    else:
        agrees = True
    if not agrees:
        raise RefusedRowError("prompts_differ", "field prompt is no turn of the dialogues")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _is_pair(fields: Mapping[str, Any]) -> bool:
    """Two sides, and a prompt beside them or in them. Texts without a prompt are Anthropic's."""
    if not {"chosen", "rejected"} <= set(fields) or "response_a" in fields:
        return False
    sides = [fields["chosen"], fields["rejected"]]
    return any(not isinstance(side, str) for side in sides) or not {*_DIALOGUES, *_TEXTS}.isdisjoint(fields)


DATASETS = PreferenceFormat(
    "datasets",
    "`chosen` and `rejected` as texts or messages, as TRL's trainers take them",
    read,
    _is_pair,
    written,
    ".parquet",
    SCHEMA,
)
