"""Attention checks that look like any other pair: pairs whose right answer is known, because somebody says so in a
file, or because people who judged them in earlier batches were of one mind."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_store.annotation.batches import ItemDraft, finished_in
from data_store.annotation.book import Book
from data_store.encoding import text_hash
from data_store.reading.preference_readers import read_preferences
from data_store.reading.row_import import NothingLeftError
from data_store.rows import AXES

_PEOPLE = 3
_SHARE = 0.9


def pairs_of_file(path: Path) -> list[ItemDraft]:
    """The pairs of a file of judged pairs (`rows` of docs/your-own-data.md), their choice taken for the right answer.

    Raises InputError as the import of such a file does.
    """
    rows, nothing = dict[str, dict[str, Any]](), None
    for axis in AXES:  # a row that says no axis is one of helpfulness
        try:
            found = read_preferences([path], "rows", axis).rows.to_pylist()
            rows |= {row["source"]: row for row in found if row["source"] not in rows}
        except NothingLeftError as error:
            nothing = nothing or error
    if nothing is not None and not rows:
        raise nothing
    return [
        ItemDraft(
            key=f"check-{text_hash(row['source'])[:24]}",
            prompt_id=row["prompt_id"],
            axis=row["axis"],
            messages=row["messages"],
            response_a=row["response_a"],
            response_b=row["response_b"],
            finished_a=row["finished_a"],
            finished_b=row["finished_b"],
            known_choice=row["chosen"],
        )
        for row in rows.values()
    ]


def pairs_of_one_mind(book: Book) -> list[ItemDraft]:
    """The pairs of closed batches that at least three people judged, nine in ten of them alike and sure: the choice is
    rated better or significantly better by all who made it."""
    with book.reading() as connection:
        rows = connection.execute(_OF_ONE_MIND, {"people": _PEOPLE, "share": _SHARE}).fetchall()
    return [
        ItemDraft(
            key=f"check-{text_hash(row['batch_id'] + '/' + row['key'])[:24]}",
            prompt_id=row["prompt_id"],
            axis=row["axis"],
            messages=json.loads(row["messages"]),
            response_a=row["response_a"],
            response_b=row["response_b"],
            finished_a=finished_in(row, "a"),
            finished_b=finished_in(row, "b"),
            known_choice=row["right"],
        )
        for row in rows
    ]


def drawn_checks(known: Sequence[ItemDraft], items: Sequence[ItemDraft], count: int) -> list[ItemDraft]:
    """Up to `count` of the known pairs for a batch with these items, of other prompts than the batch's own.

    Which ones, and which side the right answer is on, is drawn from a hash of the pair and the batch's first item, so
    that the next batch gets others.
    """
    asked = {item.prompt_id for item in items}
    salt = items[0].key if items else ""
    fresh = {one.key: one for one in known if one.prompt_id not in asked}
    chosen = sorted(fresh.values(), key=lambda one: text_hash(f"{salt} {one.key}"))[:count]
    return [one if int(text_hash(f"side {salt} {one.key}")[:8], 16) % 2 else _turned(one) for one in chosen]


_OF_ONE_MIND = """
SELECT item.*, given.right FROM item JOIN (
    SELECT item_id, CASE WHEN avg(chosen = 'a') >= 0.5 THEN 'a' ELSE 'b' END AS right FROM standing
    WHERE chosen IS NOT NULL GROUP BY item_id
    HAVING count(*) >= :people AND max(avg(chosen = 'a'), avg(chosen = 'b')) >= :share
) AS given USING (item_id)
WHERE known_choice IS NULL AND batch_id IN (SELECT batch_id FROM batch_end)
    AND item_id NOT IN (SELECT item_id FROM flag) AND item_id NOT IN (SELECT item_id FROM decision)
    AND NOT EXISTS (
        SELECT 1 FROM standing WHERE standing.item_id = item.item_id AND chosen = given.right
            AND rating NOT IN ('significantly_better', 'better'))
ORDER BY item_id"""


def _turned(pair: ItemDraft) -> ItemDraft:
    """The same pair with its sides exchanged."""
    right = "b" if pair.known_choice == "a" else "a"
    return replace(
        pair,
        response_a=pair.response_b,
        response_b=pair.response_a,
        finished_a=pair.finished_b,
        finished_b=pair.finished_a,
        known_choice=right,
    )
