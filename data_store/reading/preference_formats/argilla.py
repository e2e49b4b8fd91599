"""Argilla: records whose ranking question people answered, as its `records.to_json` writes them (a list), or one record
a line. Records of the older FeedbackDataset are read too."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options, RankOptions
from data_store.reading.preference_formats.pairs import (
    NUMBERS,
    WORDS,
    Found,
    Row,
    attempt,
    check_answers,
    placed,
    prompt_in,
    said,
)
from data_store.reading.row_import import Refusal, RefusedRowError
from data_store.reading.source_files import Record

_TIE = "tie"
_SIDES = ["response_a", "response_b"]
_ANSWERS_BESIDE = ("rating", "safety_label")
_SUBMITTED = "submitted"
_METADATA = tuple(name for name in WORDS if name not in _ANSWERS_BESIDE)


class ArgillaFields(Options):
    """What things are called in an Argilla data set."""

    prompt: str = Field(default="prompt", description="Field with the prompt: text, or a chat")
    question: str = Field(default="preference", description="Ranking question over the fields with the responses")


class ArgillaOptions(RankOptions):
    """The names, and what ranks mean."""

    argilla: ArgillaFields = Field(default=ArgillaFields(), description="Names in an export of Argilla")


def read(records: Iterable[Record], options: ArgillaOptions) -> Iterator[Found]:
    """One pair for every two ranked responses of every person. `rating` and `safety_label` may be questions of their
    own; the metadata may say axis, iteration, split, annotator, policy versions, temperatures and what was cut off."""
    for record in records:
        answers = list(_answers(record, options.argilla.question))
        if not answers:
            yield Refusal(record.source, "no_judgement", f"nobody answered {options.argilla.question!r}")
        number = 0
        for beside, value, status in answers:
            if status not in (None, _SUBMITTED):
                yield Refusal(f"{record.source}#{number}", "not_submitted", f"the response is {status}")
                number += 1
                continue
            for first, second in combinations(_ranks(record, value, options), 2):
                source = f"{record.source}#{number}"
                more_than_two = not isinstance(value, str) and len(value) > 2
                yield attempt(source, _pair, record, source, beside, first, second, more_than_two, options)
                number += 1


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a record: fields `prompt` (a chat), `response_a` and `response_b`, a ranking question `preference`, and
    label questions `rating` and `safety_label`."""
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    answers = {"preference": [f"response_{better}", f"response_{worse}"], "rating": row["rating"]}
    if row["safety_label"] is not None:
        answers["safety_label"] = row["safety_label"]
    return {
        "id": row["preference_id"],
        "fields": {"prompt": row["messages"], "response_a": row["response_a"], "response_b": row["response_b"]},
        "metadata": {name: row[name] for name in (*_METADATA, "source") if row[name] is not None},
        "suggestions": {},
        "responses": {question: [{"value": value, "user_id": row["annotator"]}] for question, value in answers.items()},
        "vectors": {},
    }


def _answers(record: Record, question: str) -> Iterator[tuple[Row, Any, str | None]]:
    """(who and what was said beside it, the answer to the question, its status) of each person."""
    responses = record.fields.get("responses") or {}
    if isinstance(responses, list):  # FeedbackDataset: one entry a person
        for number, entry in enumerate(responses):
            values = entry.get("values") if isinstance(entry, Mapping) else None
            if not isinstance(values, Mapping):
                raise InputError(f"{record.where}: field 'responses[{number}]' must have values by question")
            found = {name: value.get("value") for name, value in values.items() if isinstance(value, Mapping)}
            if question in found:
                yield _beside(found, entry.get("user_id")), found[question], entry.get("status")
        return
    if not isinstance(responses, Mapping):
        raise InputError(f"{record.where}: field 'responses' must be an object with a list of answers by question")
    if responses and question not in responses:
        raise InputError(
            f"{record.where}: there is no question {question!r} among {', '.join(responses)}; "
            "name it in data.preference_options.argilla.question"
        )
    by_user: dict[Any, dict[str, Any]] = {}
    for name, entries in responses.items():
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) and "value" in e for e in entries):
            raise InputError(f"{record.where}: field 'responses.{name}' must be a list of objects with value")
        for entry in entries:
            by_user.setdefault(entry.get("user_id"), {})[name] = entry["value"]
    for entry in responses.get(question, []):
        found = by_user[entry.get("user_id")]
        yield _beside(found, entry.get("user_id")), entry["value"], entry.get("status")


