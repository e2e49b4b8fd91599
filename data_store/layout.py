"""The folders of a store, and how an empty folder becomes one."""

import json
from pathlib import Path

from data_store.commands import halter
from data_store.encoding import canonical_json
from data_store.errors import InputError, StoreError
from data_store.files import write_durably
from data_store.places import PLACES_FILE

STORE_FORMAT = 1
MARKER = "halter-store.json"
DAMAGED_FOLDER = "damaged"  # where `repair` puts what no backup has, until it is collected
_FOLDERS = ("journal", "spool", "spool/tmp", "spool/refused", "objects", "checkouts", "datasets", "tmp")
_FILES = (
    MARKER,
    PLACES_FILE,
    "catalog.lock",
    "gc.lock",
    "checkouts.lock",
    "catalog.duckdb",
    "catalog.duckdb.wal",
    "annotation.sqlite",
)


def prepare(root: Path) -> None:
    """Make an absent, empty or half-made folder into a store, and look at the marker of one that is there.

    Raises InputError for a folder that holds something else, StoreError for a store of a newer halter.
    """
    marker = root / MARKER
    if not marker.exists():
        _create(root)
    check_marker(marker.read_bytes(), marker)


def check_marker(content: bytes, file: Path) -> None:
    """Look at what a marker says. Raises StoreError for a store of a newer halter, and for a marker that is cut short
    or says something else."""
    try:
        found = json.loads(content)["format"]
        if not isinstance(found, int) or found < 1:
            raise ValueError(f"its format is {found!r}")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        whole = canonical_json({"format": STORE_FORMAT})
        raise StoreError(
            f"{file} is cut short or damaged ({error}); everything else may be sound: take this one file from a backup "
            f"of the store, or write {whole} into it, then look with `{halter('verify')}`"
        ) from None
    if found > STORE_FORMAT:
        raise StoreError(f"{file.parent}: store format {found}, this halter knows {STORE_FORMAT}; upgrade halter")


def _create(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file; give a folder for the store")
    if root.exists():
        foreign = sorted(entry.name for entry in root.iterdir() if entry.name not in (*_FOLDERS, *_FILES))
        if foreign:
            raise InputError(f"{root} is no halter store and holds {', '.join(foreign[:5])}; give an empty folder")
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for lock in ("catalog.lock", "gc.lock"):
        (root / lock).touch()
    # The marker comes last: a creation that was cut short is simply done again.
    write_durably(root / MARKER, canonical_json({"format": STORE_FORMAT}).encode(), root / "tmp")
