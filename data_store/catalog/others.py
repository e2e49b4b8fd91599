"""What keeps processes of other machines apart, where the journal lies on a server that they share.

On one machine the locks in the store's folder do that (`NobodyElse`). Across machines the same locks are taken on the
server besides, as advisory locks of one session: the collector is kept out while content is written or read, one
machine at a time works on a step, and a run is at work as long as somebody holds the lock of its step, wherever that
is. A session that is lost, by a server that was restarted for example, takes its locks with it: the next one takes them
again, and whoever kept the collector out hears of a collector that got in meanwhile.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from data_store.catalog.postgres import Address, Server
from data_store.commands import halter
from data_store.errors import StoreError

if TYPE_CHECKING:
    import psycopg

_BEAT_SECONDS = 5.0
_MOST_PAUSE_SECONDS = 0.1
_COLLECTOR = "collector"
_HELD = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = %s
"""
_OTHER_CONFIGS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND objsubid = 2 AND classid::bigint = %s AND objid::bigint <> %s
"""
_BEGIN_COLLECTION = "UPDATE store SET collections = collections + 1"


class NobodyElse:
    """All processes are of this machine: the locks in the folder are enough."""

    @contextmanager
    def collecting_forbidden(self, wait_seconds: float) -> Iterator[None]:
        """Keep the collectors of other machines out."""
        yield

    @contextmanager
    def collecting(self, wait_seconds: float) -> Iterator[Callable[[], None]]:
        """Be the only collector, with nobody at work on content; what is given raises StoreError once that is lost."""
        yield lambda: None

    @contextmanager
    def alone(self, what: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Be the only one at work on `what`; who has to wait for another machine says so by `on_wait`."""
        yield

    def is_held(self, what: str) -> bool:
        """Whether a process of some machine is `alone` with this."""
        return False

    @contextmanager
    def of_one_config(self, config: str) -> Iterator[bool]:
        """Whether no machine is at work with another config; none begins meanwhile."""
        yield True


@dataclass
class _Held:
    """What a session holds, key → whether it is shared, and how many sessions there have been."""

    check: Callable[["psycopg.Connection[Any]"], None]
    locks: dict[int, bool] = field(default_factory=dict)
    sessions: int = 0

    def connected(self, connection: "psycopg.Connection[Any]") -> None:
        """A new session takes again what the one before held. Where somebody else was faster, theirs it is."""
        self.check(connection)
        self.sessions += 1
        for key, shared in self.locks.items():
            _try_lock(connection, key, shared=shared)


