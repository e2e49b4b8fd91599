"""Turning a folder into content of the store, and a version of the store into a folder again."""

import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from data_store.content.objects import Objects, content_of, same_file
from data_store.content.row_hashing import row_hashes, set_hash
from data_store.content.rowsets import ROWS_FILE, ordered_rows, rows_hash, sort_by_hash, store_rows, write_rows
from data_store.content.sorted_rows import SortedRows
from data_store.content.source_hashes import OF_THIS_PROCESS, SourceHashes
from data_store.encoding import content_hash
from data_store.errors import InputError, StoreError
from data_store.files import remove_tree, sync_folder
from data_store.locks import locked
from data_store.read_only import Scratch
from data_store.records import ObjectRef, Publication, VersionInfo
from data_store.row_checks import conform
from data_store.rows import row_kind

FILES_SCHEMA = content_hash("files")
_VERSION = re.compile(r"[0-9a-f]{64}")
_set_hashes: dict[tuple[int, int, int, int], str] = {}


def files_in(folder: Path) -> list[tuple[str, Path]]:
    """(path inside the folder with '/', real path) of every file, sorted; raises InputError for links and odd files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the version's files")
    found: list[tuple[str, Path]] = []
    for base, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(base, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise InputError(f"{path}: a version holds plain files only; replace the link by what it points to")
        found += [(Path(base, name).relative_to(folder).as_posix(), Path(base, name)) for name in names]
    if not found:
        raise InputError(f"{folder}: the folder is empty; a version holds at least one file")
    return sorted(found)


def version_id(kind: str, schema_hash: str, hash_of_set: str) -> str:
    """The id of a version: a content hash, the same wherever and whenever it is made."""
    return content_hash([kind, schema_hash, hash_of_set])


def id_of(version: str) -> str:
    """The id of a version as part of a path: raises StoreError for what is no hash, whoever wrote the journal."""
    if not _VERSION.fullmatch(version):
        raise StoreError(f"{version[:80]!r} is no version id: 64 hexadecimal digits")
    return version


def files_hash(refs: Iterable[ObjectRef]) -> str:
    """The hash of a set of files: over their (path, sha256), sorted by path."""
    return content_hash(sorted([ref.path, ref.sha256] for ref in refs))


def publish_files(objects: Objects, kind: str, folder: Path, parent: str | None, *, consume: bool) -> Publication:
    """Store a folder's files under their names."""
    refs: list[ObjectRef] = []
    new_bytes = 0
    for name, path in files_in(folder):
        sha256, size, new = objects.put_file(path, consume=consume)
        refs.append(ObjectRef(name, sha256, size, "file"))
        new_bytes += size if new else 0
    return _publication(kind, FILES_SCHEMA, files_hash(refs), refs, new_bytes, parent)


def files_publication(kind: str, refs: Sequence[ObjectRef], new_bytes: int) -> Publication:
    """What `publish_files` gives for files that are stored already."""
    return _publication(kind, FILES_SCHEMA, files_hash(refs), refs, new_bytes, None)


def publish_rows(
    objects: Objects,
    kind: str,
    folder: Path,
    rows_of: str,
    parent: str | None,
    parent_segments: Sequence[ObjectRef],
    find: Callable[[str], VersionInfo | None],
) -> Publication:
    """Store the rows of a folder's rows.parquet, without those that the parent's segments hold.

    `find` gives a version that is whole in the store already, by its id: then nothing is stored at all.
    """
    chosen = row_kind(rows_of)
    with closing(SortedRows(objects.temporary, chosen.schema)) as rows:
        sort_by_hash(folder, chosen, rows)
        hashes = rows.hashes()
        whole = set_hash(hashes)
        known = find(version_id(kind, chosen.schema_hash, whole))
        refs, new_bytes = (known.objects, 0) if known else store_rows(objects, rows, hashes, parent_segments)
    return _publication(kind, chosen.schema_hash, whole, refs, new_bytes, parent, rows_of, len(hashes))


def rows_version(kind: str, table: pa.Table, rows_of: str) -> str:
    """The id of the version that these rows would be; nothing is stored."""
    chosen = row_kind(rows_of)
    hashes = row_hashes(conform(table, chosen, rows_of))
    return version_id(kind, chosen.schema_hash, set_hash(hashes))


def describe_source(
    kind: str, path: Path, hashes: SourceHashes = OF_THIS_PROCESS, *, name: str | None = None
) -> Publication:
    """The content of a file or folder outside the store, whose bytes stay where they are. `hashes`: those that are
    known. `name`: of a file, where it is not to be the one it has. Raises InputError where there is none, or it holds
    links."""
    if path.is_file():
        named = [(name or path.name, path)]
    elif path.is_dir():
        named = files_in(path)
    else:
        raise InputError(f"{path}: no such file or folder; correct the path in the config")
    refs = [ObjectRef(name, hashes.sha256(file), file.stat().st_size, "external") for name, file in named]
    return _publication(kind, FILES_SCHEMA, files_hash(refs), refs, 0, None)


