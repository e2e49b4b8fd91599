"""What every format needs: a judged pair as the beginning of a row, and the words of a row that a record may say."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.reading.row_import import Messages, Refusal, RefusedRowError, check_turns, messages_of
from data_store.reading.source_files import Record
from data_store.rows import AXES, RATINGS, SAFETY_LABELS

EXCLUDED_LABEL = "chosen_unsafe_other_safe"
"""The paper leaves such pairs out: the safer answer is taken to be the better one (Llama 2, section 3.1)."""

SPLITS = ("train", "heldout")
NUMBERS = ("temperature_milli_a", "temperature_milli_b")
TEXTS = ("annotator", "iteration", "policy_version_a", "policy_version_b")
ENDS = ("finished_a", "finished_b")
WORDS = ("axis", "split", "rating", "safety_label", *TEXTS, *NUMBERS, *ENDS)
"""What a record may say about a judgement beside prompt, responses and choice; a row's own names."""

Row = dict[str, Any]
Found = Row | Refusal


def each_row(records: Iterable[Record], convert: Callable[[Record], Row]) -> Iterator[Found]:
    """One row a record."""
    for record in records:
        yield attempt(record.source, convert, record)


def attempt(source: str, make: Callable[..., Row], *arguments: Any) -> Found:
    """What `make` gives, with its source; or what it refuses."""
    try:
        return {"source": source, **make(*arguments)}
    except RefusedRowError as refusal:
        return Refusal(source, refusal.reason, refusal.detail)


def judged(source: str, messages: Messages, better: str, worse: str, **said: Any) -> Row:
    """A pair of which the better answer is known. Whether it becomes a or b is drawn from a hash of the source."""
    check_answers(messages, {"the better one": better, "the other": worse})
    return {"messages": messages, **placed(source, better, worse), **said}


def check_answers(messages: Messages, answers: Mapping[str, str]) -> None:
    """Refuse answers without a text, and what is no dialogue with them."""
    for name, answer in answers.items():
        if not answer.strip():
            raise RefusedRowError("empty_answer", name)
    check_turns([*messages, {"role": "assistant", "content": "answer"}])


def placed(source: str, chosen: str, rejected: str) -> dict[str, str]:
    """Put the chosen response at a or b by a hash of the source."""
    if int(text_hash(source)[:8], 16) % 2:
        return {"response_a": rejected, "response_b": chosen, "chosen": "b"}
    return {"response_a": chosen, "response_b": rejected, "chosen": "a"}


def prompt_in(record: Record, field: str) -> Messages:
    """A prompt given as text, or as messages."""
    if isinstance(record.fields.get(field), list):
        return messages_of(record, field)
    return [{"role": "user", "content": record.text(field).strip()}]


def said(record: Record) -> Row:
    """The words about the judgement that the record says. Empty ones are not given (a CSV has no other way).

    Raises InputError for a word that is not known, RefusedRowError for the label that the paper leaves out.
    """
    given = {name for name in WORDS if record.fields.get(name) not in (None, "")}
    row: Row = {}
    for field, words in (("axis", AXES), ("split", SPLITS), ("rating", RATINGS)):
        if field in given:
            row[field] = word(record, field, words)
    if "safety_label" in given:
        row["safety_label"] = word(record, "safety_label", (*SAFETY_LABELS, EXCLUDED_LABEL))
        if row["safety_label"] == EXCLUDED_LABEL:
            raise RefusedRowError(EXCLUDED_LABEL, "the safer answer is taken to be the better one")
    row |= {field: record.text(field) for field in TEXTS if field in given}
    row |= {field: _whole_number(record, field) for field in NUMBERS if field in given}
    row |= {field: _is_finished(record, field) for field in ENDS if field in given}
    return row


def word(record: Record, field: str, words: tuple[str, ...]) -> str:
    """The field's text, one of `words`."""
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


def _is_finished(record: Record, field: str) -> bool:
    value = record.fields[field]
    said = str(value).strip().lower()  # a CSV has no other truth
    if said not in ("true", "false"):
        raise InputError(
            f"{record.where}: field {field!r} is {value!r}; give true, or false for a response that was cut off"
        )
    return said == "true"