class OtherMachines(NobodyElse):
    """Locks on the server that holds the journal of the store `store_id`."""

    def __init__(self, address: Address, store_id: str, check: Callable[["psycopg.Connection[Any]"], None]) -> None:
        self._store_id, self._check = store_id, check
        self._held = _Held(check)
        self.server = Server(address, self._held.connected)
        self._guard = threading.RLock()
        self._pid = os.getpid()
        self._keeping_out = 0
        self._collections = 0
        self._kept_out_since = 0

    @contextmanager
    def collecting_forbidden(self, wait_seconds: float) -> Iterator[None]:
        """Raises StoreError where a collector is at work for longer, and at the end of the block where one got in."""
        key = self._key(_COLLECTOR)
        with self._guard:
            self._forget_the_parents()
            if not self._keeping_out:
                self._take(key, shared=True, wait_seconds=wait_seconds)
                self._kept_out_since, self._collections = self._held.sessions, self._count_collections(wait_seconds)
            self._keeping_out += 1
        try:
            yield
        finally:
            with self._guard:
                self._keeping_out -= 1
                if not self._keeping_out:
                    self._give_back(key, shared=True)
                    if self._held.sessions != self._kept_out_since or self.server.is_closed:
                        self._check_nobody_collected(wait_seconds)

    @contextmanager
    def collecting(self, wait_seconds: float) -> Iterator[Callable[[], None]]:
        """Raises StoreError where somebody is at work on content for longer."""
        key = self._key(_COLLECTOR)
        with self._guard:
            self._forget_the_parents()
            self._take(key, shared=False, wait_seconds=wait_seconds)
        try:
            self.server.ask(lambda connection: connection.execute(_BEGIN_COLLECTION), wait_seconds)
            since = self._held.sessions

            def still() -> None:
                with self.server.session() as connection:
                    if self._held.sessions != since:
                        raise StoreError(
                            f"the connection to {self.server.address} was lost while content was being removed: "
                            "nothing more was removed; do it again"
                        )
                    connection.execute("SELECT 1")

            yield still
        finally:
            with self._guard:
                self._give_back(key, shared=False)

    @contextmanager
    def alone(self, what: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Waits as long as it takes, like the lock in the folder."""
        key, ended = self._key(what), threading.Event()
        with self._guard:
            self._forget_the_parents()
        if not self._try(key, shared=False):
            on_wait()
            while not self._try(key, shared=False):
                time.sleep(_MOST_PAUSE_SECONDS)
        threading.Thread(target=self._beat, args=(ended,), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            with self._guard:
                self._give_back(key, shared=False)

    def is_held(self, what: str) -> bool:
        """By any session, this one's too."""
        key = self._key(what)
        rows = self.server.ask(lambda connection: connection.execute(_HELD, [key]).fetchall(), 0.0)
        return bool(rows[0][0])

    @contextmanager
    def of_one_config(self, config: str) -> Iterator[bool]:
        """Two that begin at the same moment with different configs may both hear that they are not alone."""
        mine = (_number(self._store_id) & 0x7FFFFFFF, _number(config) & 0x7FFFFFFF)
        held = Server(self.server.address, self._check)
        try:

            def take(connection: "psycopg.Connection[Any]") -> bool:
                connection.execute("SELECT pg_advisory_lock_shared(%s::int, %s::int)", mine)
                return not int(connection.execute(_OTHER_CONFIGS, mine).fetchall()[0][0])

            yield held.ask(take, 0.0)
        finally:
            held.close()

    def _key(self, what: str) -> int:
        return lock_key(self._store_id, what)

    def _take(self, key: int, *, shared: bool, wait_seconds: float) -> None:
        """Polled, as the locks in the folder are: who waits in a queue of the server would hold up those behind."""
        deadline, pause = time.monotonic() + wait_seconds, 0.002
        while not self._try(key, shared=shared):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{self.server.address}: processes of another machine have held the collector's lock for "
                    f"{wait_seconds:g} s; wait for the end of what they do, then try again"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _MOST_PAUSE_SECONDS)

    def _try(self, key: int, *, shared: bool) -> bool:
        def question(connection: "psycopg.Connection[Any]") -> bool:
            return _try_lock(connection, key, shared=shared)

        with self._guard:
            got = bool(self.server.ask(question, 0.0 if key in self._held.locks else _BEAT_SECONDS))
            if got:
                self._held.locks[key] = shared
            return got

    def _give_back(self, key: int, *, shared: bool) -> None:
        del self._held.locks[key]
        sql = "SELECT pg_advisory_unlock_shared(%s)" if shared else "SELECT pg_advisory_unlock(%s)"
        with suppress(StoreError), self.server.session() as connection:  # a lost session holds nothing
            connection.execute(sql, [key])

    def _count_collections(self, wait_seconds: float) -> int:
        sql = "SELECT collections FROM store"
        return int(self.server.ask(lambda connection: connection.execute(sql).fetchall(), wait_seconds)[0][0])

    def _check_nobody_collected(self, wait_seconds: float) -> None:
        if self._count_collections(wait_seconds) != self._collections:
            raise StoreError(
                f"the connection to {self.server.address} was lost, and a collector ran on another machine meanwhile: "
                f"what was just written may lack content; do it again, then look with `{halter('verify')}`"
            )

    def _forget_the_parents(self) -> None:
        """In a forked child: the locks are its parent's."""
        if self._pid != os.getpid():
            self._pid, self._keeping_out = os.getpid(), 0
            self._held.locks.clear()

    def _beat(self, ended: threading.Event) -> None:
        """Notice a lost session soon, so that the locks are taken again."""
        while not ended.wait(_BEAT_SECONDS):
            with suppress(StoreError):
                self.server.ask(lambda connection: connection.execute("SELECT 1"), 0.0)


def _try_lock(connection: "psycopg.Connection[Any]", key: int, *, shared: bool) -> bool:
    sql = "SELECT pg_try_advisory_lock_shared(%s)" if shared else "SELECT pg_try_advisory_lock(%s)"
    return bool(connection.execute(sql, [key]).fetchall()[0][0])


def lock_key(store_id: str, what: str) -> int:
    """The number of a lock of one store."""
    return _number(f"{store_id}:{what}")


def _number(text: str) -> int:
    """A number of 64 bits for a lock, the same on every machine."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big", signed=True)
