"""Handing out pairs and taking judgements: each pair seen by n people, never twice by one, nothing lost or doubled.

A pair is leased to a person for a bounded time. The lease's form key names the form on the screen, so that a form that
is sent twice counts once, and one that was overtaken is told from one that is new.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from data_store.annotation.batches import Batch, finished_in, read_batch
from data_store.annotation.book import Book
from data_store.errors import InputError
from data_store.rows import RATINGS, REFUSALS, SAFETY_LABELS

SCALE = tuple((chosen, rating) for chosen, ratings in (("a", RATINGS), ("b", RATINGS[::-1])) for rating in ratings)
"""The eight choices with their ratings, from «A is significantly better» to «B is significantly better»."""
LEASE_SECONDS = 1800.0
NOTE_LENGTH = 2000


class FormOutOfDateError(InputError):
    """The form is not the one that counts: its lease was taken over, its pair is settled, or its batch is closed."""


@dataclass(frozen=True)
class Verdict:
    """A choice with the annotator's words. The label 'chosen unsafe, other safe' does not exist: safer is better."""

    chosen: str
    rating: str
    safety_label: str | None = None
    refusing: str | None = None

    def check(self, axis: str, *, asks_refusal: bool = False) -> None:
        """Raise InputError unless every word is allowed, there is a safety label exactly on the safety axis, and it is
        said which responses refuse exactly where that is asked."""
        if self.chosen not in ("a", "b"):
            raise InputError(f"the choice is {self.chosen!r}; use a or b")
        if self.rating not in RATINGS:
            raise InputError(f"the rating is {self.rating!r}; use one of {', '.join(RATINGS)}")
        if axis == "safety" and self.safety_label not in SAFETY_LABELS:
            raise InputError(f"the safety label is {self.safety_label!r}; use one of {', '.join(SAFETY_LABELS)}")
        if axis != "safety" and self.safety_label is not None:
            raise InputError(f"the axis {axis} takes no safety label; leave it out")
        if asks_refusal and self.refusing not in REFUSALS:
            raise InputError(f"which responses refuse is {self.refusing!r}; use one of {', '.join(REFUSALS)}")
        if not asks_refusal and self.refusing is not None:
            raise InputError("this pair does not ask which responses refuse; leave it out")


@dataclass(frozen=True)
class Item:
    """A pair as people see it: nothing tells which policy or temperature wrote which response. cut: whether it was cut
    off at the length limit; False where nobody knows. asks_refusal: they also say which responses refuse."""

    item_id: int
    batch_id: str
    axis: str
    messages: tuple[Mapping[str, str], ...]
    response_a: str
    response_b: str
    cut_a: bool
    cut_b: bool
    written_by: str | None
    asks_refusal: bool


@dataclass(frozen=True)
class Shown:
    """A pair leased to a person, and the key of the form that shows it."""

    item: Item
    form_key: str


@dataclass(frozen=True)
class LastAnswer:
    """What a person did last in a batch, so that it can be undone. skipped: without a verdict."""

    answer_id: int
    skipped: bool


def next_item(book: Book, batch_id: str, name: str) -> Shown | None:
    """The pair for this person: the one they have on the screen, else an attention check that is due, else the first
    that fewer than n people have judged or have on the screen. None when there is none (now).
    """
    with book.writing(durable=False) as connection:  # a lease that is lost costs a form, never a judgement
        batch, now = read_batch(connection, batch_id), book.clock()
        if batch is None or batch.closed is not None:
            return None
        held = connection.execute(_HELD, {"batch": batch_id, "name": name, "now": now}).fetchone()
        if held:
            item_id = held["item_id"]
        elif batch.is_finished(now):
            return None
        else:
            item_id = _due_check(connection, batch, name) or _first_fit(connection, batch, name, now)
        if item_id is None:
            return None
        return Shown(read_item(connection, item_id), lease_item(connection, item_id, name, now))


def judge(book: Book, name: str, form_key: str, verdict: Verdict | None, milliseconds: int | None = None) -> None:
    """Write a judgement down, or with no verdict that the person skips this pair. The same form again changes nothing.

    milliseconds: time on the pair as the page measured it; never more than has passed since it was shown, which is also
    what counts where the page cannot measure. Raises FormOutOfDateError for a form that no longer counts, InputError
    for a verdict that cannot be.
    """
    with book.writing() as connection:
        if _is_answered(connection, form_key, name):
            return
        lease, now = _lease(connection, form_key, name), book.clock()
        item, batch = read_item(connection, lease["item_id"]), _open_batch(connection, lease["item_id"])
        if verdict is not None:
            verdict.check(item.axis, asks_refusal=item.asks_refusal)
        if not _has_room(connection, item.item_id, batch.spec.people_per_item, name, now):
            raise FormOutOfDateError("other people have judged this pair meanwhile; go on with the next")
        passed = max(0, round(1000 * (now - lease["shown_at"])))
        connection.execute(
            "INSERT INTO answer (form_key, item_id, name, chosen, rating, safety_label, refusing, milliseconds, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(form_key, item.item_id, name),
                *words_of(verdict),
                *(passed if milliseconds is None else min(max(0, milliseconds), passed), now),
            ),
        )
        connection.execute("DELETE FROM lease WHERE form_key = ?", (form_key,))
        settle(connection, item.item_id)