def _beside(found: Mapping[str, Any], user: Any) -> Row:
    return {
        "annotator": "import:argilla" if user is None else f"argilla:{user}",
        **{name: found[name] for name in _ANSWERS_BESIDE if name in found},
    }


def _ranks(record: Record, value: Any, options: ArgillaOptions) -> list[tuple[str, int | None]]:
    """(field, rank) of each ranked response; the lowest rank is the best. A label names the better of two fields."""
    where = f"{record.where}: the answer to {options.argilla.question!r}"
    fields = record.fields.get("fields")
    if not isinstance(fields, Mapping):
        raise InputError(f"{record.where}: there is no field 'fields' with the prompt and the responses")
    if isinstance(value, str):
        sides = [name for name in fields if name != options.argilla.prompt]
        if len(sides) != 2 or value not in (*sides, _TIE):
            raise InputError(f"{where} is {value!r}; a label must name one of two response fields, there are {sides}")
        return [(name, None if value == _TIE else int(name != value)) for name in sides]
    if not isinstance(value, list) or len(value) < 2:
        raise InputError(f"{where} is {value!r}; a ranking of at least two responses is wanted")
    ranked: list[tuple[str, int | None]] = []
    for place, entry in enumerate(value):
        name, rank = (entry.get("value"), entry.get("rank")) if isinstance(entry, Mapping) else (entry, place)
        if not isinstance(name, str) or name not in fields or name == options.argilla.prompt:
            raise InputError(
                f"{where} names {name!r}, which is no field with a response; there are {', '.join(fields)}"
            )
        if not isinstance(rank, int):
            raise InputError(f"{where} has rank {rank!r}; give a whole number")
        ranked.append((name, rank))
    return ranked


def _pair(
    record: Record,
    source: str,
    beside: Row,
    first: tuple[str, int | None],
    second: tuple[str, int | None],
    more_than_two: bool,
    options: ArgillaOptions,
) -> Row:
    content = Record(record.where, record.source, dict(record.fields["fields"]))
    metadata = record.fields.get("metadata") or {}
    words = {**beside, **{name: metadata[name] for name in _METADATA if name in metadata}}
    for name in NUMBERS:  # Argilla keeps numbers of metadata as floats
        if isinstance(number := words.get(name), float) and number.is_integer():
            words[name] = int(number)
    row = said(Record(record.where, record.source, words))
    if first[1] is None or second[1] is None or first[1] == second[1]:
        raise RefusedRowError("tie", f"{first[0]} and {second[0]}")
    better, worse = (first, second) if first[1] < second[1] else (second, first)
    if more_than_two:
        row.setdefault("rating", options.rank_gaps.word(abs(first[1] - second[1])))
    messages = prompt_in(content, options.argilla.prompt)
    texts = {name: content.text(name) for name in (better[0], worse[0])}
    check_answers(messages, texts)
    if sorted(texts) == _SIDES:
        return {**row, "messages": messages, **texts, "chosen": better[0][-1]}
    return {**row, "messages": messages, **placed(source, texts[better[0]].strip(), texts[worse[0]].strip())}


ARGILLA = PreferenceFormat(
    "argilla",
    "Argilla: records with an answered ranking question",
    read,
    lambda fields: {"fields", "responses"} <= set(fields),
    written,
    ".json",
)
