"""Connections to PostgreSQL: where the server is, when it is asked again, and what to tell a person where it does not
answer.

The address is a URL, `postgresql://host/database`, with what libpq knows behind `?`, and `schema` besides. It holds no
password: libpq takes that from PGPASSWORD, PGPASSFILE or a service file, on each machine for itself.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from data_store.errors import InputError, StoreError, UnreachableError

if TYPE_CHECKING:
    import psycopg

DEFAULT_SCHEMA = "halter"
PATIENCE_SECONDS = 30.0  # a server that was killed is back in about three
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SECRET = re.compile(r"pass", re.IGNORECASE)
_NAMED_BY_A_FILE = ("passfile",)
# Of a session: what a server does by itself to one that no longer speaks, so that nothing waits for it for ever.
_IDLE_IN_TRANSACTION = "30s"
_SETTINGS: dict[str, Any] = {
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "halter",
}
# What the next try will not mend. A refused connection bears no code, so its words are looked at.
_FINAL_WORDS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
_PASSING_CLASSES = ("08", "57", "53", "25", "40", "55")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Address:
    """Where a journal lies: what libpq is told, and the schema there."""

    conninfo: str
    schema: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises InputError for a URL of another kind, one with a password, and a schema of an odd name."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise InputError(f"{url!r} is no address of PostgreSQL: give postgresql://host/database")
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        secret = [key for key in given if _SECRET.search(key) and key not in _NAMED_BY_A_FILE]
        if parts.password is not None or secret:
            raise InputError(
                f"the address of the journal on {parts.hostname or 'this machine'} holds a password, and it would lie "
                "in a file: leave it out, and give it by PGPASSWORD, PGPASSFILE or a service file on each machine"
            )
        if not parts.path.strip("/") and "dbname" not in given and "service" not in given:
            raise InputError(f"{url!r} names no database: give postgresql://host/database")
        schema = given.pop("schema", DEFAULT_SCHEMA)
        if not _SCHEMA.fullmatch(schema):
            raise InputError(f"schema={schema!r} cannot be the name of a schema: use a-z, 0-9 and '_'")
        plain = urlunsplit((*parts[:3], urlencode(given, safe="/"), ""))
        return cls(plain, schema)

    def __str__(self) -> str:
        return f"{self.conninfo} (schema {self.schema})"


class Server:
    """A PostgreSQL server as one process sees it: one connection, made when it is asked for, used by one thread at a
    time, and never by a forked child of its process."""

    def __init__(self, address: Address, on_connect: Callable[["psycopg.Connection[Any]"], None]) -> None:
        self.address = address
        self._on_connect = on_connect
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._pid = os.getpid()

    @contextmanager
    def session(self) -> Iterator["psycopg.Connection[Any]"]:
        """The connection for the length of the block. Whatever the block raises ends it, so that nothing that was begun
        is left; raises UnreachableError where the server is the reason."""
        with self._lock:
            if self._pid != os.getpid():  # the parent's, which goes on using it
                self._connection, self._pid = None, os.getpid()
            try:
                with _in_words(self.address):
                    if self._connection is None or self._connection.closed:
                        self._connection = self._connect()
                    yield self._connection
            except BaseException:
                self.close()
                raise

    def ask(self, question: Callable[["psycopg.Connection[Any]"], _Answer], wait_seconds: float) -> _Answer:
        """The answer to what may be asked twice; a server that does not answer is asked again for a while."""
        for _ in tries(wait_seconds):
            try:
                with self.session() as connection:
                    return question(connection)
            except UnreachableError as error:
                if not error.is_passing:
                    raise
                last = error
        raise last

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection now."""
        return self._connection is None or self._connection.closed

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                with suppress(Exception):
                    self._connection.close()
            self._connection = None

    def _connect(self) -> "psycopg.Connection[Any]":
        connection: psycopg.Connection[Any] = driver().connect(self.address.conninfo, autocommit=True, **_SETTINGS)
        try:
            connection.execute(
                "SELECT set_config('search_path', %s, false), "
                "set_config('idle_in_transaction_session_timeout', %s, false)",
                [self.address.schema, _IDLE_IN_TRANSACTION],
            )
            self._on_connect(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def driver() -> Any:
    """The module psycopg. Raises StoreError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise StoreError(f"a journal on PostgreSQL needs psycopg ({error}): pip install 'halter[postgres]'") from None
    return psycopg


def tries(wait_seconds: float) -> Iterator[int]:
    """Numbers of tries: one at least, then more with growing pauses until the time is over."""
    deadline, pause, number = time.monotonic() + min(wait_seconds, PATIENCE_SECONDS), 0.05, 0
    while True:
        yield number
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause, number = min(pause * 2, 1.0), number + 1


@contextmanager
def _in_words(address: Address) -> Iterator[None]:
    """What psycopg raises as what the store raises."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        state, text = error.sqlstate, " ".join(str(error).split())
        if state is None:
            passing = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not any(
                words in text for words in _FINAL_WORDS
            )
        else:
            passing = state.startswith(_PASSING_CLASSES)
        raise UnreachableError(f"the journal on {address} does not answer: {text}", is_passing=passing) from error
