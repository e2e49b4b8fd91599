import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from data_store.annotation.batches import batch_of
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.export import judgements
from data_store.annotation.judging import Verdict, judge, next_item
from data_store.errors import InputError, StoreError
from data_store.upkeep.backups import backup
from tests.data_store.annotation.pairs import Desk, new_desk, pair
from tests.data_store.store_bench import Bench

WORKER = """
import sys
from pathlib import Path
from data_store.annotation.book import Book
from data_store.annotation.judging import Verdict, judge, next_item
book, name = Book.open(Path(sys.argv[1])), sys.argv[2]
while shown := next_item(book, "v1", name):
    judge(book, name, shown.form_key, Verdict("a", "better"))
    print(shown.item.item_id, flush=True)
"""


@pytest.mark.parametrize(
    "statement",
    ["UPDATE answer SET chosen = 'b'", "DELETE FROM answer", "DELETE FROM item", "UPDATE batch SET quota = 9"],
)
def test_the_database_itself_refuses_to_change_what_people_did(desk: Desk, statement: str) -> None:
    desk.add("anna")
    desk.open(pair(1))
    desk.judge("anna")
    with pytest.raises(sqlite3.IntegrityError, match="only added to"), desk.book.writing() as connection:
        connection.execute(statement)
    assert len(judgements(desk.book, "v1")) == 1


def test_the_database_itself_refuses_a_second_answer_of_one_person(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    desk.judge("anna")
    with pytest.raises(sqlite3.IntegrityError, match="has answered"), desk.book.writing() as connection:
        connection.execute(
            "INSERT INTO answer (form_key, item_id, name, milliseconds, at) VALUES ('other', 1, 'anna', 0, 0)"
        )


def test_a_transaction_that_fails_leaves_nothing_behind(desk: Desk) -> None:
    def fail_half_way() -> None:
        with desk.book.writing() as connection:
            connection.execute("INSERT INTO annotator VALUES ('anna', 'hash', 0, 'annotator')")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail_half_way()
    desk.add("anna")  # the name is free


@pytest.mark.slow
def test_threads_and_processes_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    names = [f"annotator-{number}" for number in range(6)]
    desk.add(*names)
    desk.open(*(pair(number) for number in range(40)), people_per_item=3)
    book = Book.open(tmp_path)
    done: list[tuple[int, str]] = []

    def work(name: str) -> None:
        while shown := next_item(book, "v1", name):
            judge(book, name, shown.form_key, Verdict("b", "better"))
            done.append((shown.item.item_id, name))

    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in names[:2]
    ]
    threads = [threading.Thread(target=work, args=(name,)) for name in names[2:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, process in zip(names, processes, strict=False):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        done += [(int(line), name) for line in output.split()]
    found = [(one.item_id, one.annotator) for one in judgements(book, "v1")]
    assert sorted(found) == sorted(done)
    assert Counter(item for item, _ in found) == dict.fromkeys(range(1, 41), 3)
    assert batch_of(book, "v1").waiting == 0


def test_what_a_killed_process_had_acknowledged_is_there(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.add("anna")
    desk.open(*(pair(number) for number in range(500)))
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), "anna"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait()
    found = [one.item_id for one in judgements(Book.open(tmp_path), "v1")]
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) - len(acknowledged) in (0, 1)  # the last may have been written and not yet told


def test_a_book_of_a_newer_halter_is_left_alone(tmp_path: Path) -> None:
    Book.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / BOOK_FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="upgrade halter"):
        Book.open(tmp_path)


def test_there_is_no_book_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="start the run first"):
        Book.open(tmp_path / "nowhere")


def test_a_backup_of_the_store_holds_the_judgements_of_today(bench: Bench, tmp_path: Path) -> None:
    desk = new_desk(bench.store.root)
    desk.add("anna")
    desk.open(pair(1), pair(2))
    for count in (1, 2):
        desk.judge("anna")
        backup(bench.store, tmp_path / "copy")
        assert len(judgements(Book.open(tmp_path / "copy"), "v1")) == count
