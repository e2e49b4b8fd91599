"""Where the parts of a store are that need not lie in its folder: `places.json`, written by `halter move-store`.

A store without the file has all of itself in its folder.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from data_store.encoding import canonical_json
from data_store.errors import StoreError
from data_store.files import write_durably

PLACES_FILE = "places.json"


class Places(BaseModel):
    """None: in the folder. No value holds a password; those come from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objects: str | None = None  # s3://bucket/prefix
    journal: str | None = None  # postgresql://host/database


def read_places(root: Path) -> Places:
    """The places of the store at `root`. Raises StoreError for a file that is damaged or of a newer halter."""
    file = root / PLACES_FILE
    try:
        return Places(**json.loads(file.read_bytes()))
    except FileNotFoundError:
        return Places()
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise StoreError(f"{file} is damaged or of a newer halter ({error}); take it from a backup") from None


def write_places(root: Path, places: Places) -> None:
    """Write them durably; they count from the next opening on."""
    write_durably(root / PLACES_FILE, canonical_json(places.model_dump(exclude_none=True)).encode(), root / "tmp")
