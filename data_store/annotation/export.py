"""Reading a batch: its rows for the catalog, by what it is for, and every judgement with its time for statistics."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data_store.annotation.batches import Batch, batch_of, finished_in, preference_row
from data_store.annotation.book import Book
from data_store.annotation.judging import Verdict
from data_store.annotation.schema import EVALUATION
from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.row_checks import conform
from data_store.rows import ROW_KINDS


@dataclass(frozen=True)
class StandingJudgement:
    """A standing judgement. seconds are on the pair, at is since 1970; passed: whether an attention check was, None for
    an ordinary pair; flagged: this person left a note; superseded: an adjudicator decided or dropped the pair.
    preference_id: of the row it becomes.
    """

    preference_id: str
    item_id: int
    axis: str
    annotator: str
    chosen: str
    rating: str
    safety_label: str | None
    refusing: str | None
    seconds: float
    at: float
    passed: bool | None
    flagged: bool
    superseded: bool

    @property
    def verdict(self) -> Verdict:
        """What was said."""
        return Verdict(self.chosen, self.rating, self.safety_label, self.refusing)


def row_kind_of(batch: Batch) -> str:
    """The kind of the rows that a batch's judgements become. Those of an evaluation are no preferences: nothing learns
    from them."""
    return "opinion" if batch.spec.purpose == EVALUATION else "preference"


def handed_rows(book: Book, batch_id: str) -> pa.Table:
    """The rows of a closed batch, of the kind of its purpose. Raises InputError for a batch that is unknown or still
    open: what it says could change."""
    if batch_of(book, batch_id).closed is None:
        raise InputError(f"batch {batch_id} is still open: close it first, then its judgements stay what they are")
    return rows_so_far(book, batch_id)


def rows_so_far(book: Book, batch_id: str) -> pa.Table:
    """The same of a batch that may be open: as its judgements stand now, for a copy that says no more than that."""
    batch = batch_of(book, batch_id)
    return _opinion_rows(book, batch) if batch.spec.purpose == EVALUATION else _preference_rows(book, batch)


def _preference_rows(book: Book, batch: Batch) -> pa.Table:
    """A row per judgement; a pair that an adjudicator decided has that decision alone, one that was dropped has none.
    The source of a pair whose prompt a person wrote names them. Their split is not decided here."""
    with book.reading() as connection:
        found = connection.execute(_ROWS, {"batch": batch.spec.batch_id})
        return _conformed((_preference(row, batch) for row in found), batch)


def _opinion_rows(book: Book, batch: Batch) -> pa.Table:
    """A row per judgement, and one per decision of an adjudicator, which takes the place of none: how far people agree
    is told by what they said before."""
    with book.reading() as connection:
        found = connection.execute(_OPINIONS, {"batch": batch.spec.batch_id})
        return _conformed((_opinion(row) for row in found), batch)


def _conformed(rows: Iterable[Mapping[str, Any]], batch: Batch) -> pa.Table:
    kind = ROW_KINDS[row_kind_of(batch)]
    return conform(pa.Table.from_pylist(list(rows), schema=kind.schema), kind, f"batch {batch.spec.batch_id}")


def judgements(book: Book, batch_id: str) -> list[StandingJudgement]:
    """Every standing judgement of a batch, attention checks included, in the order they were given."""
    batch_of(book, batch_id)
    with book.reading() as connection:
        return [_judged(row) for row in connection.execute(_JUDGED, {"batch": batch_id})]


def count_judgements(book: Book, batch_id: str) -> int:
    """How many judgements of a batch stand, attention checks left out."""
    with book.reading() as connection:
        (count,) = connection.execute(_COUNT, {"batch": batch_id}).fetchone()
    return int(count)


_COUNT = """
SELECT count(*) FROM item JOIN standing USING (item_id)
WHERE batch_id = :batch AND known_choice IS NULL AND chosen IS NOT NULL"""

_ROWS = """
SELECT item.*, given.name, given.chosen, given.rating, given.safety_label
FROM item JOIN (
    SELECT item_id, name, chosen, rating, safety_label FROM standing
    WHERE item_id NOT IN (SELECT item_id FROM decision)
    UNION ALL SELECT item_id, name, chosen, rating, safety_label FROM decision
) AS given USING (item_id)
WHERE batch_id = :batch AND known_choice IS NULL AND given.chosen IS NOT NULL ORDER BY position, given.name"""

_OPINIONS = """
SELECT item.batch_id, item.key, item.prompt_id, item.axis, item.response_a, item.response_b, given.*
FROM item JOIN (
    SELECT item_id, name, chosen, rating, safety_label, refusing, 0 AS decision FROM standing WHERE chosen IS NOT NULL
    UNION ALL SELECT item_id, name, chosen, rating, safety_label, refusing, 1 FROM decision
) AS given USING (item_id)
WHERE batch_id = :batch AND known_choice IS NULL ORDER BY position, given.decision, given.name"""

_JUDGED = """
SELECT item.batch_id, item.key, item.axis, item.known_choice, standing.*, decision.item_id IS NOT NULL AS superseded,
    EXISTS (SELECT 1 FROM flag WHERE flag.item_id = item.item_id AND flag.name = standing.name) AS flagged
FROM item JOIN standing USING (item_id) LEFT JOIN decision USING (item_id)
WHERE batch_id = :batch AND standing.chosen IS NOT NULL ORDER BY answer_id"""


def _id(row: sqlite3.Row) -> str:
    return content_hash([row["batch_id"], row["key"], row["name"]])[:24]


def _preference(row: sqlite3.Row, batch: Batch) -> dict[str, Any]:
    verdict = {
        "preference_id": _id(row),
        "split": None,
        "chosen": row["chosen"],
        "rating": row["rating"],
        "safety_label": row["safety_label"],
        "annotator": row["name"],
    }
    item = {**dict(row), "messages": json.loads(row["messages"])}
    for side in "ab":
        ids = row[f"token_ids_{side}"]
        item[f"token_ids_{side}"] = None if ids is None else json.loads(ids)
        item[f"finished_{side}"] = finished_in(row, side)
    source = batch.spec.source if row["written_by"] is None else f"{batch.spec.source}, written by {row['written_by']}"
    return preference_row(item, batch.spec.part, source, verdict)


def _opinion(row: sqlite3.Row) -> dict[str, Any]:
    names = ("prompt_id", "axis", "response_a", "response_b", "chosen", "rating", "safety_label", "refusing")
    return {
        **{name: row[name] for name in names},
        "opinion_id": _id(row),
        "batch": row["batch_id"],
        "question_id": row["key"],
        "annotator": row["name"],
        "decision": bool(row["decision"]),
    }


def _judged(row: sqlite3.Row) -> StandingJudgement:
    return StandingJudgement(
        preference_id=_id(row),
        item_id=row["item_id"],
        axis=row["axis"],
        annotator=row["name"],
        chosen=row["chosen"],
        rating=row["rating"],
        safety_label=row["safety_label"],
        refusing=row["refusing"],
        seconds=row["milliseconds"] / 1000,
        at=row["at"],
        passed=None if row["known_choice"] is None else row["known_choice"] == row["chosen"],
        flagged=bool(row["flagged"]),
        superseded=bool(row["superseded"]),
    )