def _publication(
    kind: str,
    schema_hash: str,
    hash_of_set: str,
    refs: Sequence[ObjectRef],
    new_bytes: int,
    parent: str | None,
    rows_of: str | None = None,
    n_rows: int | None = None,
) -> Publication:
    return Publication(
        version_id=version_id(kind, schema_hash, hash_of_set),
        kind=kind,
        set_hash=hash_of_set,
        schema_hash=schema_hash,
        row_kind=rows_of,
        n_rows=n_rows,
        bytes=sum(ref.bytes for ref in refs),
        new_bytes=new_bytes,
        parent=parent,
        objects=tuple(refs),
    )


def _set_hash_of(path: Path) -> str:
    """The hash of the set of rows in a Parquet file, read once per process as `content_of` does."""
    key = same_file(path)
    if key not in _set_hashes:
        _set_hashes[key] = rows_hash(path)
    return _set_hashes[key]


def _inside(path: str, version: str) -> str:
    """The path of a file of a version, which must not lead out of its folder, whoever wrote the journal."""
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise StoreError(f"version {version} has a file {path!r}, which would lie outside of it; it was not laid out")
    return path


class Checkouts:
    """Read-only folders of versions, built once and kept until they are evicted."""

    def __init__(self, folder: Path, temporary: Path, objects: Objects, spare: Scratch | None = None) -> None:
        """`spare`: where those are built that `folder` lacks, for a store that cannot be written to."""
        self.folder = folder
        self.temporary = temporary
        self.objects = objects
        self.spare = spare

    def path(self, version: str) -> Path:
        """Where the version's folder lies once it is built."""
        return self.folder / version[:2] / id_of(version)

    def get(self, version: VersionInfo) -> Path:
        """The version's folder, built if need be; safe with concurrent callers: it appears whole or not at all.

        What it holds is read and compared, once per process. Raises StoreError where an object is missing or damaged.
        """
        target = self.path(version.version_id)
        is_there = target.is_dir()
        is_sound = is_there and self._is_sound(version, target)
        if self.spare is not None:
            spare = Checkouts(self.spare.folder("checkouts"), self.spare.folder("tmp"), self.objects)
            return target if is_sound else spare.get(version)
        if not is_there:
            self._lay_out(version, target)
        elif not is_sound:
            self._replace(version, target)
        os.utime(target)  # eviction goes by the last use
        return target

    def _replace(self, version: VersionInfo, target: Path) -> None:
        """Lay a damaged folder out anew. One at a time: else a second one that found the damage would take away what
        the first has laid out, and given to somebody who reads it."""
        with locked(self.folder.with_name("checkouts.lock"), exclusive=True):
            if not self._is_sound(version, target):
                self.evict(version.version_id)
                self._lay_out(version, target)

    def _lay_out(self, version: VersionInfo, target: Path) -> None:
        if any(ref.role == "external" for ref in version.objects):
            raise StoreError(
                f"version {version.version_id} is an external source, its bytes are not in the store; "
                f"read it where it lies"
            )
        self._build(version, target)

    @staticmethod
    def _is_sound(version: VersionInfo, folder: Path) -> bool:
        """Whether the folder's files are what the version says."""
        try:
            if version.row_kind is None:
                return all(content_of(folder / ref.path) == ref.sha256 for ref in version.objects)
            return _set_hash_of(folder / ROWS_FILE) == version.set_hash
        except (OSError, pa.ArrowException):
            return False

    def _build(self, version: VersionInfo, target: Path) -> None:
        draft = self.temporary / f"{uuid.uuid4().hex}.checkout"
        draft.mkdir()
        try:
            if version.row_kind is None:
                for ref in version.objects:
                    place = draft / _inside(ref.path, version.version_id)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    self.objects.link(ref.sha256, place)
            else:
                write_rows(ordered_rows(self.objects, version.objects), draft / ROWS_FILE)
                (draft / ROWS_FILE).chmod(0o444)
            for base, folders, _ in os.walk(draft):
                for name in folders:
                    Path(base, name).chmod(0o555)
            target.parent.mkdir(exist_ok=True)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise somebody else was quicker, with the same content
                    raise
            else:
                target.chmod(0o555)
                sync_folder(target.parent)
                if version.row_kind is not None:  # of segments that were just checked
                    _set_hashes[same_file(target / ROWS_FILE)] = version.set_hash
        finally:
            if draft.exists():
                remove_tree(draft)

    def evict(self, version: str) -> None:
        """Remove a version's folder; the version itself stays and can be checked out again."""
        target, going = self.path(version), self.temporary / f"{uuid.uuid4().hex}.checkout"
        try:
            target.chmod(0o755)  # else it could not be moved
            target.rename(going)
        except FileNotFoundError:
            return  # somebody else has removed it
        remove_tree(going)

    def bytes(self, version: str) -> int:
        """What the disk gets back when the folder goes: links to objects do not count."""
        stats = [Path(base, name).stat() for base, _, names in os.walk(self.path(version)) for name in names]
        return sum(stat.st_size for stat in stats if stat.st_nlink == 1)

    def cached(self) -> list[tuple[str, float]]:
        """(version id, last use in seconds since the epoch) of the folders there are."""
        return [
            (entry.name, entry.stat().st_mtime)
            for fan in self.folder.iterdir()
            for entry in fan.iterdir()
            if _VERSION.fullmatch(entry.name)
        ]
