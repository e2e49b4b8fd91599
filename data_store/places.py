"""Where the parts of a store are that need not lie in its folder: `places.json`, written by `halter move-store`.

A store without the file has all of itself in its folder.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_store.encoding import canonical_json
from data_store.errors import StoreError
from data_store.files import write_durably

PLACES_FILE = "places.json"


class Places(BaseModel):
    """None: in the folder. No value holds a password; those come from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objects: str | None = None  # s3://bucket/prefix
    journal: str | None = None  # postgresql://host/database
    store: str | None = None  # which store this is; what lies elsewhere bears the same
    cache_gb: float | None = Field(default=None, gt=0)  # what copies of objects elsewhere may take here; None: all
    left: str | None = None  # where the objects lay before and still do, until they are removed there


def read_places(root: Path) -> Places:
    """The places of the store at `root`. Raises StoreError for a file that is damaged or of a newer halter."""
    file = root / PLACES_FILE
    try:
        return Places(**json.loads(file.read_bytes()))
    except FileNotFoundError:
        return Places()
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise StoreError(f"{file} is damaged or of a newer halter ({error}); take it from a backup") from None


def places_number(root: Path) -> tuple[int, int] | None:
    """What changes when places.json of the store at `root` is written; None where there is none."""
    try:
        found = (root / PLACES_FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def write_places(root: Path, places: Places) -> None:
    """Write them durably; they count from the next opening on."""
    write_durably(root / PLACES_FILE, canonical_json(places.model_dump(exclude_none=True)).encode(), root / "tmp")
