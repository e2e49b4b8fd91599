"""Label Studio: the JSON export of a project with a Pairwise tag over two texts.

https://labelstud.io/guide/task_format and https://labelstud.io/tags/pairwise
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options
from data_store.reading.preference_formats.pairs import WORDS, Found, Row, attempt, check_answers, prompt_in, said
from data_store.reading.row_import import Refusal, RefusedRowError
from data_store.reading.source_files import Record

_SELECTED = {"left": "a", "right": "b"}
_CHOICES = ("rating", "safety_label")
_BESIDE = tuple(name for name in WORDS if name not in _CHOICES)


class LabelStudioFields(Options):
    """What things are called in the data of a Label Studio task."""

    prompt: str = Field(default="prompt", description="Text, or a list of messages with role and content")
    left: str = Field(default="response_a", description="Field shown on the left")
    right: str = Field(default="response_b", description="Field shown on the right")


class LabelStudioOptions(Options):
    """The names."""

    label_studio: LabelStudioFields = Field(
        default=LabelStudioFields(), description="Names in an export of Label Studio"
    )


def read(records: Iterable[Record], options: LabelStudioOptions) -> Iterator[Found]:
    """One row an annotation: what was on the left is a. Choices named `rating` and `safety_label` are read too, and
    what the data of the task say by the names of a row."""
    for record in records:
        annotations = record.fields.get("annotations")
        if not isinstance(annotations, list) or not all(isinstance(each, Mapping) for each in annotations):
            raise InputError(f"{record.where}: field 'annotations' must be a list; export the project as JSON")
        if not isinstance(record.fields.get("data"), Mapping):
            raise InputError(f"{record.where}: there is no field 'data' with the prompt and the responses")
        if not annotations:
            yield Refusal(record.source, "no_judgement", "the task has no annotation")
        for number, annotation in enumerate(annotations):
            source = f"{record.source}#{number}"
            yield attempt(source, _row, record, annotation, f"annotations[{number}]", options)


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


def _row(record: Record, annotation: Mapping[str, Any], name: str, options: LabelStudioOptions) -> Row:
    if annotation.get("was_cancelled"):
        raise RefusedRowError("skipped", "the annotator skipped the task")
    content = Record(record.where, record.source, dict(record.fields["data"]))
    row = said(Record(record.where, record.source, _words(record, annotation, name)))
    selected = _value(record, annotation, name, "pairwise", "selected", None)
    if selected is None:
        raise RefusedRowError("tie", "neither response was selected")
    if selected not in _SELECTED:
        known = ", ".join(_SELECTED)
        raise InputError(f"{record.where}: {name} selected {selected!r}; use one of {known}")
    fields = options.label_studio
    messages = prompt_in(content, fields.prompt)
    sides = {"response_a": content.text(fields.left), "response_b": content.text(fields.right)}
    check_answers(messages, {fields.left: sides["response_a"], fields.right: sides["response_b"]})
    return {"messages": messages, **sides, "chosen": _SELECTED[selected], **row}


def _words(record: Record, annotation: Mapping[str, Any], name: str) -> dict[str, Any]:
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("id")
    words: dict[str, Any] = {"annotator": "import:label_studio" if who is None else f"label_studio:{who}"}
    words |= {each: record.fields["data"][each] for each in _BESIDE if each in record.fields["data"]}
    for choice in _CHOICES:
        chosen = _value(record, annotation, name, "choices", "choices", choice)
        if chosen is not None:
            if not isinstance(chosen, list) or len(chosen) != 1:
                raise InputError(f"{record.where}: {name} has {chosen!r} for {choice}; one choice is wanted")
            words[choice] = chosen[0]
    return words


def _value(record: Record, annotation: Mapping[str, Any], name: str, kind: str, field: str, control: str | None) -> Any:
    """What the annotation's result of this type (and control) holds in its value; None where there is none."""
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(each, Mapping) for each in results):
        raise InputError(f"{record.where}: field '{name}.result' must be a list of results")
    for result in results:
        if result.get("type") == kind and (control is None or result.get("from_name") == control):
            value = result.get("value")
            if not isinstance(value, Mapping):
                raise InputError(f"{record.where}: field '{name}.result' has a {kind} without a value")
            return value.get(field)
    return None


LABEL_STUDIO = PreferenceFormat(
    "label_studio",
    "Label Studio: tasks of a Pairwise tag over two texts",
    read,
    lambda fields: {"data", "annotations"} <= set(fields),
    written,
    ".json",
)
