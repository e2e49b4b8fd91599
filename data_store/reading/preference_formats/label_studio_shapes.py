"""Label Studio's exports made one: a task with its data and its annotations."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from data_store.errors import InputError
from data_store.reading.source_files import Record

_OF_ANNOTATIONS = ("annotation_id", "annotator", "lead_time")  # columns of JSON_MIN and CSV
_BESIDE = ("id", "created_at", "updated_at", *_OF_ANNOTATIONS)
_CHOICES = ("rating", "safety_label")
_SIDES = ("left", "right")


def is_label_studio(fields: Mapping[str, Any]) -> bool:
    """Whether a record is a task, or an annotation of a flat export."""
    nested = "data" in fields and isinstance(fields["data"], Mapping)
    of_tasks = nested and not {"annotations", "completions"}.isdisjoint(fields)
    return of_tasks or {*_OF_ANNOTATIONS[:2], "created_at"} <= set(fields)


def task_of(record: Record, shown: Collection[str], question: str | None) -> Record:
    """The task that a record is. In a flat export it has one annotation, or none; what stands in the column `question`
    as a word is an answer, of which the exports keep nothing but the word. `shown` are the fields of prompt and
    responses.

    Raises InputError where an annotation answers nothing that is known, though a column holds a side.
    """
    if "data" in record.fields:
        if not isinstance(record.value("data"), Mapping):
            raise InputError(f"{record.where}: there is no field 'data' with the prompt and the responses")
        return record
    if not {"annotation_id", "annotator"} <= set(record.fields):
        raise InputError(f"{record.where}: there is no field 'data' with the prompt and the responses")
    results, data = list[dict[str, Any]](), dict[str, Any]()
    for name, given in record.fields.items():
        value = _parsed(given)
        if (
            isinstance(value, list)
            and value
            and all(isinstance(each, Mapping) and "selected" in each for each in value)
        ):
            results += [{"from_name": name, "type": "pairwise", "value": each} for each in value]
        elif name in (*_CHOICES, question) and isinstance(value, str) and value:
            results.append({"from_name": name, "type": "choices", "value": {"choices": [value]}})
        elif name not in _BESIDE:
            data[name] = value
    annotation = {"completed_by": record.value("annotator"), "result": results}
    there = record.value("annotation_id") not in (None, "")
    sides = [name for name, value in data.items() if name not in shown and str(value).strip().lower() in _SIDES]
    if there and sides and question is None and all(each["type"] == "choices" for each in results):
        raise InputError(
            f"{record.where}: field {sides[0]!r} says {data[sides[0]]!r}, but not which tag it is of: if it says which "
            f"side is better, give the file as {{path: …, question: {sides[0]}}}"
        )
    return Record(record.where, record.source, {"data": data, "annotations": [annotation] if there else []})


def annotations_of(record: Record) -> list[Mapping[str, Any]]:
    """The annotations of a task. Raises InputError for an export that has only their numbers."""
    found = record.fields.get("annotations", record.fields.get("completions"))
    if isinstance(found, list) and found and all(isinstance(each, int) for each in found):
        raise InputError(
            f"{record.where}: field 'annotations' has numbers alone: the export is a snapshot without the answers; "
            "export the project as JSON"
        )
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise InputError(f"{record.where}: field 'annotations' must be a list; export the project as JSON")
    return found


def _parsed(value: Any) -> Any:
    """A list that a CSV has as text."""
    if not isinstance(value, str) or not value.startswith("[{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
