"""The four shapes in which Argilla's records come, made one: fields, metadata and the answers of each person."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from data_store.errors import InputError
from data_store.reading.source_files import Record

_RESPONSES, _USERS, _STATUS = ".responses", ".responses.users", ".responses.status"
_OF_RECORDS = ("id", "status", "_server_id", "external_id", "inserted_at", "updated_at", "metadata", "vectors")


class Answer(NamedTuple):
    """What one person said: the answer to the question, its status, and the answers to other questions."""

    user: Any
    value: Any
    status: Any
    beside: Mapping[str, Any]


def is_argilla(fields: Mapping[str, Any]) -> bool:
    """Whether a record is of one of the shapes."""
    flat = any(name.endswith(_RESPONSES) for name in fields)
    return {"fields", "responses"} <= set(fields) or flat or bool(_questions_of_datasets(fields))


def nested(record: Record, question: str) -> Record:
    """The record with `fields`, `metadata` and `responses`, whichever shape it has."""
    given = record.fields
    if "fields" in given:
        return record
    if questions := _questions_of_datasets(given):
        return Record(record.where, record.source, _of_feedback(record, questions))
    questions = [name.removesuffix(_RESPONSES) for name in given if name.endswith(_RESPONSES)]
    if not questions:
        raise InputError(f"{record.where}: there is no answer to {question!r}; the fields are {', '.join(given)}")
    dotted = tuple(f"{name}." for name in questions)
    others = {
        name: value
        for name, value in given.items()
        if name not in _OF_RECORDS and not name.startswith(dotted) and not name.startswith("metadata.")
    }
    metadata = {name.removeprefix("metadata."): value for name, value in given.items() if name.startswith("metadata.")}
    responses = {name: _listed(record, name) for name in questions}
    return Record(
        record.where, record.source, {"fields": others, "metadata": metadata | others, "responses": responses}
    )


def answers_in(record: Record, question: str) -> Iterator[Answer]:
    """The answers to a question, with what the same person said beside it."""
    responses = record.fields.get("responses") or {}
    if isinstance(responses, list):  # FeedbackDataset: one entry a person
        yield from _by_person(record, responses, question)
        return
    if not isinstance(responses, Mapping):
        raise InputError(f"{record.where}: field 'responses' must be an object with a list of answers by question")
    if responses and question not in responses:
        raise InputError(
            f"{record.where}: there is no question {question!r} among {', '.join(map(str, responses))}; "
            "name it in data.preference_options.argilla.question"
        )
    by_user: dict[str, dict[str, Any]] = {}
    for name, entries in responses.items():
        if entries is not None and (
            not isinstance(entries, list) or not all(isinstance(e, Mapping) and "value" in e for e in entries)
        ):
            raise InputError(f"{record.where}: field 'responses.{name}' must be a list of objects with value")
        for entry in entries or ():
            if entry.get("status") in (None, "submitted"):
                by_user.setdefault(str(entry.get("user_id")), {})[name] = entry["value"]
    for entry in responses.get(question) or ():
        beside = by_user.get(str(entry.get("user_id")), {})
        yield Answer(entry.get("user_id"), entry["value"], entry.get("status"), beside)


def _by_person(record: Record, responses: list[Any], question: str) -> Iterator[Answer]:
    for number, entry in enumerate(responses):
        if not isinstance(entry, Mapping):
            raise InputError(f"{record.where}: field 'responses[{number}]' must have values by question")
        status, values = entry.get("status"), entry.get("values")
        if status not in (None, "submitted"):  # whatever it holds
            yield Answer(entry.get("user_id"), None, status, {})
            continue
        if not isinstance(values, Mapping):
            raise InputError(f"{record.where}: field 'responses[{number}]' must have values by question")
        found = {name: value.get("value") for name, value in values.items() if isinstance(value, Mapping)}
        if question in found:
            yield Answer(entry.get("user_id"), found[question], status, found)


def _listed(record: Record, question: str) -> list[dict[str, Any]]:
    """The answers of a flattened record: three lists of one length."""
    lists = {}
    for key, suffix in (("value", _RESPONSES), ("user_id", _USERS), ("status", _STATUS)):
        lists[key] = record.fields.get(f"{question}{suffix}")
        if lists[key] is not None and not isinstance(lists[key], list):
            raise InputError(f"{record.where}: field '{question}{suffix}' must be a list")
    values = lists["value"] or []
    for key, given in lists.items():
        if given is not None and len(given) != len(values):
            raise InputError(f"{record.where}: {question!r} has {len(values)} answers, and {len(given)} of {key}")
    return [{key: given[n] for key, given in lists.items() if given is not None} for n in range(len(values))]


def _questions_of_datasets(fields: Mapping[str, Any]) -> list[str]:
    """Questions of FeedbackDataset's `format_as("datasets")`: lists of {user_id, value, status}."""
    return [
        name
        for name, value in fields.items()
        if isinstance(value, list)
        and value
        and all(isinstance(each, Mapping) and {"user_id", "value", "status"} <= set(each) for each in value)
    ]


def _of_feedback(record: Record, questions: list[str]) -> dict[str, Any]:
    metadata = record.fields.get("metadata")
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError):
            raise InputError(f"{record.where}: field 'metadata' is not JSON; fix or remove it") from None
    beside = ("-suggestion", "-suggestion-metadata")
    fields = {
        name: value
        for name, value in record.fields.items()
        if name not in (*questions, *_OF_RECORDS) and not name.endswith(beside)
    }
    responses = {
        name: [{**each, "value": _ranking(each["value"])} for each in record.value(name)] for name in questions
    }
    return {"fields": fields, "metadata": metadata, "responses": responses}


def _ranking(value: Any) -> Any:
    """Two lists, of ranks and of names, as one list of both."""
    if not isinstance(value, Mapping) or not {"rank", "value"} <= set(value):
        return value
    ranks, names = value["rank"], value["value"]
    if not isinstance(ranks, list) or not isinstance(names, list) or len(ranks) != len(names):
        return value
    return [{"rank": rank, "value": name} for rank, name in zip(ranks, names, strict=True)]
