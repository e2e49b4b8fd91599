"""What is remembered of kept documents: a table on the disk, of which a bounded part is held in memory."""

import sqlite3
from pathlib import Path


def open_index(path: Path, memory_bytes: int) -> sqlite3.Connection:
    """A new SQLite file for one process and one run: nothing in it has to outlive a crash. Closing it keeps nothing."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in (
        "journal_mode = OFF",
        "synchronous = OFF",
        "locking_mode = EXCLUSIVE",
        f"cache_size = {-(memory_bytes // 1024)}",
    ):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("BEGIN")
    return connection
