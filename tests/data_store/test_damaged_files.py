"""Small files of a store that a fault of the disk cut short: each is named, with what to do."""

import re
from pathlib import Path

import pytest

from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.people import add_annotator, annotators
from data_store.errors import StoreError
from data_store.incoming.answers import AnswerFile, EndpointAnswer
from data_store.incoming.intakes import Intake, TakenFile, intake_asset, read_intakes, write_intake
from data_store.layout import MARKER
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.backups import backup, verify_backup
from data_store.upkeep.repairs import repair
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench


@pytest.mark.parametrize(
    "content", ["", "{", '{"format"', '{"format":"1"}', "[1]", "{}", "null", "\udcff", "[" * 100_000]
)
def test_a_marker_that_is_cut_short_is_named_and_can_be_put_right_as_it_says(bench: Bench, content: str) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    marker = bench.store.root / MARKER
    marker.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match=re.escape(f"{marker} is cut short or damaged")) as caught:
        Store.open(bench.store.root)
    wanted = re.search(r"write (\S+) into it", str(caught.value))
    assert wanted is not None
    marker.write_text(wanted[1])
    assert len(Store.open(bench.store.root).heads()) == 1


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_book_that_is_cut_short_is_named(bench: Bench, kept: float) -> None:
    book = Book.open(bench.store.root)
    add_annotator(book, "anna", adjudicator=False)
    book.close()
    file = bench.store.root / BOOK_FILE
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)] if kept else b"no book at all, but long enough" * 40)
    with pytest.raises(StoreError, match=re.escape(f"{file} is cut short or damaged")):
        annotators(Book.open(bench.store.root))


@pytest.mark.slow
def test_a_damaged_page_of_the_book_is_found_before_anybody_reads_it_and_put_right_from_a_backup(
    bench: Bench, tmp_path: Path
) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    book = Book.open(bench.store.root)
    for number in range(200):
        add_annotator(book, f"annotator-{number}", adjudicator=False)
    book.close()  # the last connection writes everything into the one file
    copy, file = tmp_path / "backup", bench.store.root / BOOK_FILE
    assert backup(bench.store, copy).problems == ()
    assert (verify(bench.store).problems, verify_backup(copy).problems) == ((), ())

    content = bytearray(file.read_bytes())
    page = content.index(b"annotator-150") // 4096 * 4096
    content[page : page + 64] = b"\xff" * 64
    file.write_bytes(content)
    kept = (copy / BOOK_FILE).read_bytes()
    (copy / BOOK_FILE).write_bytes(content)
    assert [fault.where for fault in verify_backup(copy).faults] == ["book"]
    assert (verify(bench.store, deep=False).faults, verify_backup(copy, deep=False).faults) == ((), ())
    (copy / BOOK_FILE).write_bytes(kept)
    (fault,) = verify(bench.store).faults
    assert (fault.where, str(file) in fault.text) == ("book", True)
    (problem,) = backup(bench.store, copy).problems
    assert "what the backup had of it is kept" in problem
    assert (copy / BOOK_FILE).read_bytes() == kept, "damage is reported and never copied"
    assert repair(bench.store).restored == ()
    assert file.exists(), "without a backup it is the only one there is"
    assert repair(bench.store, copy).restored == ("the book of judgements, as it was when the backup was made",)
    assert verify(bench.store).problems == ()
    assert len(annotators(Book.open(bench.store.root))) == 200
    assert (bench.store.root / "damaged" / BOOK_FILE).exists()
    collect(bench.store, dry_run=False)
    assert not (bench.store.root / "damaged" / BOOK_FILE).exists()


def test_an_answer_that_is_damaged_is_named_by_its_line(bench: Bench) -> None:
    with AnswerFile(bench.store, AssetName.parse("source/asked@external")) as file:
        for number in range(3):
            file.add(EndpointAnswer(f"pair-{number}", "which?", "a", None))
        lines = file.path.read_bytes().splitlines(keepends=True)
        file.path.write_bytes(lines[0] + lines[1][:20] + b"\n" + lines[2])
        with pytest.raises(StoreError, match=rf"{file.path}: line 2 is damaged .*: take it out"):
            file.read()
        file.path.write_bytes(lines[0] + lines[2])
        assert [pair for pair, _ in file.read()] == ["pair-0", "pair-2"]


def test_an_intake_that_is_damaged_is_named(bench: Bench, tmp_path: Path) -> None:
    taken = TakenFile("safety_preferences", str(tmp_path / "a.jsonl"), "0" * 64)
    write_intake(bench.store, Intake("V2", 1, "files", (taken,)))
    head = bench.store.head(intake_asset("V2"))
    assert head is not None
    file = bench.store.checkout(head.version_id) / "taken-in.json"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(StoreError, match=r"source/taken-in@V2 .* is damaged: .*`halter repair"):
        read_intakes(bench.store)
