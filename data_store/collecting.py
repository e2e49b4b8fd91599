"""Who may remove content, and when: the collector alone, on all machines of a store, while nobody publishes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_store.catalog.catalog import Catalog
from data_store.locks import locked

_LOCK = "gc.lock"


@contextmanager
def collecting_forbidden(root: Path, catalog: Catalog) -> Iterator[None]:
    """Keep the collector out of the store at `root` for the length of the block. Raises StoreError where it is at work
    for long."""
    wait_seconds = catalog.wait_seconds
    with (
        locked(root / _LOCK, exclusive=False, wait_seconds=wait_seconds),
        catalog.journal.others.collecting_forbidden(wait_seconds),
    ):
        yield


@contextmanager
def collecting(root: Path, catalog: Catalog) -> Iterator[Callable[[], None]]:
    """Be the collector: keep everybody else from content for the length of the block. What is given is to be called
    before anything is removed: it raises StoreError once the others are no longer kept out."""
    wait_seconds = catalog.wait_seconds
    with (
        locked(root / _LOCK, exclusive=True, wait_seconds=wait_seconds),
        catalog.journal.others.collecting(wait_seconds) as check_alone,
    ):
        yield check_alone
