"""The files and folders outside the store that a step reads, held to what was hashed for as long as it runs.

What lies outside can be replaced or edited at any moment, while the step's lineage and its place in the cache go by the
hash of what was there before. A small source is read from a copy in the step's own folder, and it is the copy that has
the hash. A large one, such as the weights of a base model, is read where it lies: its files are looked at once a second
and once more at the end, and are hashed again where anything about them is not as it was.
"""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from data_store.content.publishing import describe_source, files_in
from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.records import RunInput
from tasks.engine.call import StepCall

COPIED_BYTES = 256 << 20  # of one call's sources together: a second or two
SECONDS_BETWEEN_LOOKS = 1.0
# A file that changes twice within the grain of the file system's clock looks the same both times.
GRAIN_NANOSECONDS = 2_000_000_000
_COPIES = "sources"
_WATCHED = "watched.json"

# (path, inode, size, time of its last change, time of the last change of its entry) of each file
Looks = list[tuple[str, int, int, int, int]]


class OutsideFiles:
    """The sources of one call while its step runs. Use as a context: the copies go at its end.

    Raises InputError, here and in its methods, where a source is not what `inputs` say.
    """

    def __init__(self, call: StepCall, inputs: Sequence[RunInput], folder: Path) -> None:
        self._what = f"{call.step.name} of {call.part}"
        self._copies = folder / _COPIES
        self._looked = time.monotonic()
        self._watched: list[_Watched] = []
        self._paths: dict[RunInput, Path] = {}
        shutil.rmtree(self._copies, ignore_errors=True)
        room = COPIED_BYTES
        for entry, path in _placed(call, inputs):
            size = sum(size for _, _, size, _, _ in self._looks(path))
            if size <= room:
                room -= size
                self._paths[entry] = self._copy(path, entry.version_id)
            else:
                self._watched.append(_Watched(path, entry.version_id, self._looks(path)))
                self._paths[entry] = path
        for source in self._watched:
            self._compare(source)
        _drop_what_was_learned_of_others(folder, self._watched)

    def __enter__(self) -> "OutsideFiles":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._copies, ignore_errors=True)

    def path(self, entry: RunInput) -> Path | None:
        """Where the step is to read this input; None for what lies in the store."""
        return self._paths.get(entry)

    def look(self) -> None:
        """Look at what is read where it lies, if the last look is a while ago."""
        if time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self.check()

    def check(self) -> None:
        """Look at it now. What has not settled since it was hashed is hashed again: its times do not tell."""
        for source in self._watched:
            if self._looks(source.path) != source.looks or not source.settled:
                self._compare(source)
        self._looked = time.monotonic()

    def named(self, text: str) -> str:
        """A message of the step with the files' own paths in the place of the copies'."""
        return text.replace(f"{self._copies}/", "/")

    def _copy(self, path: Path, version_id: str) -> Path:
        """A copy that keeps the whole path below the step's folder: rows and messages name files by the end of it."""
        real = path.resolve()
        copy = self._copies / real.relative_to(real.anchor)
        if not copy.exists():  # else another role reads it as well
            files = files_in(real) if real.is_dir() else [("", real)]
            for name, file in files:
                place = copy / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        if describe_source("source", copy, name=path.name).version_id != version_id:
            raise self._changed(path)
        return copy

    def _compare(self, source: "_Watched") -> None:
        """Raises InputError where the content is another; else the files as they look now are the ones that count."""
        looks = self._looks(source.path)
        at = time.time_ns()
        if describe_source("source", source.path).version_id != source.version_id:
            raise self._changed(source.path)
        source.looks = looks
        source.settled = all(abs(at - changed) >= GRAIN_NANOSECONDS for *_, changed in looks)

    def _looks(self, path: Path) -> Looks:
        try:
            files = files_in(path) if path.is_dir() else [(path.name, path)]
            stats = [(name, file.stat()) for name, file in files]
        except (OSError, InputError):
            raise self._changed(path) from None
        return [(name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in stats]

    def _changed(self, path: Path) -> InputError:
        return InputError(
            f"{path} changed while {self._what} was reading it, so nothing of it was kept: give the same command again "
            "once the change is complete; it reads the file as it is then"
        )


class _Watched:
    """A source that is read where it lies, and how its files looked when they had the hash."""

    def __init__(self, path: Path, version_id: str, looks: Looks) -> None:
        self.path, self.version_id, self.looks = path, version_id, looks
        self.settled = False


def _placed(call: StepCall, inputs: Sequence[RunInput]) -> list[tuple[RunInput, Path]]:
    """The inputs that are sources, in the call's order, and where they lie."""
    places = {role: iter(paths) for role, paths in call.files.items()}
    return [(entry, next(places[entry.role]).absolute()) for entry in inputs if entry.role in places]


def _drop_what_was_learned_of_others(folder: Path, watched: Sequence[_Watched]) -> None:
    """Forget the checkpoints where the sources do not look as they did when these began: a step that ended without a
    look at the end, by a kill or by a change, may have read others in between."""
    record = folder / _WATCHED
    looks = json.dumps([[str(source.path), source.looks] for source in watched])
    if record.exists() and record.read_text() != looks:
        shutil.rmtree(folder / "work", ignore_errors=True)
        (folder / "metrics.jsonl").unlink(missing_ok=True)
    if watched:
        atomic_write(record, looks)
