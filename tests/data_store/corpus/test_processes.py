"""Work on several processes: what comes of it, in which order, and what is left where one of them or this one dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import psutil
import pytest

from data_store.corpus.processes import in_order
from tests.tasks.bench import wait_for

ROOT = Path(__file__).parents[3]


def results(function, items, processes: int, folder: Path) -> list:  # type: ignore[no-untyped-def, type-arg]
    with closing(in_order(function, items, processes, folder)) as found:
        return list(found)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
@pytest.mark.parametrize("processes", [1, 3, 20])
def test_results_come_in_the_order_of_the_items_and_nothing_is_left(count: int, processes: int, tmp_path: Path) -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return 2 * item

    assert results(slow_at_first, range(count), processes, tmp_path) == [2 * item for item in range(count)]
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children() == []


def test_the_first_item_is_done_here_and_no_process_starts_that_has_nothing_to_do(tmp_path: Path) -> None:
    def where(_: int) -> int:
        time.sleep(0.05)
        return os.getpid()

    assert results(where, [0], 3, tmp_path) == [os.getpid()]
    assert set(results(where, [0, 1], 1, tmp_path)) == {os.getpid()}
    here, there = results(where, [0, 1], 3, tmp_path)
    assert here == os.getpid() != there
    assert len(set(results(where, range(10), 3, tmp_path))) == 1 + 3


def test_two_items_a_process_are_read_ahead_and_no_more(tmp_path: Path) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            read.append(item)
            yield item

    with closing(in_order(lambda item: item, items(), 2, tmp_path)) as found:
        for taken in range(1, 6):
            assert next(found) == taken - 1
            time.sleep(0.02)
            assert len(read) <= taken + 4


def test_what_the_first_item_raises_comes_out_behind_the_results_before_it(tmp_path: Path) -> None:
    def fails(item: int) -> int:
        time.sleep(0.05 if item == 3 else 0.0)
        if item >= 3:
            raise KeyError(f"item {item}")
        return item

    taken: list[int] = []
    with pytest.raises(KeyError, match="item 3"), closing(in_order(fails, range(9), 3, tmp_path)) as found:
        taken.extend(found)
    assert taken == [0, 1, 2]
    assert psutil.Process().children() == []


def test_an_error_that_cannot_be_sent_is_told_in_words(tmp_path: Path) -> None:
    class OwnError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    def fails(item: int) -> int:
        if item == 1:
            raise OwnError(1, 2)
        return item

    with pytest.raises(RuntimeError, match="OwnError: 1 and 2"):
        results(fails, range(3), 2, tmp_path)


def test_what_reading_the_items_raises_ends_the_processes(tmp_path: Path) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise ValueError("row 4 of the corpus")

    with pytest.raises(ValueError, match="row 4 of the corpus"):
        results(lambda item: item, items(), 2, tmp_path)
    assert psutil.Process().children() == []


def test_a_process_that_is_killed_is_named_with_its_signal(tmp_path: Path) -> None:
    def dies(item: int) -> int:
        if item == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return item

    words = r"process 2 of 2 that judged documents \(pid \d+\) was ended by SIGKILL, as the system does where memory"
    with pytest.raises(RuntimeError, match=words):
        results(dies, range(8), 2, tmp_path)
    assert psutil.Process().children() == []


def test_who_stops_taking_results_ends_the_processes(tmp_path: Path) -> None:
    with closing(in_order(lambda item: item, range(50), 2, tmp_path)) as found:
        assert list(islice(found, 3)) == [0, 1, 2]
        assert len(psutil.Process().children()) == 2
    assert psutil.Process().children() == []


GOES_ON = """
import sys, time
from pathlib import Path
from data_store.corpus.processes import in_order
for each in in_order(lambda item: time.sleep(0.1), range(10000), 2, Path(sys.argv[1])):
    print("one", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_processes_go_with_the_one_that_started_them(how: signal.Signals, tmp_path: Path) -> None:
    """By Ctrl-C all of them hear it; of its own only the first one is told."""
    command = [sys.executable, "-c", GOES_ON, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == [b"one\n"] * 2  # the first one is done by itself
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)
        else:
            parent.send_signal(how)
        parent.communicate(timeout=20)
        assert parent.returncode != 0
        wait_for(lambda: not any(each.is_running() for each in children), "the end of its processes", 20)
