"""What came back of a step, laid where a step that was done here leaves it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from data_store.files import atomic_write
from tasks.engine.remote.messages import Made
from tasks.engine.step import NOTES


def lay_down(made: Made, folder: Path, notes: Sequence[str]) -> None:
    """Notes, behind them our own `notes`, and tables into the step's folder; outputs of an earlier attempt go."""
    for name in ("out", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
    atomic_write(folder / NOTES, "".join(f"{json.dumps(note)}\n" for note in (*made.notes, *notes)))
    (folder / "tables").mkdir()
    for key, rows in made.tables.items():
        atomic_write(folder / "tables" / f"{key}.json", json.dumps(rows))
