"""What files outside the store hash to, remembered, so that looking at them again need not read them again.

A hash is remembered under all that a change of the file changes: path, inode, size, and both of its times. A clock has
steps, of two seconds on some file systems: a file that had changed so shortly before it was read may change once more
without its times showing it, so its hash is not remembered. What is quicker read than looked up is always read.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from data_store.content.objects import file_sha256

HASHES_FILE = "source-hashes.json"
SETTLED_NANOSECONDS = 2_000_000_000
SMALL_BYTES = 1 << 16
_LARGE_BYTES = 1 << 30
_MOST_FILES = 10_000

_Look = tuple[int, int, int, int]


class SourceHashes:
    """Hashes of files outside, by path; threads may share them. With a `file` they outlive the process: it is a help
    and no truth, so whatever is wrong with it means that files are read again. `on_large` hears of a file, and its
    bytes, that takes seconds to read."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.on_large: Callable[[Path, int], None] = lambda _path, _size: None
        self._lock = threading.Lock()
        self._found: dict[str, tuple[_Look, str]] = {}
        self._is_loaded = file is None
        self._is_new = False

    def sha256(self, path: Path) -> str:
        """The hash of the file as it is now."""
        path, look = path.absolute(), _look_at(path)
        with self._lock:
            if not self._is_loaded:
                self._found, self._is_loaded = self._read(), True
            known = self._found.get(str(path))
        if known is not None and known[0] == look:
            return known[1]
        if look[1] >= _LARGE_BYTES:
            self.on_large(path, look[1])
            # Waiting for its time to tell costs less than reading it once more at the next look.
            wait = SETTLED_NANOSECONDS - (time.time_ns() - max(look[2:]))
            time.sleep(min(max(wait, 0), SETTLED_NANOSECONDS) / 1e9)
        started = time.time_ns()
        sha256 = file_sha256(path)
        is_settled = started - max(look[2:]) >= SETTLED_NANOSECONDS
        if is_settled and look[1] >= SMALL_BYTES and _look_at(path) == look:
            with self._lock:
                self._found.pop(str(path), None)  # what is new goes to the end: the oldest are forgotten first
                self._found[str(path)] = look, sha256
                self._is_new = True
        return sha256

    def save(self) -> None:
        """Keep what was found for other processes, beside what they have found. Where that cannot be written, they
        read the files themselves."""
        with self._lock:
            if self.file is None or not self._is_new:
                return
            kept = list({**self._read(), **self._found}.items())[-_MOST_FILES:]
            content = {path: [*look, sha256] for path, (look, sha256) in kept}
            draft = self.file.with_name(f".{self.file.name}.{uuid.uuid4().hex}.tmp")
            with suppress(OSError):
                try:
                    draft.write_text(json.dumps(content))
                    draft.replace(self.file)
                finally:
                    draft.unlink(missing_ok=True)
            self._is_new = False

    def _read(self) -> dict[str, tuple[_Look, str]]:
        if self.file is None:
            return {}
        try:
            content = json.loads(self.file.read_bytes())
            return {path: ((ino, size, mtime, ctime), sha) for path, (ino, size, mtime, ctime, sha) in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


OF_THIS_PROCESS = SourceHashes()


def _look_at(path: Path) -> _Look:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
