"""Argilla: records whose ranking question people answered.

As `records.to_json` writes them (a list), as `records.to_datasets` and `to_list(flatten=True)` do, and as the older
FeedbackDataset and its `format_as("datasets")` did. Only what says that it was submitted is a judgement.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal, RefusedRowError
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.argilla_shapes import Answer, answers_in, is_argilla, nested
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options, RankOptions
from data_store.reading.preference_formats.pairs import NUMBERS, WORDS, Found, Row, attempt, check_answers, placed, said
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
    without_status: Literal["refuse", "keep"] = Field(
        default="refuse", description="Answers that do not say whether they were submitted, as `to_json` writes them"
    )


class ArgillaOptions(RankOptions):
    """The names, and what ranks mean."""

    argilla: ArgillaFields = Field(default=ArgillaFields(), description="Names in an export of Argilla")


def read(records: Sequence[Record], options: ArgillaOptions) -> Iterator[Found]:
    """One pair for every two ranked responses of every person. `rating` and `safety_label` may be questions of their
    own; the metadata may say axis, iteration, split, annotator, policy versions, temperatures and what was cut off."""
    for flat in records:
        record = nested(flat, options.argilla.question)
        answers = list(answers_in(record, options.argilla.question))
        if not answers:
            yield Refusal(record.source, "no_judgement", f"nobody answered {options.argilla.question!r}")
        number = 0
        for answer in answers:
            source = f"{record.source}#{number}"
            try:
                _check_status(answer, options.argilla)
                ranks = _ranks(record, answer.value, options)
            except RefusedRowError as refusal:
                yield Refusal(source, refusal.reason, refusal.detail)
                number += 1
                continue
            more_than_two = not isinstance(answer.value, str) and len(ranks) > 2
            for first, second in combinations(ranks, 2):
                source = f"{record.source}#{number}"
                yield attempt(source, _pair, record, source, answer, first, second, more_than_two, options)
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
        "responses": {
            question: [{"value": value, "user_id": row["annotator"], "status": _SUBMITTED}]
            for question, value in answers.items()
        },
        "vectors": {},
    }


def _check_status(answer: Answer, fields: ArgillaFields) -> None:
    """Status before shape: a draft may hold anything, and no status is no consent."""
    if answer.status is None and fields.without_status == "refuse":
        raise RefusedRowError(
            "no_status",
            "the export does not say whether it was submitted; export with records.to_datasets, or set "
            "data.preference_options.argilla.without_status: keep",
        )
    if answer.status not in (None, _SUBMITTED):
        raise RefusedRowError("not_submitted", f"the response is {str(answer.status)[:40]}")
    if answer.value in (None, [], ""):
        raise RefusedRowError("no_judgement", "the response is empty")


def _ranks(record: Record, value: Any, options: ArgillaOptions) -> list[tuple[str, int | None]]:
    """(field, rank) of each ranked response; the lowest rank is the best. A label names the better of two fields."""
    where = f"{record.where}: the answer to {options.argilla.question!r}"
    fields = record.fields.get("fields")
    if not isinstance(fields, Mapping):
        raise InputError(f"{record.where}: there is no field 'fields' with the prompt and the responses")
    if isinstance(value, str):
        sides = _SIDES if set(_SIDES) <= set(fields) else [name for name in fields if name != options.argilla.prompt]
        if len(sides) != 2 or value not in (*sides, _TIE):
            raise InputError(f"{where} is {value!r}; a label must name one of two response fields, there are {sides}")
        return [(name, None if value == _TIE else int(name != value)) for name in sides]
    if not isinstance(value, list):
        raise InputError(f"{where} is {value!r}: it rates one thing, and a ranking or a label of two is wanted")
    if len(value) < 2:
        raise InputError(f"{where} is {value!r}; a ranking of at least two responses is wanted")
    ranked: list[tuple[str, int | None]] = []
    for place, entry in enumerate(value):
        name, rank = (entry.get("value"), entry.get("rank")) if isinstance(entry, Mapping) else (entry, place)
        if not isinstance(name, str) or name not in fields or name == options.argilla.prompt:
            raise InputError(
                f"{where} names {name!r}, which is no field with a response; there are {', '.join(fields)}"
            )
        if isinstance(rank, float) and rank.is_integer():
            rank = int(rank)
        if not isinstance(rank, int):
            raise InputError(f"{where} has rank {rank!r}; give a whole number")
        ranked.append((name, rank))
    return ranked


def _pair(
    record: Record,
    source: str,
    answer: Answer,
    first: tuple[str, int | None],
    second: tuple[str, int | None],
    more_than_two: bool,
    options: ArgillaOptions,
) -> Row:
    content = Record(record.where, record.source, dict(record.value("fields")))
    given = record.fields.get("metadata")
    metadata = given if isinstance(given, Mapping) else {}
    words = {**_beside(answer), **{name: metadata[name] for name in _METADATA if name in metadata}}
    for name in NUMBERS:  # Argilla keeps numbers of metadata as floats
        if isinstance(number := words.get(name), float) and number.is_integer():
            words[name] = int(number)
    row = said(Record(record.where, record.source, words))
    if first[1] is None or second[1] is None or first[1] == second[1]:
        raise RefusedRowError("tie", f"{first[0]} and {second[0]}")
    better, worse = (first, second) if first[1] < second[1] else (second, first)
    if more_than_two:
        row.setdefault("rating", options.rank_gaps.word(abs(first[1] - second[1])))
    messages = _prompt(content, options.argilla.prompt)
    texts = {name: "" if content.fields[name] is None else content.text(name) for name in (better[0], worse[0])}
    check_answers(messages, texts)
    if sorted(texts) == _SIDES:
        return {**row, "messages": messages, **texts, "chosen": better[0][-1]}
    return {**row, "messages": messages, **placed(source, texts[better[0]].strip(), texts[worse[0]].strip())}


def _prompt(content: Record, field: str) -> list[dict[str, str]]:
    """The prompt; a field `context` is what was shown with it, and stands behind it."""
    messages = prompt_in(content, field)
    if content.fields.get("context") not in (None, "") and field != "context":
        last = messages[-1]
        messages[-1] = {**last, "content": f"{last['content']}\n\n{content.text('context').strip()}"}
    return messages


def _beside(answer: Answer) -> Row:
    return {
        "annotator": "import:argilla" if answer.user is None else f"argilla:{answer.user}",
        **{name: answer.beside[name] for name in _ANSWERS_BESIDE if name in answer.beside},
    }


ARGILLA = PreferenceFormat(
    "argilla",
    "Argilla: records with an answered ranking question",
    read,
    is_argilla,
    written,
    ".json",
)
