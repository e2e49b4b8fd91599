"""Who may judge: annotators, the tokens they log in with, and their sessions.

A token is 256 random bits, so its plain sha256 is kept: a slow hash such as scrypt protects secrets that can be
guessed, which these cannot, and would let strangers keep the server busy by guessing.
"""

import hashlib
import hmac
import re
import secrets
import sqlite3
from dataclasses import dataclass

from data_store.annotation.book import Book
from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError

SESSION_SECONDS = 12 * 3600.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Annotator:
    """A person who judges; an adjudicator also decides where others disagree. Times are seconds since 1970."""

    name: str
    role: str
    created_at: float
    disabled_at: float | None


def add_annotator(book: Book, name: str, *, adjudicator: bool = False) -> str:
    """Enter a person and give their token, which is shown this once and kept only as its hash.

    Raises InputError for a name that is taken or is not `[a-z0-9][a-z0-9_.-]{0,63}`.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of an annotator: use lower-case letters, digits, '_', '.', '-', at most 64"
        )
    token = secrets.token_urlsafe(32)
    with book.writing() as connection:
        if connection.execute("SELECT 1 FROM annotator WHERE name = ?", (name,)).fetchone():
            raise InputError(f"there is an annotator {name!r} already; take another name, names are never given anew")
        connection.execute(
            "INSERT INTO annotator (name, token_hash, created_at, role) VALUES (?, ?, ?, ?)",
            (name, _hash(token), book.clock(), "adjudicator" if adjudicator else "annotator"),
        )
    return token


def disable_annotator(book: Book, name: str) -> None:
    """End a person's access at once, sessions included; their judgements stay. Raises InputError for unknown names."""
    with book.writing() as connection:
        if connection.execute("SELECT 1 FROM annotator WHERE name = ?", (name,)).fetchone() is None:
            near = did_you_mean(name, (row["name"] for row in connection.execute("SELECT name FROM annotator")))
            raise InputError(f"there is no annotator {name!r}; `{halter('annotators', 'list')}` shows them{near}")
        connection.execute("INSERT OR IGNORE INTO disabled VALUES (?, ?)", (name, book.clock()))
        connection.execute("DELETE FROM lease WHERE name = ?", (name,))


def annotators(book: Book) -> list[Annotator]:
    """All people of the book, by name."""
    with book.reading() as connection:
        return [_annotator(row) for row in connection.execute(f"{_ANNOTATOR} ORDER BY name")]


def log_in(book: Book, token: str) -> str | None:
    """The secret of a new session, or None when no enabled annotator has this token."""
    with book.reading() as connection:
        row = connection.execute(
            "SELECT name, token_hash FROM annotator WHERE token_hash = ? AND name NOT IN (SELECT name FROM disabled)",
            (_hash(token),),
        ).fetchone()
    if row is None or not hmac.compare_digest(row["token_hash"], _hash(token)):
        return None
    secret, now = secrets.token_urlsafe(32), book.clock()
    with book.writing() as connection:
        connection.execute(
            "INSERT INTO session VALUES (?, ?, ?, ?)", (_hash(secret), row["name"], now, now + SESSION_SECONDS)
        )
    return secret


def session_annotator(book: Book, secret: str) -> Annotator | None:
    """Whose session this is; None when it is unknown, over, or the person is disabled."""
    with book.reading() as connection:
        row = connection.execute(
            f"{_ANNOTATOR} JOIN session USING (name) "  # noqa: S608  (our own text)
            "WHERE session_hash = ? AND expires_at > ? AND disabled.at IS NULL "
            "AND session_hash NOT IN (SELECT session_hash FROM session_end)",
            (_hash(secret), book.clock()),
        ).fetchone()
    return _annotator(row) if row else None


def log_out(book: Book, secret: str) -> None:
    """End a session; one that is unknown or has ended is left alone."""
    with book.writing() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO session_end SELECT session_hash, ? FROM session WHERE session_hash = ?",
            (book.clock(), _hash(secret)),
        )


_ANNOTATOR = """
SELECT annotator.name, annotator.role, annotator.created_at, disabled.at AS disabled_at
FROM annotator LEFT JOIN disabled USING (name)"""


def _annotator(row: sqlite3.Row) -> Annotator:
    return Annotator(row["name"], row["role"], row["created_at"], row["disabled_at"])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
