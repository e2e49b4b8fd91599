"""Opening the catalog's file: whether somebody else holds it, or it is damaged."""

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb

from data_store.catalog.projection import CONFIG
from data_store.commands import halter
from data_store.damage import DamagedError, means_damage
from data_store.errors import StoreError

_OTHER_PROGRAM_SECONDS = 10.0
_HELD = 3
# In a process of its own: closing any descriptor of the file would drop the lock that DuckDB holds for this process.
_PROBE = f"""
import fcntl, sys
with open(sys.argv[1], sys.argv[2]) as file:
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if sys.argv[2] == "rb" else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        sys.exit({_HELD})
"""


def connect(file: Path, *, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
    """Open the file; waits for another program that holds it, for a while.

    Raises DamagedError where it is damaged as far as opening tells, StoreError where it cannot be opened otherwise.
    """
    deadline = time.monotonic() + min(_OTHER_PROGRAM_SECONDS, wait_seconds)
    while True:
        try:
            return duckdb.connect(str(file), read_only=read_only, config=CONFIG)
        except duckdb.Error as error:
            if not means_damage(error) or not os.access(file, os.R_OK if read_only else os.R_OK | os.W_OK):
                raise StoreError(f"{file} cannot be opened: {error}") from error
            if not _is_held(file, read_only=read_only):
                raise DamagedError(f"{file} is damaged: {error}") from error
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{file} is open in another program; close it and use `{halter('query')}` ({error})"
                ) from None
        time.sleep(0.05)


def _is_held(file: Path, *, read_only: bool) -> bool:
    """Whether another process holds a lock on the file that keeps DuckDB from opening it."""
    words = [sys.executable, "-I", "-S", "-c", _PROBE, str(file), "rb" if read_only else "r+b"]
    return subprocess.run(words, capture_output=True).returncode == _HELD
