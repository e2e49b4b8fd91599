"""Label Studio: what people answered in a project that compares texts.

JSON, JSON_MIN and CSV exports of projects with a Pairwise tag, with Choices that name the better side, with a Ranker
over a list, or with a Rating for each side. https://labelstud.io/guide/task_format and https://labelstud.io/tags
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal, RefusedRowError
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.label_studio_answers import Comparison, Names, compared, value_of
from data_store.reading.preference_formats.label_studio_shapes import annotations_of, is_label_studio, task_of
from data_store.reading.preference_formats.options import Options
from data_store.reading.preference_formats.pairs import WORDS, Found, Row, attempt, check_answers, said
from data_store.reading.source_files import Record

_SELECTED = {"left": "a", "right": "b"}
_CHOICES = ("rating", "safety_label")
_BESIDE = tuple(name for name in WORDS if name not in _CHOICES)


class LabelStudioFields(Options):
    """What things are called in the data of a Label Studio task."""

    prompt: str = Field(default="prompt", description="Text, or a list of messages with role and content")
    left: str = Field(default="response_a", description="Field shown on the left")
    right: str = Field(default="response_b", description="Field shown on the right")
    question: str | None = Field(
        default=None, description="Name of the tag that compares; needed where several do, or where it is Choices"
    )


class LabelStudioOptions(Options):
    """The names."""

    label_studio: LabelStudioFields = Field(
        default=LabelStudioFields(), description="Names in an export of Label Studio"
    )


def read(records: Sequence[Record], options: LabelStudioOptions) -> Iterator[Found]:
    """One row an annotation, several of a ranking: what was on the left is a. Choices named `rating` and `safety_label`
    are read too, and what the data of the task say by the names of a row."""
    fields = options.label_studio
    names = Names(fields.left, fields.right, fields.question)
    for flat in records:
        record = task_of(flat, (fields.prompt, fields.left, fields.right), fields.question)
        annotations = annotations_of(record)
        if not annotations:
            yield Refusal(record.source, "no_judgement", "the task has no annotation")
        for number, annotation in enumerate(annotations):
            source, where = f"{record.source}#{number}", f"annotations[{number}]"
            try:
                found = _comparisons(record, annotation, where, names)
            except RefusedRowError as refusal:
                yield Refusal(source, refusal.reason, refusal.detail)
                continue
            for place, each in enumerate(found):
                of_several = f"{source}#{place}" if len(found) > 1 else source
                yield attempt(of_several, _row, record, annotation, where, each, fields.prompt)


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a task with one annotation; the left response is a."""
    selected = {side: name for name, side in _SELECTED.items()}[row["chosen"]]
    result: list[dict[str, Any]] = [
        {
            "from_name": "preference",
            "to_name": "response_a,response_b",
            "type": "pairwise",
            "value": {"selected": selected},
        }
    ]
    for name in _CHOICES:
        if row[name] is not None:
            choice = {"from_name": name, "to_name": "response_a", "type": "choices", "value": {"choices": [row[name]]}}
            result.append(choice)
    beside = {name: row[name] for name in (*_BESIDE, "source") if row[name] is not None}
    answers = {name: row[name] for name in ("response_a", "response_b")}
    return {
        "data": {"prompt": row["messages"], **answers, **beside},
        "annotations": [{"was_cancelled": False, "result": result}],
    }


def _comparisons(record: Record, annotation: Mapping[str, Any], where: str, names: Names) -> list[Comparison]:
    if annotation.get("was_cancelled"):
        raise RefusedRowError("skipped", "the annotator skipped the task")
    return compared(record, annotation, where, names)


def _row(record: Record, annotation: Mapping[str, Any], where: str, found: Comparison, prompt: str) -> Row:
    content = Record(record.where, record.source, dict(record.value("data")))
    words = said(Record(record.where, record.source, _words(record, annotation, where)))
    if found.rating is not None:
        words.setdefault("rating", found.rating)
    messages = prompt_in(content, prompt)
    check_answers(messages, {"response_a": found.left, "response_b": found.right})
    return {
        "messages": messages,
        "response_a": found.left,
        "response_b": found.right,
        "chosen": _SELECTED[found.selected],
        **words,
    }


def _words(record: Record, annotation: Mapping[str, Any], where: str) -> dict[str, Any]:
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("id")
    words: dict[str, Any] = {"annotator": "import:label_studio" if who in (None, "") else f"label_studio:{who}"}
    words |= {each: record.value("data")[each] for each in _BESIDE if each in record.value("data")}
    for choice in _CHOICES:
        chosen = value_of(record, annotation, where, "choices", choice)
        if chosen is not None:
            if not isinstance(chosen, list) or len(chosen) != 1:
                raise InputError(f"{record.where}: {where} has {chosen!r} for {choice}; one choice is wanted")
            words[choice] = chosen[0]
    return words


LABEL_STUDIO = PreferenceFormat(
    "label_studio",
    "Label Studio: tasks that compare two texts, as JSON, JSON_MIN or CSV",
    read,
    is_label_studio,
    written,
    ".json",
)
