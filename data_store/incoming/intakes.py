"""What an iteration that was appended to a run took in: fixed in the catalog, so that its data never change afterwards.

An intake is the source `taken-in@V3`, or `taken-in@base` for the files with which the run began. Its content names the
files by path and hash; the rows themselves are read by the step `import_data` of that part.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from data_store.catalog.origins import TakenInOrigin, Trigger
from data_store.commands import halter
from data_store.content.publishing import describe_source
from data_store.errors import StoreError
from data_store.incoming.sources import register
from data_store.names import AssetName
from data_store.store import Store

_NAME = "taken-in"
_FILE = "taken-in.json"


class TakenFile(NamedTuple):
    """A file as it was taken in; `role` is its key in the section `data` of the config."""

    role: str
    path: str
    sha256: str

    @classmethod
    def of(cls, role: str, path: Path) -> "TakenFile":
        """The file as it is now. Raises InputError where there is none."""
        (content,) = describe_source("source", path).objects
        return cls(role, str(path), content.sha256)


@dataclass(frozen=True)
class Intake:
    """What one part took in. `iterations`: of the config, when it was appended. `trigger`: new files, or that another
    round of judging was due (`night`); `nothing` where it was taken back before anything was made of it."""

    part: str
    iterations: int
    trigger: Trigger
    files: tuple[TakenFile, ...] = ()

    def paths(self) -> dict[str, tuple[Path, ...]]:
        """The files by role, in the order of their paths."""
        roles = dict.fromkeys(file.role for file in self.files)
        return {role: tuple(Path(file.path) for file in self.files if file.role == role) for role in roles}


def intake_asset(part: str) -> AssetName:
    """The source that says what a part took in."""
    return AssetName("source", _NAME, part)


def read_intakes(store: Store) -> dict[str, tuple[Intake, datetime]]:
    """Part → what it took in and when that was written down; the foundation first, then V1 … Vn."""
    found = {}
    for asset, head in store.heads().items():
        if (asset.kind, asset.name) != ("source", _NAME):
            continue
        file = store.checkout(head.version_id) / _FILE
        try:
            content = json.loads(file.read_bytes())
            intake = Intake(**{**content, "files": tuple(TakenFile(*each) for each in content["files"])})
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(
                f"{file} is cut short or damaged ({error}): `{halter('verify')}` and `{halter('repair')}` put it right"
            ) from None
        if intake.trigger != "nothing":
            found[asset.part] = (intake, head.at)
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:]) if item[0][1:].isdigit() else 0))


def write_intake(store: Store, intake: Intake) -> None:
    """Fix what a part takes in, in one transaction; nothing is written where it is known."""
    with store.collecting_forbidden(), TemporaryDirectory(dir=store.root / "tmp") as folder:
        (Path(folder) / _FILE).write_text(json.dumps(asdict(intake), indent=1, sort_keys=True))
        origin = TakenInOrigin(intake.part, intake.trigger, tuple(names(intake.files)))
        register(store, intake_asset(intake.part), store.publish("intake", Path(folder)), origin)


def names(files: Iterable[TakenFile]) -> list[str]:
    """The names of the files, each once, sorted."""
    return sorted({Path(file.path).name for file in files})
