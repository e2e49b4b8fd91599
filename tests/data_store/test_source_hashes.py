"""Source files are hashed once per process, and never taken for what they were."""

import os
from pathlib import Path

import pytest

from data_store import publishing
from data_store.publishing import describe_source


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read to be hashed."""
    seen: list[Path] = []
    hashed = publishing.file_sha256

    def listening(path: Path) -> str:
        seen.append(path)
        return hashed(path)

    monkeypatch.setattr(publishing, "file_sha256", listening)
    return seen


def test_a_settled_file_is_read_once(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_SETTLED_NANOSECONDS", 0)
    (tmp_path / "weights").write_text("one")
    (tmp_path / "config").write_text("{}")
    assert describe_source("source", tmp_path) == describe_source("source", tmp_path)
    assert sorted(path.name for path in reads) == ["config", "weights"]


def test_other_bytes_of_the_same_size_and_time_are_noticed(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_SETTLED_NANOSECONDS", 0)
    path = tmp_path / "weights"
    path.write_text("one")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    first = describe_source("source", path)
    path.with_suffix(".new").write_text("two")
    path.with_suffix(".new").rename(path)
    os.utime(path, ns=times)
    second = describe_source("source", path)
    assert path.stat().st_mtime_ns == times[1]
    assert first.version_id != second.version_id
    assert len(reads) == 2


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_text("one")
    describe_source("source", path)
    describe_source("source", path)
    assert len(reads) == 2
