"""Two folders that share a journal on PostgreSQL and their objects, as the stores of two machines do: each has its own
locks, spool and catalog. The objects are one folder here, by a link."""

from pathlib import Path

from data_store.store import Store
from data_store.upkeep.moving_journal import join, move_journal
from tests.data_store.store_bench import Bench
from tests.postgres import Postgres


def two_machines(folder: Path, database: Postgres) -> tuple[Bench, Bench]:
    """The first has moved its journal, the second has joined it."""
    url = database.fresh()
    one = Store.open(folder / "one" / "run").root
    move_journal(Store.open(one), url)
    return Bench(Store.open(one), folder / "work-one"), joined(folder / "two" / "run", one, url, folder / "work-two")


def joined(root: Path, first: Path, url: str, work: Path) -> Bench:
    """A folder that has joined the store at `first`."""
    join(root, url, None)
    (root / "objects").rmdir()
    (root / "objects").symlink_to(first / "objects")
    return Bench(Store.open(root), work)
