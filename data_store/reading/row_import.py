"""Turning records into rows of a kind, with what is well-formed but of no use refused by name and counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.reading.source_files import Record
from data_store.row_checks import conform
from data_store.rows import ROLES, row_kind

Messages = list[dict[str, str]]


class RefusedRowError(Exception):
    """A row that is well-formed but of no use: a reason from a fixed list, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Refusal(NamedTuple):
    """What was refused: where it stands, a reason from a fixed list, and the detail."""

    source: str
    reason: str
    detail: str


class Imported(NamedTuple):
    """`rows` of the kind that was read, and `refused` rows of kind dropped: (doc_id, source, reason, detail)."""

    rows: pa.Table
    refused: pa.Table

    def refused_counts(self) -> dict[str, int]:
        """How many rows were refused for each reason, most frequent first."""
        return dict(Counter(self.refused.column("reason").to_pylist()).most_common())


def import_rows(records: Iterable[Record], convert: Callable[[Record], dict[str, Any]], kind: str) -> Imported:
    """Convert each record to a row of `kind`; what raises RefusedRowError goes to the refused rows.

    Raises:
        InputError: no record, or none that was not refused.
    """

    def converted() -> Iterator[dict[str, Any] | Refusal]:
        for record in records:
            try:
                yield convert(record)
            except RefusedRowError as refusal:
                yield Refusal(record.source, refusal.reason, refusal.detail)

    return gather(converted(), kind)


def gather(found: Iterable[dict[str, Any] | Refusal], kind: str) -> Imported:
    """Rows of `kind`, and what was refused, as tables. Raises InputError where no row is left."""
    rows, refused = list[dict[str, Any]](), list[dict[str, str]]()
    for each in found:
        if isinstance(each, Refusal):
            refused.append({"doc_id": each.source, **each._asdict()})
        else:
            rows.append(each)
    refused_table = pa.Table.from_pylist(refused, schema=row_kind("dropped").schema)
    if not rows:
        counts = dict(Counter(row["reason"] for row in refused))
        raise InputError(f"no {kind} is left of {len(refused)} rows; refused: {counts or 'none, the files are empty'}")
    schema = row_kind(kind).schema
    return Imported(conform(pa.Table.from_pylist(rows, schema=schema), row_kind(kind), kind), refused_table)


def messages_of(record: Record, field: str = "messages") -> Messages:
    """The messages in `field`; raises InputError where they are not a list of {role, content} with known roles."""
    value = record.fields.get(field)
    if not isinstance(value, list) or not value:
        raise InputError(f"{record.where}: field {field!r} must be a list of messages with role and content")
    messages: Messages = []
    for number, message in enumerate(value):
        name = f"{field}[{number}]"
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise InputError(f"{record.where}: field {name!r} must have role and content")
        role = message["role"]
        if role not in ROLES:
            raise InputError(f"{record.where}: field '{name}.role' is {role!r}; use one of {', '.join(ROLES)}")
        messages.append({"role": role, "content": record.check_text(f"{name}.content", message["content"])})
    return messages


def check_turns(messages: Messages) -> None:
    """Refuse what is no dialogue: after a system message user and assistant by turns, assistant last, none empty."""
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if not turns or turns[-1] != "assistant":
        raise RefusedRowError("last_turn_not_assistant", f"the turns are {', '.join(turns) or 'none'}")
    if turns != ["user", "assistant"] * (len(turns) // 2) or any(m["role"] == "system" for m in messages[1:]):
        raise RefusedRowError("turns_do_not_alternate", f"the turns are {', '.join(m['role'] for m in messages)}")
    for number, message in enumerate(messages):
        if not message["content"].strip():
            raise RefusedRowError("empty_message", f"message {number} of the {message['role']}")


def prompt_id_of(messages: Messages) -> str:
    """The id of a prompt, from its messages alone."""
    return f"prompt-{content_hash(messages)[:24]}"