def flag(book: Book, name: str, form_key: str, note: str) -> None:
    """Leave a note on the pair on the screen, for the adjudicator. The same note again changes nothing."""
    if not note.strip() or len(note) > NOTE_LENGTH:
        raise InputError(f"write a note of at most {NOTE_LENGTH} characters")
    with book.writing() as connection:
        item_id = _lease(connection, form_key, name)["item_id"]
        connection.execute(
            "INSERT OR IGNORE INTO flag VALUES (?, ?, ?, ?)", (item_id, name, note.strip(), book.clock())
        )


def last_answer(book: Book, batch_id: str, name: str) -> LastAnswer | None:
    """What this person did last in the batch and can still undo."""
    with book.reading() as connection:
        return _last_answer(connection, batch_id, name)


def undo(book: Book, batch_id: str, name: str, answer_id: int) -> None:
    """Supersede the person's last answer; its pair comes back to them. One that is undone already is left alone.

    Raises FormOutOfDateError when it is not the last one, an adjudicator has decided, or the batch is closed.
    """
    with book.writing() as connection:
        if connection.execute(
            "SELECT 1 FROM undo JOIN answer USING (answer_id) WHERE answer_id = ? AND name = ?", (answer_id, name)
        ).fetchone():
            return
        last = _last_answer(connection, batch_id, name)
        if last is None or last.answer_id != answer_id:
            raise FormOutOfDateError("this answer is not your last one in an open batch; it stands")
        (item_id,) = connection.execute("SELECT item_id FROM answer WHERE answer_id = ?", (answer_id,)).fetchone()
        if connection.execute("SELECT 1 FROM decision WHERE item_id = ?", (item_id,)).fetchone():
            raise FormOutOfDateError("an adjudicator has decided on this pair; the answer stands")
        now = book.clock()
        connection.execute("INSERT INTO undo VALUES (?, ?)", (answer_id, now))
        settle(connection, item_id)
        lease_item(connection, item_id, name, now)


def read_item(connection: sqlite3.Connection, item_id: int) -> Item:
    """An item that is known to be there."""
    row = connection.execute("SELECT * FROM item WHERE item_id = ?", (item_id,)).fetchone()
    messages = tuple(json.loads(row["messages"]))
    cut_a, cut_b = (finished_in(row, side) is False for side in "ab")
    shown = (row["response_a"], row["response_b"], cut_a, cut_b)
    asks_refusal = bool(row["asks_refusal"])
    return Item(item_id, row["batch_id"], row["axis"], messages, *shown, row["written_by"], asks_refusal)


def words_of(verdict: Verdict | None) -> tuple[str | None, str | None, str | None, str | None]:
    """The columns `chosen`, `rating`, `safety_label` and `refusing` of an answer or a decision; no verdict, no word."""
    if verdict is None:
        return None, None, None, None
    return verdict.chosen, verdict.rating, verdict.safety_label, verdict.refusing


def verdict_of(row: sqlite3.Row) -> Verdict:
    """The verdict in those columns, of a row in which something was chosen."""
    return Verdict(row["chosen"], row["rating"], row["safety_label"], row["refusing"])


def lease_item(connection: sqlite3.Connection, item_id: int, name: str, now: float) -> str:
    """The form key of a lease that was made or prolonged; one that had run out starts anew."""
    connection.execute("DELETE FROM lease WHERE item_id = ? AND name = ? AND expires_at <= ?", (item_id, name, now))
    row = connection.execute(
        "INSERT INTO lease VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (item_id, name) DO UPDATE SET expires_at = excluded.expires_at RETURNING form_key",
        (item_id, name, secrets.token_urlsafe(16), now, now + LEASE_SECONDS),
    ).fetchone()
    return str(row["form_key"])


def settle(connection: sqlite3.Connection, item_id: int) -> None:
    """Bring `open_item` in line with the facts about one item."""
    row = connection.execute(_IS_OPEN, (item_id,)).fetchone()
    if row["is_open"]:
        connection.execute(
            "INSERT OR IGNORE INTO open_item VALUES (?, ?, ?)", (row["batch_id"], row["position"], item_id)
        )
    else:
        connection.execute("DELETE FROM open_item WHERE item_id = ?", (item_id,))


_IS_OPEN = """
SELECT item.batch_id, position, known_choice IS NULL AND decision.item_id IS NULL AND (
    SELECT count(*) FROM standing WHERE standing.item_id = item.item_id AND chosen IS NOT NULL
) < people_per_item AS is_open
FROM item JOIN batch USING (batch_id) LEFT JOIN decision USING (item_id) WHERE item.item_id = ?"""

