"""Small files under readers and writers at once."""

import os
import time
from pathlib import Path

from data_store.files import atomic_write


def test_readers_and_writers_of_an_atomic_file_at_once_see_one_of_the_texts(tmp_path: Path) -> None:
    """Two runs of one config remember it at the same moment."""
    path = tmp_path / "small.json"
    texts = {"a" * 200_000, "b" * 300_000}
    atomic_write(path, min(texts))
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            end, code = time.monotonic() + 0.5, 1
            try:
                while time.monotonic() < end:
                    for text in texts:
                        atomic_write(path, text)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    end = time.monotonic() + 0.4
    seen = set()
    while time.monotonic() < end:
        seen.add(path.read_text())
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert seen <= texts
    assert list(tmp_path.iterdir()) == [path]
