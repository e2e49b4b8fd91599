"""Which journal a store has: the segments in its folder, or a table elsewhere."""

from pathlib import Path

from data_store.catalog.journal import Journal
from data_store.errors import StoreError
from data_store.places import PLACES_FILE, read_places


def journal_of(root: Path, wait_seconds: float) -> Journal:
    """The journal of the store at `root`; nothing is asked of a server yet. Raises StoreError for a places.json that
    is damaged, InputError for one that names no place a journal can have."""
    places = read_places(root)
    if places.journal is None:
        return Journal(root)
    if places.store is None:
        raise StoreError(f"{root / PLACES_FILE}: journal is given without store: take the file from another machine")
    from data_store.catalog.journal_table import TableJournal

    return TableJournal(root, places.journal, places.store, wait_seconds)
