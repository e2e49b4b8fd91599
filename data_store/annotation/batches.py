"""Batches of pairs: opened by a step, worked through by people, closed and read by the step."""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from data_store.annotation.book import Book
from data_store.annotation.schema import COLLECTION, PURPOSES
from data_store.closest import did_you_mean
from data_store.encoding import canonical_json, text_hash
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.row_checks import conform
from data_store.rows import AXES, ROW_KINDS

Message = Mapping[str, str]
_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


PAIR_FIELDS = (
    *("prompt_id", "axis", "messages", "response_a", "response_b", "token_ids_a", "token_ids_b"),
    *("finished_a", "finished_b", "tokenizer", "policy_version_a", "policy_version_b"),
    *("temperature_milli_a", "temperature_milli_b"),
)
"""What rows of kind `pair` and `preference` and an item of a batch have in common."""


@dataclass(frozen=True)
class ItemDraft:
    """A pair to be judged. Which response is a and which is b is settled here, once, by whoever drew them.

    finished: False for a response that was cut off at the length limit; token_ids and tokenizer as in rows. All of them
    are None for what was not sampled here. key: unique in the batch. known_choice ('a' or 'b'): the pair is an
    attention check, whose right answer is known; it is shown to everybody, and is neither counted nor exported.
    asks_refusal: people also say which of the responses refuse.
    """

    key: str
    prompt_id: str
    axis: str
    messages: Sequence[Message]
    response_a: str
    response_b: str
    token_ids_a: Sequence[int] | None = None
    token_ids_b: Sequence[int] | None = None
    finished_a: bool | None = None
    finished_b: bool | None = None
    tokenizer: str | None = None
    policy_version_a: str | None = None
    policy_version_b: str | None = None
    temperature_milli_a: int | None = None
    temperature_milli_b: int | None = None
    known_choice: str | None = None
    asks_refusal: bool = False


@dataclass(frozen=True)
class BatchSpec:
    """What a batch asks for.

    batch_id: names it for good. part: the iteration, `V1`. source: goes into the rows. quota: this many pairs, each
    judged by `people_per_item` people. deadline: seconds since 1970; nothing more is handed out after it. guidelines:
    by axis; the page has its own where one is missing. check_every: an attention check after about this many answers.
    written_prompts: people may also write prompts of their own where the page has a model to answer them. purpose: one
    of PURPOSES; it decides what the judgements are handed over as.
    """

    batch_id: str
    part: str
    source: str
    quota: int
    people_per_item: int = 1
    deadline: float | None = None
    guidelines: Mapping[str, str] = field(default_factory=dict)
    check_every: int = 20
    written_prompts: bool = False
    purpose: str = COLLECTION


@dataclass(frozen=True)
class Batch:
    """A batch and how far it is. done: pairs with all their judgements, or decided by an adjudicator (dropped pairs do
    not count). waiting: pairs that still need a judgement. closed: the reason, None while it is open.
    """

    spec: BatchSpec
    done: int
    waiting: int
    closed: str | None
    created_at: float

    def is_finished(self, now: float) -> bool:
        """Whether there is nothing more to hand out: the quota is met, or the deadline has passed."""
        return self.done >= self.spec.quota or (self.spec.deadline is not None and now >= self.spec.deadline)


def open_batch(book: Book, spec: BatchSpec, items: Sequence[ItemDraft]) -> None:
    """Lay pairs out for judging, in this order. The same batch again changes nothing, so a step may be repeated.

    Raises InputError naming the pair and the field for what could not become a `preference` row, for a quota that
    cannot be met, and when a batch of this name has other content.
    """
    _check(spec, items)
    content = text_hash(canonical_json([asdict(spec), [asdict(item) for item in items]]))
    with book.writing() as connection:
        found = connection.execute("SELECT content_hash FROM batch WHERE batch_id = ?", (spec.batch_id,)).fetchone()
        if found:
            if found["content_hash"] != content:
                raise InputError(f"there is a batch {spec.batch_id!r} with other content; give this one another name")
            return
        connection.execute(
            "INSERT INTO batch (batch_id, part, source, quota, people_per_item, deadline, check_every, guidelines, "
            "written_prompts, purpose, content_hash, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(spec.batch_id, spec.part, spec.source, spec.quota, spec.people_per_item, spec.deadline),
                *(spec.check_every, canonical_json(dict(spec.guidelines)), spec.written_prompts, spec.purpose),
                *(content, book.clock()),
            ),
        )
        for position, item in enumerate(items):
            add_item(connection, spec.batch_id, position, item)


def add_item(
    connection: sqlite3.Connection, batch_id: str, position: int, item: ItemDraft, written_by: str | None = None
) -> int:
    """Enter a pair that was checked, and give its number."""
    values = {**asdict(item), "messages": canonical_json([dict(message) for message in item.messages])}
    for name in ("token_ids_a", "token_ids_b"):
        values[name] = None if values[name] is None else canonical_json(list(values[name]))
    values |= {"batch_id": batch_id, "position": position, "written_by": written_by}
    item_id = connection.execute(
        f"INSERT INTO item ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608  (our own names)
        list(values.values()),
    ).lastrowid
    if item_id is None:
        raise AssertionError("SQLite gave the new row no number")
    if item.known_choice is None:
        connection.execute("INSERT INTO open_item VALUES (?, ?, ?)", (batch_id, position, item_id))
    return item_id


