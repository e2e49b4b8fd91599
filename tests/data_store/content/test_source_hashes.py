"""Source files are hashed once as long as they stay what they are, and never taken for what they were."""

import json
import os
import time
from pathlib import Path

import pytest

from data_store.content import source_hashes
from data_store.content.publishing import describe_source
from data_store.content.source_hashes import SMALL_BYTES, SourceHashes

LARGE = "x" * SMALL_BYTES


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read to be hashed."""
    seen: list[Path] = []
    hashed = source_hashes.file_sha256

    def listening(path: Path) -> str:
        seen.append(path)
        return hashed(path)

    monkeypatch.setattr(source_hashes, "file_sha256", listening)
    return seen


@pytest.fixture
def exact_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that show every change, so that no test waits for two seconds to pass."""
    monkeypatch.setattr(source_hashes, "SETTLED_NANOSECONDS", 0)


@pytest.mark.usefixtures("exact_clock")
def test_a_settled_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    (tmp_path / "weights").write_text(LARGE)
    (tmp_path / "more").write_text(LARGE)
    assert describe_source("source", tmp_path) == describe_source("source", tmp_path)
    assert sorted(path.name for path in reads) == ["more", "weights"]


@pytest.mark.usefixtures("exact_clock")
def test_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_text(LARGE)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    first = describe_source("source", path)
    path.with_suffix(".new").write_text(LARGE.replace("x", "y"))
    path.with_suffix(".new").rename(path)
    os.utime(path, ns=times)
    second = describe_source("source", path)
    assert path.stat().st_mtime_ns == times[1]
    assert first.version_id != second.version_id
    assert len(reads) == 2


@pytest.mark.usefixtures("exact_clock")
def test_bytes_edited_in_place_with_the_time_set_back_are_noticed(tmp_path: Path) -> None:
    path, hashes = tmp_path / "weights", SourceHashes()
    path.write_text(LARGE)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    first = hashes.sha256(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"y")
    os.utime(path, ns=times)
    assert hashes.sha256(path) != first


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_text(LARGE)
    describe_source("source", path)
    describe_source("source", path)
    assert len(reads) == 2


def test_what_changed_within_a_step_of_the_clock_is_not_kept_for_others(tmp_path: Path) -> None:
    path, kept = tmp_path / "weights", SourceHashes(tmp_path / "hashes.json")
    path.write_text(LARGE)
    kept.sha256(path)
    kept.save()
    assert not (tmp_path / "hashes.json").exists()


def test_a_time_that_lies_ahead_of_the_clock_is_not_trusted(tmp_path: Path, reads: list[Path]) -> None:
    path, hashes = tmp_path / "weights", SourceHashes()
    path.write_text(LARGE)
    ahead = time.time_ns() + 3600 * 10**9
    os.utime(path, ns=(ahead, ahead))
    assert hashes.sha256(path) == hashes.sha256(path)
    assert len(reads) == 2


@pytest.mark.usefixtures("exact_clock")
def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashes = tmp_path / "weights", SourceHashes()
    path.write_text(LARGE)
    hashed = source_hashes.file_sha256

    def slow(file: Path) -> str:
        sha256 = hashed(file)
        path.write_text(LARGE + "more")
        return sha256

    with monkeypatch.context() as patch:
        patch.setattr(source_hashes, "file_sha256", slow)
        first = hashes.sha256(path)
    assert hashes.sha256(path) == hashed(path) != first


@pytest.mark.usefixtures("exact_clock")
def test_what_one_process_has_read_another_need_not_read(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "hashes.json"
    for name in ("one", "two"):
        (tmp_path / name).write_text(LARGE + name)
    first, second = SourceHashes(file), SourceHashes(file)
    found = [first.sha256(tmp_path / "one"), second.sha256(tmp_path / "two")]
    first.save()
    second.save()
    later = SourceHashes(file)
    assert [later.sha256(tmp_path / "one"), later.sha256(tmp_path / "two")] == found
    assert len(reads) == 2, "nor does the later of two writers forget what the other has found"


@pytest.mark.usefixtures("exact_clock")
def test_what_is_small_is_always_read_and_never_kept(tmp_path: Path, reads: list[Path]) -> None:
    path, hashes = tmp_path / "chat_template.jinja", SourceHashes(tmp_path / "hashes.json")
    path.write_text("x" * (SMALL_BYTES - 1))
    assert hashes.sha256(path) == hashes.sha256(path)
    hashes.save()
    assert len(reads) == 2
    assert not (tmp_path / "hashes.json").exists()


@pytest.mark.usefixtures("exact_clock")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": [1, 2]}', "null", "\x00" * 64])
def test_a_file_of_hashes_that_is_broken_counts_as_none(tmp_path: Path, content: str) -> None:
    path, file = tmp_path / "weights", tmp_path / "hashes.json"
    path.write_text(LARGE)
    file.write_text(content)
    hashes = SourceHashes(file)
    assert hashes.sha256(path) == source_hashes.file_sha256(path)
    hashes.save()
    assert list(json.loads(file.read_text())) == [str(path)]


@pytest.mark.usefixtures("exact_clock")
def test_where_hashes_cannot_be_kept_nothing_fails(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_text(LARGE)
    hashes = SourceHashes(tmp_path / "no such folder" / "hashes.json")
    assert hashes.sha256(path)
    hashes.save()


@pytest.mark.usefixtures("exact_clock")
def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_hashes, "_MOST_FILES", 2)
    hashes = SourceHashes(tmp_path / "hashes.json")
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(LARGE)
        hashes.sha256(tmp_path / name)
    hashes.save()
    assert [Path(path).name for path in json.loads((tmp_path / "hashes.json").read_text())] == ["two", "three"]


def test_a_large_file_that_has_just_changed_is_waited_for_and_read_once(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_hashes, "_LARGE_BYTES", SMALL_BYTES)
    monkeypatch.setattr(source_hashes, "SETTLED_NANOSECONDS", 50_000_000)
    path, hashes = tmp_path / "weights", SourceHashes()
    path.write_text(LARGE)
    assert hashes.sha256(path) == hashes.sha256(path)
    assert len(reads) == 1


@pytest.mark.usefixtures("exact_clock")
def test_who_waits_is_told_of_a_large_file_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_hashes, "_LARGE_BYTES", SMALL_BYTES)
    path, hashes, told = tmp_path / "weights", SourceHashes(), list[tuple[Path, int]]()
    path.write_text(LARGE)
    hashes.on_large = lambda file, size: told.append((file, size))
    hashes.sha256(path)
    hashes.sha256(path)
    assert told == [(path, SMALL_BYTES)]