_HELD = """
SELECT lease.item_id FROM lease JOIN item USING (item_id) LEFT JOIN open_item USING (item_id)
WHERE lease.name = :name AND item.batch_id = :batch AND expires_at > :now
    AND (open_item.item_id IS NOT NULL OR known_choice IS NOT NULL)
ORDER BY shown_at DESC, lease.rowid DESC LIMIT 1"""  # one that was undone comes before what was on the screen

_PLACES_TAKEN = """
(SELECT count(*) FROM standing WHERE item_id = {item} AND name <> :name AND chosen IS NOT NULL)
+ (SELECT count(*) FROM lease WHERE item_id = {item} AND name <> :name AND expires_at > :now)"""

_FIRST_FIT = f"""
SELECT item_id FROM open_item
WHERE batch_id = :batch AND {_PLACES_TAKEN.format(item="open_item.item_id")} < :people
    AND NOT EXISTS (SELECT 1 FROM standing WHERE item_id = open_item.item_id AND name = :name)
ORDER BY position LIMIT 1"""  # noqa: S608  (put together of our own text)


def _first_fit(connection: sqlite3.Connection, batch: Batch, name: str, now: float) -> int | None:
    wanted = {"batch": batch.spec.batch_id, "people": batch.spec.people_per_item, "name": name, "now": now}
    row = connection.execute(_FIRST_FIT, wanted).fetchone()
    return row["item_id"] if row else None


def _has_room(connection: sqlite3.Connection, item_id: int, people: int, name: str, now: float) -> bool:
    (known,) = connection.execute("SELECT known_choice FROM item WHERE item_id = ?", (item_id,)).fetchone()
    if known is not None:
        return True
    if connection.execute("SELECT 1 FROM open_item WHERE item_id = ?", (item_id,)).fetchone() is None:
        return False
    sql = f"SELECT {_PLACES_TAKEN.format(item=':item')} AS taken"
    return bool(connection.execute(sql, {"item": item_id, "name": name, "now": now}).fetchone()["taken"] < people)


def _due_check(connection: sqlite3.Connection, batch: Batch, name: str) -> int | None:
    """The attention check that is due: the j-th after `check_every` · j answers and up to as many more, by a hash, so
    that nobody can foresee it; which one comes when differs from person to person.
    """
    batch_id, every = batch.spec.batch_id, batch.spec.check_every
    checks = connection.execute(
        "SELECT item_id, EXISTS (SELECT 1 FROM standing WHERE item_id = item.item_id AND name = ?) AS is_answered "
        "FROM item WHERE batch_id = ? AND known_choice IS NOT NULL",
        (name, batch_id),
    ).fetchall()
    seen = sum(row["is_answered"] for row in checks)
    if seen == len(checks):
        return None
    (answers,) = connection.execute(
        "SELECT count(*) FROM standing JOIN item USING (item_id) "
        "WHERE name = ? AND batch_id = ? AND known_choice IS NULL AND chosen IS NOT NULL",
        (name, batch_id),
    ).fetchone()
    if answers < every * seen + _draw(batch_id, name, seen) % every:
        return None
    left: list[int] = [row["item_id"] for row in checks if not row["is_answered"]]
    return min(left, key=lambda item: _draw(name, item))


def _draw(*parts: str | int) -> int:
    return int(sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:12], 16)


def _is_answered(connection: sqlite3.Connection, form_key: str, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM answer WHERE form_key = ? AND name = ?", (form_key, name)).fetchone())


def _lease(connection: sqlite3.Connection, form_key: str, name: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM lease WHERE form_key = ? AND name = ?", (form_key, name)).fetchone()
    if row is None:
        raise FormOutOfDateError("this form no longer counts; go on with the next pair")
    return row  # type: ignore[no-any-return]


def _open_batch(connection: sqlite3.Connection, item_id: int) -> Batch:
    (batch_id,) = connection.execute("SELECT batch_id FROM item WHERE item_id = ?", (item_id,)).fetchone()
    batch = read_batch(connection, batch_id)
    if batch is None or batch.closed is not None:
        raise FormOutOfDateError("this batch is closed; nothing was written down")
    return batch


def _last_answer(connection: sqlite3.Connection, batch_id: str, name: str) -> LastAnswer | None:
    row = connection.execute(
        "SELECT answer_id, chosen IS NULL AS skipped FROM standing JOIN item USING (item_id) "
        "WHERE name = ? AND item.batch_id = ? AND item.batch_id NOT IN (SELECT batch_id FROM batch_end) "
        "ORDER BY answer_id DESC LIMIT 1",
        (name, batch_id),
    ).fetchone()
    return LastAnswer(row["answer_id"], bool(row["skipped"])) if row else None