def finished_in(row: sqlite3.Row, side: str) -> bool | None:
    """Whether a response of an item's row, a or b, was ended by the model; None where nobody knows."""
    value = row[f"finished_{side}"]
    return None if value is None else bool(value)


def close_batch(book: Book, batch_id: str, reason: str) -> None:
    """Take no more judgements; what is there is what counts. A batch that is closed stays as it is."""
    batch_of(book, batch_id)
    with book.writing() as connection:
        connection.execute("INSERT OR IGNORE INTO batch_end VALUES (?, ?, ?)", (batch_id, reason, book.clock()))


def batch_of(book: Book, batch_id: str) -> Batch:
    """The batch; raises InputError that lists the batches there are when there is none of this name."""
    with book.reading() as connection:
        found = read_batch(connection, batch_id)
        if found is None:
            known = [str(row["batch_id"]) for row in connection.execute("SELECT batch_id FROM batch")]
            near = did_you_mean(batch_id, known)
            raise InputError(f"there is no batch {batch_id!r}; there are: {', '.join(known) or 'none'}{near}")
    return found


def batches(book: Book, *, only_open: bool = False) -> list[Batch]:
    """The batches, oldest first."""
    with book.reading() as connection:
        names = [row["batch_id"] for row in connection.execute("SELECT batch_id FROM batch ORDER BY created_at, rowid")]
        found = [batch for name in names if (batch := read_batch(connection, name))]
    return [batch for batch in found if batch.closed is None or not only_open]


def read_batch(connection: sqlite3.Connection, batch_id: str) -> Batch | None:
    """The batch as this transaction sees it."""
    row = connection.execute(_BATCH, {"batch": batch_id}).fetchone()
    if row is None:
        return None
    spec = BatchSpec(
        batch_id=row["batch_id"],
        part=row["part"],
        source=row["source"],
        quota=row["quota"],
        people_per_item=row["people_per_item"],
        deadline=row["deadline"],
        guidelines=json.loads(row["guidelines"]),
        check_every=row["check_every"],
        written_prompts=bool(row["written_prompts"]),
        purpose=row["purpose"],
    )
    done = row["pairs"] - row["waiting"] - row["dropped"]
    return Batch(spec, done, row["waiting"], row["reason"], row["created_at"])


_BATCH = """
SELECT batch.*, batch_end.reason,
    (SELECT count(*) FROM item WHERE batch_id = :batch AND known_choice IS NULL) AS pairs,
    (SELECT count(*) FROM open_item WHERE batch_id = :batch) AS waiting,
    (SELECT count(*) FROM decision JOIN item USING (item_id)
     WHERE batch_id = :batch AND decision.chosen IS NULL) AS dropped
FROM batch LEFT JOIN batch_end USING (batch_id) WHERE batch.batch_id = :batch"""


def check_items(items: Sequence[ItemDraft], spec: BatchSpec) -> None:
    """Raise InputError, naming the pair and the field, unless each pair becomes a row of kind `preference`."""
    where = f"batch {spec.batch_id}"
    rows = [preference_row(asdict(item), spec.part, spec.source, _ANY_VERDICT) for item in items]
    try:
        table = pa.Table.from_pylist(rows, schema=ROW_KINDS["preference"].schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise InputError(f"{where}: a pair is no preference: {error}") from None
    conform(table, ROW_KINDS["preference"], where)
    for number, item in enumerate(items):
        if item.known_choice not in (None, "a", "b"):
            raise InputError(
                f"{where}: row {number}: field 'known_choice' is {item.known_choice!r}; use a or b, or none"
            )
        if item.response_a == item.response_b:
            raise InputError(f"{where}: row {number}: both responses are the same; leave the pair out")


_ANY_VERDICT = {"preference_id": None, "chosen": "a", "rating": "better", "annotator": "nobody", "split": None}


def preference_row(item: Mapping[str, Any], part: str, source: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The row of kind `preference` of an item; `verdict` has the fields that people gave."""
    row = {name: item[name] for name in PAIR_FIELDS}
    row |= {"source": source, "iteration": part, "safety_label": None, **verdict}
    return {**row, "preference_id": verdict["preference_id"] or item["key"]}


def _check(spec: BatchSpec, items: Sequence[ItemDraft]) -> None:
    if not _ID.fullmatch(spec.batch_id):
        raise InputError(f"batch {spec.batch_id!r}: use lower-case letters, digits, '_', '.', '-', at most 64")
    AssetName("dataset", "preferences", spec.part)  # raises for a part that is none
    unknown = sorted(set(spec.guidelines) - set(AXES))
    if unknown:
        raise InputError(f"batch {spec.batch_id}: guidelines for {', '.join(unknown)}; use {', '.join(AXES)}")
    if spec.purpose not in PURPOSES:
        raise InputError(f"batch {spec.batch_id}: its purpose is {spec.purpose!r}; use {' or '.join(PURPOSES)}")
    pairs = sum(item.known_choice is None for item in items)
    if min(spec.quota, spec.people_per_item, spec.check_every) < 1:
        raise InputError(f"batch {spec.batch_id}: quota, people_per_item and check_every must be at least 1")
    if spec.quota > pairs and not spec.written_prompts:
        raise InputError(f"batch {spec.batch_id}: the quota is {spec.quota}, and there are {pairs} pairs; lower it")
    check_items(items, spec)
