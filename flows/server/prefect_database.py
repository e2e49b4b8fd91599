"""An empty database of the installed Prefect, made when Halter is set up.

Prefect makes a new database by some hundred migrations, seven seconds of work that every new store would pay again.
`python -m flows.server.prefect_database` makes one beforehand; where that was not done, the server makes its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FILE = "prefect.db"
_ELSEWHERE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def prepared() -> Path:
    """Where it lies: beside what is installed, under the version whose tables it has."""
    return Path(sys.prefix) / "share" / "halter" / f"prefect-{version('prefect')}.db"


def prepare(target: Path) -> None:
    """Make an empty database with Prefect's own command; visible when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
            env={**kept, "PREFECT_HOME": home, "DO_NOT_TRACK": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        (Path(home) / FILE).replace(target)


def is_elsewhere() -> bool:
    """Whether the user's settings name a database that is not in Prefect's home; others may use it too."""
    return any(name in os.environ for name in _ELSEWHERE)


def furnish(home: Path) -> None:
    """Give a new Prefect home the prepared database, if there is one and the user's settings name no other."""
    if (home / FILE).exists() or not prepared().exists() or is_elsewhere():
        return
    with tempfile.TemporaryDirectory(dir=home) as near:
        shutil.copyfile(prepared(), Path(near) / FILE)
        (Path(near) / FILE).replace(home / FILE)


if __name__ == "__main__":
    prepare(prepared())
