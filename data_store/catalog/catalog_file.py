"""The file of the catalog: opened, written for a term, and made anew from the journal.

The caller holds the lock on the sidecar file: exclusively for whatever writes.
"""

import uuid
from pathlib import Path

import duckdb

from data_store.catalog.database import connect
from data_store.catalog.journal import START, Journal
from data_store.catalog.projection import build, migrations_in, migrations_wanted, tail
from data_store.catalog.term import lead
from data_store.damage import DamagedError, ctrl_c_heeded, means_damage
from data_store.errors import StoreError, UnwritableError
from data_store.files import sync_folder
from data_store.places import places_number, read_places


class CatalogFile:
    """`catalog.duckdb` of the store at `root`, a projection of its journal."""

    def __init__(self, root: Path, journal: Journal, wait_seconds: float) -> None:
        self.root, self.journal, self.wait_seconds = root, journal, wait_seconds
        self.path = root / "catalog.duckdb"
        self._places, self._places_number = read_places(root), places_number(root)

    def number(self) -> int:
        """A number that changes when the file is replaced; 0 where there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        """A connection to the file as it is; raises what `database.connect` does."""
        self._check_places()
        return connect(self.path, read_only=read_only, wait_seconds=self.wait_seconds)

    def _check_places(self) -> None:
        """Raises StoreError where the journal may be another one than this process knows."""
        number = places_number(self.root)
        if number == self._places_number:
            return
        now = read_places(self.root)
        if (now.journal, now.objects) != (self._places.journal, self._places.objects):
            raise StoreError(f"{self.root}: somebody has moved parts of the store meanwhile; start this again")
        self._places_number = number

    def _open_for_writing(self) -> duckdb.DuckDBPyConnection:
        """A connection to a catalog of today's schema; one that is missing or older is rebuilt first."""
        if not self.path.exists():
            self._rebuild()
        connection = self.connect(read_only=False)
        try:
            found, wanted = migrations_in(connection), migrations_wanted()
        except BaseException:
            connection.close()
            raise
        if len(found) > len(wanted):
            connection.close()
            raise StoreError(
                f"{self.path} has schema {len(found)}, this halter knows {len(wanted)}: a newer halter wrote it; "
                f"upgrade halter or open another store"
            )
        if found != wanted:
            connection.close()
            self._rebuild()
            connection = self.connect(read_only=False)
        return connection

    def _known_tail(self) -> tuple[int, str]:
        """What the present file has read of the journal: a new one must not know less."""
        if not self.path.exists():
            return 0, START
        try:
            connection = self.connect(read_only=True)
        except DamagedError:
            return 0, START
        try:
            return tail(connection)
        except duckdb.Error:  # the file was never laid out, or just this cannot be read
            return 0, START
        finally:
            connection.close()

    def drain(self, *, crowded: bool = False) -> None:
        """Lead for a term; a catalog that shows itself damaged is made anew first. Raises UnwritableError."""
        try:
            try:
                self._lead(crowded)
            except (duckdb.Error, DamagedError) as error:
                if not (isinstance(error, DamagedError) or means_damage(error)):
                    raise
                self._rebuild()  # no room may look the same; then there is none for this either
                self._lead(crowded)
        except (duckdb.Error, DamagedError, OSError) as error:
            if isinstance(error, duckdb.ProgrammingError):
                raise  # a fault of ours, such as a migration that does not run
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> UnwritableError:
        return UnwritableError(f"{self.root} cannot be written: {error}")

    def _lead(self, crowded: bool) -> None:
        connection = self._open_for_writing()
        try:
            with ctrl_c_heeded():
                lead(connection, self.journal, crowded=crowded)
        finally:
            connection.close()

    def replace(self) -> None:
        """`_rebuild`, with the error that says that there is no room."""
        try:
            self._rebuild()
        except (duckdb.Error, OSError) as error:
            if isinstance(error, duckdb.ProgrammingError):
                raise
            raise self._unwritable(error) from error

    def _rebuild(self) -> None:
        draft = self.root / "tmp" / f"{uuid.uuid4().hex}.duckdb"
        self._check_places()
        try:
            with ctrl_c_heeded():
                build(draft, self.journal.whole(self._known_tail()))
            # First the old ones away, then the new one in: an old write-ahead log must never meet the new file.
            self.path.unlink(missing_ok=True)
            self.path.with_name("catalog.duckdb.wal").unlink(missing_ok=True)
            draft.rename(self.path)
        finally:
            draft.unlink(missing_ok=True)
            draft.with_name(f"{draft.name}.wal").unlink(missing_ok=True)
        sync_folder(self.root)
