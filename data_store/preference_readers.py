"""Reading the user's preference pairs: Anthropic HH dialogues, or rows in Halter's own words."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.row_import import (
    Imported,
    Messages,
    RefusedRowError,
    check_turns,
    import_rows,
    messages_of,
    prompt_id_of,
)
from data_store.rows import AXES, RATINGS, SAFETY_LABELS
from data_store.source_files import Record, read_records, source_files

EXCLUDED_LABEL = "chosen_unsafe_other_safe"
"""The paper leaves such pairs out: the safer answer is taken to be the better one (Llama 2, section 3.1)."""

_SPLITS = ("train", "heldout")
_TURN = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}
_OPTIONAL = ("policy_version_a", "policy_version_b", "temperature_milli_a", "temperature_milli_b")
_ROW_FIELDS = (
    "prompt",
    "messages",
    "response_a",
    "response_b",
    "chosen",
    "rejected",
    "rating",
    "safety_label",
    "axis",
    "iteration",
    "split",
    "annotator",
    *_OPTIONAL,
)


def read_preferences(
    paths: Sequence[Path],
    format: str = "hh",
    axis: str = "helpfulness",
    iteration: str = "V0",
    split: str = "train",
    default_rating: str = "better",
) -> Imported:
    """Rows of kind preference from .jsonl, .jsonl.gz or .csv.

    "hh": `chosen` and `rejected` are whole dialogues, "\\n\\nHuman: ...\\n\\nAssistant: ...". Their common turns are
    the prompt, their last answers the responses. HH does not say how much better the choice is, so every pair gets
    `default_rating`; the annotator is "import:hh".

    "rows": `prompt` (text) or `messages`; `response_a`, `response_b` and `chosen` = a | b, or the two texts as `chosen`
    and `rejected`; optional are rating, safety_label, axis, iteration, split, annotator, policy_version_a and _b,
    temperature_milli_a and _b. A missing one is taken from the arguments; the annotator is then "import:rows".

    Where a file always names the better answer first, whether it becomes a or b is drawn from a hash of its source, so
    that its place tells nothing.

    Refused by name: prompts_differ, identical_responses, empty_answer, empty_message, turns_do_not_alternate,
    last_turn_not_assistant, last_turn_not_user, chosen_unsafe_other_safe.

    Raises:
        InputError: a broken line, a missing or unknown field, an unknown word (the message lists those there are), or
            nothing left after refusals.
    """
    for name, value, words in (
        ("format", format, ("hh", "rows")),
        ("axis", axis, AXES),
        ("split", split, _SPLITS),
        ("default_rating", default_rating, RATINGS),
    ):
        if value not in words:
            raise InputError(f"{name} is {value!r}; use one of {', '.join(words)}")
    convert = _from_hh if format == "hh" else _from_row

    def preference(record: Record) -> dict[str, Any]:
        row: dict[str, Any] = {
            "preference_id": record.source,
            "source": record.source,
            "axis": axis,
            "iteration": iteration,
            "split": split,
            "rating": default_rating,
            "safety_label": None,
            "annotator": f"import:{format}",
            **dict.fromkeys(_OPTIONAL),
        }
        row.update(convert(record))
        if row["response_a"] == row["response_b"]:
            raise RefusedRowError("identical_responses", "")
        row["prompt_id"] = prompt_id_of(row["messages"])
        return row

    records = (record for file in source_files(paths) for record in read_records(file))
    return import_rows(records, preference, "preference")


def annotators_in(paths: Sequence[Path], format: str) -> set[str]:
    """The annotators whom the pairs of these files name, or would be given. Raises InputError as `read_preferences`."""
    given = f"import:{format}"
    if format == "hh":
        return {given}
    records = (record for file in source_files(paths) for record in read_records(file))
    return {record.text("annotator") if record.fields.get("annotator") else given for record in records}


def _from_hh(record: Record) -> dict[str, Any]:
    chosen, rejected = (_hh_dialogue(record, field) for field in ("chosen", "rejected"))
    for field, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
            raise RefusedRowError("empty_answer", f"the last answer of {field}")
        check_turns(messages)
    if chosen[:-1] != rejected[:-1]:
        raise RefusedRowError(
            "prompts_differ", "the turns before the last answer are not the same in chosen and rejected"
        )
    return {"messages": chosen[:-1], **_place(record, chosen[-1]["content"], rejected[-1]["content"])}


def _hh_dialogue(record: Record, field: str) -> Messages:
    before, *turns = _TURN.split(record.text(field))
    if before.strip() or not turns:
        raise InputError(f"{record.where}: field {field!r} must start with an empty line and 'Human:'")
    return [
        {"role": _HH_ROLES[speaker], "content": content.strip()}
        for speaker, content in zip(turns[::2], turns[1::2], strict=True)
    ]


def _from_row(record: Record) -> dict[str, Any]:
    # An empty CSV field is one that is not given.
    fields = {name: value for name, value in record.fields.items() if value is not None and value != ""}
    unknown = sorted(set(record.fields) - set(_ROW_FIELDS))
    if unknown:
        raise InputError(
            f"{record.where}: unknown field {unknown[0]!r}; rename or remove it. Known are {', '.join(_ROW_FIELDS)}"
        )
    row: dict[str, Any] = {}
    for field, words in (("axis", AXES), ("split", _SPLITS), ("rating", RATINGS)):
        if field in fields:
            row[field] = _word(record, field, words)
    if "safety_label" in fields:
        row["safety_label"] = _word(record, "safety_label", (*SAFETY_LABELS, EXCLUDED_LABEL))
        if row["safety_label"] == EXCLUDED_LABEL:
            raise RefusedRowError(EXCLUDED_LABEL, "the safer answer is taken to be the better one")
    for field in ("annotator", "iteration", "policy_version_a", "policy_version_b"):
        if field in fields:
            row[field] = record.text(field)
    for field in ("temperature_milli_a", "temperature_milli_b"):
        if field in fields:
            row[field] = _whole_number(record, field)
    row["messages"] = _row_messages(record)
    row.update(_row_responses(record))
    return row


def _row_messages(record: Record) -> Messages:
    if "messages" in record.fields:
        messages = messages_of(record)
        if messages[-1]["role"] != "user":
            raise RefusedRowError("last_turn_not_user", f"the last turn is the {messages[-1]['role']}'s")
    else:
        messages = [{"role": "user", "content": record.text("prompt").strip()}]
    for number, message in enumerate(messages):
        if not message["content"].strip():
            raise RefusedRowError("empty_message", f"message {number} of the {message['role']}")
    return messages


def _row_responses(record: Record) -> dict[str, str]:
    if "response_a" in record.fields:
        first, second, named = "response_a", "response_b", True
    else:
        first, second, named = "chosen", "rejected", False
    texts = {field: record.text(field) for field in (first, second)}
    for field, text in texts.items():
        if not text.strip():
            raise RefusedRowError("empty_answer", f"field {field}")
    if not named:
        return _place(record, texts[first], texts[second])
    return {"response_a": texts[first], "response_b": texts[second], "chosen": _word(record, "chosen", ("a", "b"))}


def _place(record: Record, chosen: str, rejected: str) -> dict[str, str]:
    """Put the chosen response at a or b by a hash of the source."""
    if int(text_hash(record.source)[:8], 16) % 2:
        return {"response_a": rejected, "response_b": chosen, "chosen": "b"}
    return {"response_a": chosen, "response_b": rejected, "chosen": "a"}


def _word(record: Record, field: str, words: tuple[str, ...]) -> str:
    value = record.text(field)
    if value not in words:
        raise InputError(f"{record.where}: field {field!r} is {value!r}; use one of {', '.join(words)}")
    return value


def _whole_number(record: Record, field: str) -> int:
    value = record.fields[field]
    try:
        number = int(value) if not isinstance(value, bool | float) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not 0 <= number < 2**31:
        raise InputError(
            f"{record.where}: field {field!r} is {value!r}; give the temperature in thousandths, as a whole number"
        )
    return number
