"""Where people disagree or have left a note, an adjudicator decides, and that stands in place of their judgements."""

import sqlite3
from dataclasses import dataclass

from data_store.annotation.batches import read_batch
from data_store.annotation.book import Book
from data_store.annotation.judging import FormOutOfDateError, Item, Verdict, read_item, settle, verdict_of, words_of
from data_store.errors import InputError


@dataclass(frozen=True)
class Opinion:
    """One person's standing judgement of a pair; without a verdict they skipped it."""

    name: str
    verdict: Verdict | None


@dataclass(frozen=True)
class Case:
    """A pair to decide on, with what people said of it and the notes they left, as (name, note)."""

    item: Item
    opinions: tuple[Opinion, ...]
    notes: tuple[tuple[str, str], ...]


def safe_sides(verdict: Verdict) -> str | None:
    """What a safety label says of the two sides, free of which was chosen: both, none, a or b; None without a label."""
    label = verdict.safety_label
    return (
        verdict.chosen
        if label == "chosen_safe_other_unsafe"
        else {"both_safe": "both", "both_unsafe": "none"}.get(label or "")
    )


def cases(book: Book, name: str) -> list[Case]:
    """What this adjudicator can decide: pairs of open batches with a note, or whose judgements are all in and unlike.

    Unlike are judgements that choose different sides, unless all call the difference negligible, that call different
    sides safe, or see different ones refuse. Pairs that the adjudicator has judged are left to another.
    """
    with book.reading() as connection:
        rows = connection.execute(_CANDIDATES, {"name": name}).fetchall()
        found = [_read_case(connection, row["item_id"]) for row in rows]
    return [case for case in found if case.notes or _is_disputed(case)]


def case_of(book: Book, name: str, item_id: int) -> Case | None:
    """One of `cases`, or None when this pair is not, or no longer, among them."""
    with book.reading() as connection:
        row = connection.execute(
            f"SELECT item_id FROM ({_CANDIDATES}) WHERE item_id = :item",  # noqa: S608  (our own text)
            {"name": name, "item": item_id},
        ).fetchone()
        case = _read_case(connection, item_id) if row else None
    return case if case and (case.notes or _is_disputed(case)) else None


def decide(book: Book, name: str, item_id: int, verdict: Verdict | None) -> None:
    """Settle a pair; with no verdict it is dropped from the batch. The first decision stands.

    Raises InputError when this person may not decide on it, FormOutOfDateError when somebody else has decided or the
    batch is closed.
    """
    with book.writing() as connection:
        may = connection.execute(
            "SELECT 1 FROM annotator WHERE name = ? AND role = 'adjudicator' AND NOT EXISTS "
            "(SELECT 1 FROM standing WHERE item_id = ? AND standing.name = annotator.name AND chosen IS NOT NULL)",
            (name, item_id),
        ).fetchone()
        row = connection.execute("SELECT batch_id FROM item WHERE item_id = ?", (item_id,)).fetchone()
        if may is None or row is None:
            raise InputError(f"{name} cannot decide on this pair: that takes an adjudicator who has not judged it")
        earlier = connection.execute("SELECT name FROM decision WHERE item_id = ?", (item_id,)).fetchone()
        if earlier and earlier["name"] == name:
            return
        batch = read_batch(connection, row["batch_id"])
        if earlier or batch is None or batch.closed is not None:
            raise FormOutOfDateError("this pair is decided, or its batch is closed; nothing was written down")
        if verdict is not None:
            item = read_item(connection, item_id)
            verdict.check(item.axis, asks_refusal=item.asks_refusal)
        connection.execute(
            "INSERT INTO decision (item_id, name, at, chosen, rating, safety_label, refusing) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (item_id, name, book.clock(), *words_of(verdict)),
        )
        settle(connection, item_id)


_CANDIDATES = """
SELECT item.item_id FROM item JOIN batch USING (batch_id)
WHERE known_choice IS NULL AND batch_id NOT IN (SELECT batch_id FROM batch_end)
    AND item_id NOT IN (SELECT item_id FROM decision)
    AND NOT EXISTS (
        SELECT 1 FROM standing WHERE item_id = item.item_id AND standing.name = :name AND chosen IS NOT NULL)
    AND (item_id IN (SELECT item_id FROM flag)
        OR people_per_item > 1 AND item_id NOT IN (SELECT item_id FROM open_item))
ORDER BY item_id"""


def _read_case(connection: sqlite3.Connection, item_id: int) -> Case:
    opinions = tuple(
        Opinion(row["name"], verdict_of(row) if row["chosen"] else None)
        for row in connection.execute("SELECT * FROM standing WHERE item_id = ? ORDER BY answer_id", (item_id,))
    )
    notes = connection.execute("SELECT name, note FROM flag WHERE item_id = ? ORDER BY at, name", (item_id,))
    return Case(read_item(connection, item_id), opinions, tuple((row["name"], row["note"]) for row in notes))


def _is_disputed(case: Case) -> bool:
    verdicts = [opinion.verdict for opinion in case.opinions if opinion.verdict]
    choices = {verdict.chosen for verdict in verdicts}
    if any(len({read(verdict) for verdict in verdicts}) > 1 for read in (safe_sides, lambda each: each.refusing)):
        return True
    return len(choices) > 1 and any(verdict.rating != "negligibly_better" for verdict in verdicts)
