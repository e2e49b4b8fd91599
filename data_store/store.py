"""The store: one folder with everything that was made, what made it, and what it says now.

    halter-store.json   which store this is                 journal/, spool/   what happened (the truth)
    objects/            content by its sha256, or copies    catalog.duckdb     the journal as tables
    checkouts/          versions as folders                 places.json        what lies elsewhere
    datasets/           versions as Arrow files             tmp/, *.lock       drafts of files

Steps publish folders, then commit the run in one transaction. All this may be called by many at once, and be killed.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.catalog import events, lineage, query, runs
from data_store.catalog.catalog import Catalog
from data_store.catalog.query_views import ROW_VIEWS
from data_store.collecting import collecting_forbidden
from data_store.commands import halter
from data_store.content.arrow_files import ArrowFiles
from data_store.content.object_places import check_unmoved, objects_of
from data_store.content.publishing import Checkouts, publish_files, publish_rows
from data_store.content.rowsets import ROWS_FILE
from data_store.content.source_hashes import HASHES_FILE, SourceHashes
from data_store.encoding import canonical_json
from data_store.errors import InputError, StoreError, UnwritableError
from data_store.files import remove_stale
from data_store.layout import prepare
from data_store.locks import LOCK_WAIT_SECONDS
from data_store.names import AssetName
from data_store.places import read_places
from data_store.read_only import Scratch
from data_store.records import (
    EndState,
    FinishedRun,
    Head,
    LineageGraph,
    Metric,
    Override,
    Publication,
    RunInput,
    RunOutput,
    RunRecord,
    RunState,
    RunSummary,
    VersionInfo,
    Withdrawal,
)

if TYPE_CHECKING:
    import datasets

_KIND = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class Store:
    """A store that is open. Holds no connection and no lock between calls; use `Store.open`."""

    def __init__(self, root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self.root = root
        self.places = read_places(root)
        self.catalog = Catalog(root, wait_seconds=wait_seconds)
        self.source_hashes = SourceHashes(root / HASHES_FILE)
        self.spare = Scratch() if self.catalog.read_only else None
        self.objects = objects_of(root, self.places, self.spare)
        self.checkouts = Checkouts(root / "checkouts", root / "tmp", self.objects, self.spare)
        self.arrow_files = ArrowFiles(root / "datasets", root / "tmp", self.checkouts, self.spare)

    @classmethod
    def open(cls, root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> "Store":
        """Open the store at `root`; an absent or empty folder becomes one, an older one is brought up to date. One that
        cannot be written to is read as it is.

        Raises InputError for a folder of something else, StoreError for a newer store and for objects out of reach.
        """
        root = root.absolute()
        prepare(root)
        store = cls(root, wait_seconds=wait_seconds)
        store.objects.check()
        with suppress(UnwritableError):  # on a full disk it can be read; who writes hears of it
            store.catalog.settle()
        if store.spare is None:
            remove_stale(root / "tmp")
            store.catalog.journal.clean()
        return store

    # --- content ---------------------------------------------------------------------------------------------------

    def publish(
        self,
        kind: str,
        folder: Path,
        *,
        row_kind: str | None = None,
        parent: str | None = None,
        consume: bool = False,
    ) -> Publication:
        """Put a folder's content into the store, durably; the catalog learns of it by `commit_run`.

        kind: the kind of asset ('model', 'dataset' …), part of the version id. row_kind: the folder holds rows.parquet
        with rows of that kind; rows that the segments of `parent` (a version id) hold are not stored again. consume:
        move the files out of the folder instead of copying them. The same content gives the same version id, however
        often. Raises InputError for an empty folder, links, rows that are not of their kind, an unknown parent.
        """
        if not _KIND.fullmatch(kind):
            raise InputError(f"kind {kind!r} is not a valid name: use 'model' or 'dataset'")
        with self.collecting_forbidden():
            if row_kind is None:
                return publish_files(self.objects, kind, folder, parent, consume=consume)
            segments = [ref for ref in self.version(parent).objects if ref.role == "segment"] if parent else []
            return publish_rows(self.objects, kind, folder, row_kind, parent, segments, self._intact_version)

    def checkout(self, version: str | VersionInfo) -> Path:
        """A read-only folder with the files of a version (its id, or what `version` gave) under their names; row
        versions show rows.parquet, in order of row hash. Raises InputError for an unknown version, StoreError for
        missing or damaged objects and for external sources.
        """
        return self._laid_out(self.version(version) if isinstance(version, str) else version)

    def _laid_out(self, version: VersionInfo) -> Path:
        with self.collecting_forbidden():
            try:
                return self.checkouts.get(version)
            except StoreError as error:
                named = "SELECT DISTINCT asset_id FROM head WHERE version_id = ? ORDER BY asset_id"
                names = [str(name) for (name,) in self.catalog.read(named, [version.version_id])]
                raise StoreError(f"{', '.join(names) or version.kind} {version.version_id[:12]}: {error}") from error

    def rows(self, version_id: str) -> pa.Table:
        """The rows of a version, in order of row hash; raises InputError for a version that holds no rows."""
        version = self._rows_version(version_id)
        with self.collecting_forbidden():
            return pq.read_table(self._laid_out(version) / ROWS_FILE)

    def dataset(self, version_id: str) -> "datasets.Dataset":
        """The rows of a version as a data set mapped into memory, in order of row hash; raises as `rows` does."""
        import datasets

        version = self._rows_version(version_id)
        with self.collecting_forbidden():
            return datasets.Dataset.from_file(str(self.arrow_files.get(version)))

    def _rows_version(self, version_id: str) -> VersionInfo:
        version = self.version(version_id)
        if version.row_kind is None:
            raise InputError(f"version {version_id} holds files, not rows; use its checkout")
        return version

    def version(self, version_id: str) -> VersionInfo:
        """What the catalog knows of a version; raises InputError when that is nothing."""
        with self.catalog.reading() as connection:
            found = runs.read_version(connection, version_id)
        if found is None:
            raise InputError(f"there is no version {version_id!r}; `{halter('status')}` shows the versions there are")
        return found

    def _intact_version(self, version_id: str) -> VersionInfo | None:
        with self.catalog.reading() as connection:
            found = runs.read_version(connection, version_id)
        return found if found and all(self.objects.is_sound(ref.sha256) for ref in found.objects) else None

    # --- runs ------------------------------------------------------------------------------------------------------

    def begin_run(self, run: RunRecord, reads: Collection[str] = ()) -> None:
        """Record that a run has started, so that a crash is visible and the collector leaves the versions that it
        `reads` alone. Raises InputError if it has begun before, or the content of such a version was just removed.
        """
        with self.collecting_forbidden():
            self.catalog.write(events.run_begun(run, reads))

    def commit_run(
        self,
        run: RunRecord,
        inputs: Sequence[RunInput],
        outputs: Mapping[str, RunOutput],
        metrics: Iterable[Metric] = (),
        *,
        reason: str = "made by its step",
    ) -> None:
        """Record a success: run, edges, versions, heads and metrics in one transaction. `outputs` is by role.

        Returns when it is durable and visible. Raises InputError when an input is not in the catalog, an input's
        producer did not write it, or the run has already ended; StoreError when a published object is gone.
        """
        assets = [output.asset for output in outputs.values()]
        if len(set(assets)) < len(assets):
            raise InputError(f"run {run.run_id}: two outputs have the same asset: {', '.join(map(str, assets))}")
        with self.collecting_forbidden():
            self.objects.confirm(ref.sha256 for output in outputs.values() for ref in output.publication.objects)
            self.catalog.write(events.run_succeeded(run, inputs, outputs, metrics, reason))

    def finish_run(self, run_id: str, state: EndState, detail: str, spent: float | None = None) -> None:
        """Record that a run has ended without outputs, having `spent` these processor seconds, where that is known.
        Raises InputError if it never began or has already ended."""
        self.catalog.write(events.run_ended(run_id, state, detail, spent))

    def find_finished(self, fingerprint: str) -> FinishedRun | None:
        """The newest succeeded run with this fingerprint whose output objects are all there."""
        with self.catalog.reading() as connection:
            return runs.read_finished(connection, fingerprint, self.objects.exists)

    def runs(
        self,
        *,
        step: str | None = None,
        part: str | None = None,
        state: RunState | None = None,
        run_id: str | None = None,
    ) -> list[RunSummary]:
        """The runs that match everything given, newest first, each with its state, times and last metrics."""
        wanted = {"run.step": step, "run.part": part, "run_state.state": state, "run.run_id": run_id}
        given = {column: value for column, value in wanted.items() if value is not None}
        if not given:
            return list(self.catalog.ask("runs", lambda connection: runs.read_runs(connection, "TRUE", [])))
        condition = " AND ".join(f"{column} = ?" for column in given)
        with self.catalog.reading() as connection:
            return runs.read_runs(connection, condition, list(given.values()))

    def metrics(self, run_id: str) -> list[Metric]:
        """Every number that a run reported, by name and step."""
        with self.catalog.reading() as connection:
            return runs.read_metrics(connection, run_id)

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """All questions that this thread asks inside the block are answered from the same state of the catalog, opened
        once; writers wait. A write inside it raises RuntimeError."""
        with self.catalog.reading():
            yield

    # --- heads -----------------------------------------------------------------------------------------------------

    def head(self, asset: AssetName) -> Head | None:
        """Where the asset points now."""
        with self.catalog.reading() as connection:
            return runs.read_head(connection, asset)

    def heads(self) -> dict[AssetName, Head]:
        """Where every asset points now."""
        return dict(self.catalog.ask("heads", runs.read_heads))

    def history(self, asset: AssetName) -> list[Head]:
        """Where the asset ever pointed, newest first."""
        with self.catalog.reading() as connection:
            return runs.read_history(connection, asset)

    def move_heads(
        self, run_id: str, heads: Mapping[AssetName, str], reason: str, inputs: Sequence[RunInput] = ()
    ) -> None:
        """Take a finished run up again: point assets to what it wrote. Heads that point there already are left alone.

        inputs: what the run would read today: the same versions, perhaps made by other runs since. Its lineage goes by
        these from now on. Raises InputError when the run has not succeeded, did not write such a version under that
        name, or read other versions.
        """
        present = self.heads()
        moved = {
            asset: version
            for asset, version in heads.items()
            if asset not in present or (present[asset].version_id, present[asset].run_id) != (version, run_id)
        }
        with self.collecting_forbidden():
            self.objects.confirm(ref.sha256 for version in moved.values() for ref in self.version(version).objects)
            with self.catalog.reading() as connection:
                known = runs.read_inputs(connection, run_id) if inputs else []
            renewed = () if set(inputs) == set(known) else inputs
            if moved or renewed:
                self.catalog.write(events.heads_moved(run_id, moved, reason, renewed))

    # --- questions -------------------------------------------------------------------------------------------------

    def lineage(self, of: AssetName | str) -> LineageGraph:
        """What led to an asset's head, or to a version (by id): all runs before it with their edges."""
        with self.catalog.reading() as connection:
            return lineage.ancestors(connection, lineage.makers(connection, of))

    def descendants(self, of: AssetName | str) -> LineageGraph:
        """All that was built on an asset (in any of its versions) or on a version (under any name)."""
        with self.catalog.reading() as connection:
            return lineage.descendants(connection, lineage.users(connection, of))

    def stale(
        self, changed_runs: Collection[str] = (), looked_at: Collection[AssetName] = ()
    ) -> Mapping[AssetName, str]:
        """The heads that are out of date, with the reason: the run behind them read a version that is no longer the
        head of its asset, or it is in `changed_runs` (the caller knows whose step or config changed), or it read an
        asset that is itself stale. `looked_at`: sources that the caller has compared with what they are now, whatever
        was last registered of them.
        """
        with self.catalog.reading() as connection:
            return lineage.stale(connection, changed_runs, looked_at)

    def query(self, sql: str, *, seconds: float = query.QUERY_SECONDS, limit: int | None = None) -> pa.Table:
        """The answer to one SELECT of the user over the views of `query_views.py` and the rows of current versions, at
        most its first `limit` rows.

        Raises InputError for anything that is not a SELECT, reads a file, or takes longer than `seconds`.
        """
        views = {ROW_VIEWS[view]: view for view in query.row_views_in(sql)}
        files: dict[str, list[tuple[AssetName, str, Path]]] = {view: [] for view in views.values()}
        with self.catalog.reading() as connection:
            tables = query.copy_tables(connection)
            heads = runs.read_heads(connection).values() if files else ()
            versions = [(head.asset, runs.read_version(connection, head.version_id)) for head in heads]
        with self.collecting_forbidden():
            for asset, version in versions:
                if version and version.row_kind in views:
                    path = self.checkouts.get(version) / ROWS_FILE
                    files[views[version.row_kind]].append((asset, version.version_id, path))
            return query.run_sql(sql, tables, files, seconds=seconds, limit=limit)

    # --- settings by hand ------------------------------------------------------------------------------------------

    def overrides(self) -> list[Override]:
        """The config values that hold by hand today."""
        return list(self.catalog.ask("overrides", runs.read_overrides))

    def set_override(self, part: str, step: str, key: str, value: Any) -> None:
        """Set a config value (any JSON value) for one step of one part; the last one set wins."""
        try:
            value_json = canonical_json(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{key}: the value must be plain JSON ({error})") from None
        self.catalog.write(events.override_set(part, step, key, value_json))

    def unset_override(self, part: str, step: str, key: str) -> None:
        """Take a value set by hand back."""
        self.catalog.write(events.override_set(part, step, key, None))

    def withdrawals(self) -> list[Withdrawal]:
        """Whose rows are withdrawn today, oldest first."""
        return list(self.catalog.ask("withdrawals", runs.read_withdrawals))

    # --- upkeep ----------------------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the catalog anew from the journal."""
        self.catalog.rebuild()

    @contextmanager
    def collecting_forbidden(self) -> Iterator[None]:
        """Keep the garbage collector out for the length of the block, on all machines of the store."""
        with collecting_forbidden(self.root, self.catalog):
            check_unmoved(self.root, self.places)
            yield
