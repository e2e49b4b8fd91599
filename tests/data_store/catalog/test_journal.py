"""Writes into the journal that come to an end half-way, at each place where they can."""

import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_store.catalog import events, term
from data_store.catalog.events import Event
from data_store.catalog.journal import APPLIED, START, Entry, Journal
from data_store.errors import InputError, UnwritableError
from data_store.files import append_whole
from data_store.records import RunRecord
from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench


def setting(number: int) -> Event:
    return events.override_set("V1", "train", f"key-{number}", "1")


def entries(*given: Event) -> list[Entry]:
    made, seq, prev = [], 0, START
    for event in given:
        made.append(Entry.after(seq, prev, APPLIED, event))
        seq, prev = made[-1].seq, made[-1].sha256
    return made


def keys(store: Store) -> list[str]:
    return [override.key for override in store.overrides()]


@pytest.fixture
def begun(bench: Bench) -> tuple[Journal, Path, list[Entry], bytes]:
    """A journal with one event in its only segment, the segment, two events that come next, and their text."""
    first, *more = entries(setting(1), setting(2), setting(3))
    journal = bench.store.catalog.journal
    return journal, journal.append([first]), more, "".join(entry.line() + "\n" for entry in more).encode()


def test_a_limit_at_every_place_of_a_batch_leaves_the_journal_as_it_was(
    begun: tuple[Journal, Path, list[Entry], bytes],
) -> None:
    """The kernel itself cuts the write short there: the first part is written, the rest is refused."""
    journal, segment, more, text = begun
    before = segment.read_bytes()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            for place in (*range(0, len(text), 11), len(text) - 1):
                resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + place, hard))
                with pytest.raises(OSError, match="File too large"):
                    journal.append(more, segment)
                assert segment.read_bytes() == before
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + len(text), hard))
            journal.append(more, segment)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert segment.read_bytes() == before + text


def cut_short(monkeypatch: pytest.MonkeyPatch, room: Callable[[], int]) -> None:
    """From now on one call writes no more than there is room for, and fails where there is none."""
    write = os.write

    def short(descriptor: int, content: bytes) -> int:
        if not (left := room()):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:left])

    monkeypatch.setattr(os, "write", short)


def test_a_write_that_takes_one_byte_at_a_time_is_written_whole(
    begun: tuple[Journal, Path, list[Entry], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, segment, more, text = begun
    before = segment.read_bytes()
    cut_short(monkeypatch, lambda: 1)
    journal.append(more, segment)
    assert segment.read_bytes() == before + text


@pytest.mark.slow
def test_a_leader_whose_second_batch_is_cut_short_anywhere_has_acknowledged_the_first_alone(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term, "_BATCH", 1)  # so that both come into one segment, one after the other
    length = len(entries(setting(1), setting(2))[1].line()) + 1
    for place in (0, length // 2, length - 1):
        shutil.copytree(empty_store, tmp_path / f"store-{place}")
        store = Store(tmp_path / f"store-{place}")
        journal = store.catalog.journal
        waiting = [journal.submit(setting(1)), journal.submit(setting(2))]
        with monkeypatch.context() as patch:
            rooms = iter([place, 0]) if place else iter([0])
            cut_short(patch, lambda rooms=rooms: next(rooms))  # type: ignore[misc]
            with pytest.raises(UnwritableError, match="No space left on device"):
                store.catalog.settle()
        assert [path.exists() for path in waiting] == [False, True]
        (segment,) = journal.segments_there()
        assert segment.read_bytes().endswith(b"\n"), "cut back"
        assert [entry.seq for entry in journal.whole()] == [1]
        assert keys(store) == ["key-1", "key-2"], "who reads catches up, and takes what waits along"
        store.set_override("V1", "train", "key-3", 1)
        assert keys(Store.open(store.root)) == ["key-1", "key-2", "key-3"]
        assert verify(store, deep=False).problems == ()


def test_an_unfinished_last_line_is_an_end_like_any_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even cutting back fails: the next leader begins a segment of its own behind it."""
    monkeypatch.setattr(term, "_BATCH", 1)
    store, journal = bench.store, bench.store.catalog.journal
    journal.submit(setting(1))
    journal.submit(setting(2))

    def fail(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        rooms = iter([100, 0])
        cut_short(patch, lambda: next(rooms))
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(UnwritableError, match="Input/output error"):
            store.catalog.settle()
    (segment,) = journal.segments_there()
    assert len(segment.read_bytes().rpartition(b"\n")[2]) == 100
    assert keys(Store.open(store.root)) == ["key-1", "key-2"]
    store.set_override("V1", "train", "key-3", 1)
    store.rebuild()
    assert keys(store) == ["key-1", "key-2", "key-3"]
    assert verify(store).problems == ()


def test_a_refusal_reaches_its_writer_though_the_leader_could_not_write_it_down(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bench.store
    store.begin_run(RunRecord("train", "V1", "f", "1", {}, 0, run_id="one"))
    refuse, failed = Journal.refuse, []

    def full(journal: Journal, event_id: str, reason: str) -> None:
        if not failed:
            failed.append(reason)
            raise OSError(errno.ENOSPC, "No space left on device")
        refuse(journal, event_id, reason)

    monkeypatch.setattr(Journal, "refuse", full)
    again = events.run_begun(RunRecord("train", "V1", "f", "1", {}, 0, run_id="one"), [])
    with pytest.raises(UnwritableError, match="No space left"):
        store.catalog.write(again)
    store.catalog.settle()
    assert list(store.catalog.journal.spool.glob("*.json")) == []
    assert "has already begun" in (store.catalog.journal.take_refusal(again["event_id"]) or "")
    with pytest.raises(InputError, match="has already begun"):
        store.begin_run(RunRecord("train", "V1", "f", "1", {}, 0, run_id="one"))


def test_what_a_killed_leader_may_not_have_flushed_is_flushed_before_it_is_acknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, flushed = bench.store.catalog.journal, []
    waiting = journal.submit(setting(1))
    segment = journal.append(entries(journal.pending(1)[0][1]))
    sync = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, waiting.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    bench.store.catalog.settle()
    assert (segment.stat().st_ino, True) in flushed
    assert not waiting.exists()


def test_what_cannot_be_submitted_leaves_no_draft_on_the_full_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UnwritableError, match="No space left on device; nothing was changed"):
        bench.store.set_override("V1", "train", "lr", 1)
    assert list(bench.store.catalog.journal.drafts.iterdir()) == []


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    append_whole(path, b"one\n")
    rooms = iter([2, 0])
    cut_short(monkeypatch, lambda: next(rooms))
    with pytest.raises(OSError, match="No space left"):
        append_whole(path, b"two\n")
    assert path.read_bytes() == b"one\n"
