import errno
import os
import threading
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.content import objects, row_batches, rowsets
from data_store.content.publishing import Checkouts
from data_store.content.row_hashing import ROW_HASH, row_hashes
from data_store.content.rowsets import ROWS_FILE, load_rows
from data_store.content.sorted_rows import HASH_FIELD
from data_store.errors import InputError, StoreError
from data_store.records import ObjectRef, VersionInfo
from data_store.store import Store
from data_store.upkeep.repairs import repair
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

A = "dataset/documents@V1"


def segments(refs: tuple[ObjectRef, ...]) -> list[ObjectRef]:
    return [ref for ref in refs if ref.role == "segment"]


def test_the_same_content_is_one_version_wherever_it_lies(bench: Bench) -> None:
    first = bench.store.publish("model", bench.files(config="{}", sub__weights="w"))
    again = bench.store.publish("model", bench.files(sub__weights="w", config="{}"))
    assert again.version_id == first.version_id
    assert (first.new_bytes, again.new_bytes) == (3, 0)


def test_another_kind_name_or_byte_is_another_version(bench: Bench) -> None:
    folders = [bench.files(a="1"), bench.files(a="2"), bench.files(b="1"), bench.files(a="1", b="1")]
    ids = {bench.store.publish("model", folder).version_id for folder in folders}
    ids.add(bench.store.publish("adapter", folders[0]).version_id)
    assert len(ids) == 5


def test_a_checkout_shows_the_files_under_their_names_read_only(bench: Bench) -> None:
    publication = bench.store.publish("model", bench.files(config="{}", sub__weights="w"))
    bench.run("train", {"model/policy@V1": publication})
    folder = bench.store.checkout(publication.version_id)
    assert (folder / "sub" / "weights").read_text() == "w"
    modes = [path.stat().st_mode & 0o222 for path in (folder, folder / "sub", folder / "sub" / "weights")]
    assert modes == [0, 0, 0]
    assert (folder / "config").stat().st_nlink == 2  # a link to the object: no byte is stored twice
    assert bench.store.checkout(publication.version_id) == folder


def test_rows_come_back_in_the_order_of_their_hashes_whatever_order_they_came_in(bench: Bench) -> None:
    texts = ["c", "a", "b"]
    one = bench.store.publish("dataset", bench.documents(*texts), row_kind="document")
    other = bench.store.publish("dataset", bench.documents(*sorted(texts)), row_kind="document")
    assert one.version_id == other.version_id
    bench.run("filter", {A: one})
    table = bench.store.rows(one.version_id)
    assert sorted(table.column("text").to_pylist()) == ["a", "b", "c"]
    hashes = row_hashes(table).to_pylist()
    assert hashes == sorted(hashes)
    assert table.equals(pq.read_table(bench.store.checkout(one.version_id) / "rows.parquet"))


def test_a_child_stores_only_the_rows_that_its_parent_lacks(bench: Bench) -> None:
    parent = bench.store.publish("dataset", bench.documents("a", "b", "c"), row_kind="document")
    bench.run("filter", {A: parent})
    folder = bench.documents("b", "c", "d")
    child = bench.store.publish("dataset", folder, row_kind="document", parent=parent.version_id)
    bench.run("filter", {A: child})
    shared, own = segments(child.objects)
    assert shared == segments(parent.objects)[0]
    assert pq.read_table(bench.store.objects.path(own.sha256)).column("text").to_pylist() == ["d"]
    assert sorted(bench.store.rows(child.version_id).column("text").to_pylist()) == ["b", "c", "d"]
    assert sorted(bench.store.rows(parent.version_id).column("text").to_pylist()) == ["a", "b", "c"]
    alone = bench.store.publish("dataset", folder, row_kind="document")
    assert alone.version_id == child.version_id  # how it is stored is no part of what it is
    assert (alone.new_bytes, alone.objects) == (0, tuple(sorted(child.objects, key=lambda ref: ref.path)))


def test_a_row_dropped_and_taken_back_is_not_stored_again(bench: Bench) -> None:
    first = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {A: first})
    second = bench.store.publish("dataset", bench.documents("a"), row_kind="document", parent=first.version_id)
    bench.run("filter", {A: second})
    third = bench.store.publish(
        "dataset", bench.documents("a", "b", "c"), row_kind="document", parent=second.version_id
    )
    assert [pq.read_metadata(bench.store.objects.path(ref.sha256)).num_rows for ref in segments(third.objects)] == [
        2,
        1,
    ]


def test_rows_of_a_parent_and_of_its_child_come_back_in_one_order_however_few_are_read_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = bench.store.publish(
        "dataset", bench.documents(*(f"a {number}" for number in range(40))), row_kind="document"
    )
    bench.run("filter", {A: parent})
    texts = [f"a {number}" for number in range(0, 40, 2)] + [f"b {number}" for number in range(25)]
    child = bench.store.publish("dataset", bench.documents(*texts), row_kind="document", parent=parent.version_id)
    bench.run("filter", {A: child})
    whole = load_rows(bench.store.objects, child.objects)
    monkeypatch.setattr(rowsets, "RUN_BYTES", 100)
    monkeypatch.setattr(row_batches, "_BATCH_ROWS", 3)
    parts = list(rowsets.ordered_rows(bench.store.objects, child.objects))
    assert len(parts) > 5
    assert pa.concat_tables(parts).equals(whole)
    assert sorted(whole.column("text").to_pylist()) == sorted(texts)
    hashes = row_hashes(whole).to_pylist()
    assert hashes == sorted(hashes)


def test_a_segment_that_somebody_else_wrote_in_another_order_is_read_all_the_same(bench: Bench) -> None:
    made = bench.store.publish("dataset", bench.documents("a", "b", "c"), row_kind="document")
    bench.run("filter", {A: made})
    ours = pq.read_table(bench.store.objects.path(segments(made.objects)[0].sha256))
    pq.write_table(ours.take([2, 0, 1]), bench.folder / "other")
    sha256, size, _ = bench.store.objects.put_file(bench.folder / "other")
    (ids,) = (ref for ref in made.objects if ref.role == "ids")
    found = load_rows(bench.store.objects, [ObjectRef("segments/x", sha256, size, "segment"), ids])
    assert found.equals(ours.drop_columns(["row_hash"]))


def test_rows_whose_hashes_begin_alike_are_told_apart_however_few_are_read_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 bits: nobody meets them by chance, but somebody may have looked for them."""
    table = pq.read_table(bench.documents("a", "b", "c", "d") / ROWS_FILE)
    hashes = [bytes(8) + bytes([number]) + bytes(23) for number in range(3)] + [bytes([1]) + bytes(31)]
    segment = table.append_column(HASH_FIELD, pa.array(hashes, ROW_HASH))
    pq.write_table(segment, bench.folder / "segment")
    sha256, size, _ = bench.store.objects.put_file(bench.folder / "segment")
    ids, length, _ = bench.store.objects.put_bytes(b"".join(hashes))
    refs = [ObjectRef(f"segments/{sha256}", sha256, size, "segment"), ObjectRef("ids", ids, length, "ids")]
    monkeypatch.setattr(rowsets, "RUN_BYTES", 1)
    parts = list(rowsets.ordered_rows(bench.store.objects, refs))
    assert [len(part) for part in parts] == [1, 1, 1, 1]
    assert pa.concat_tables(parts).equals(table)


def test_rows_are_counted_over_the_whole_file_however_few_are_read_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "_BATCH_ROWS", 2)
    folder = bench.documents("a", "b", "c", "d")
    table = pq.read_table(folder / ROWS_FILE)
    pq.write_table(table.set_column(1, "source", pa.array(["x", "y", "z", None])), folder / ROWS_FILE)
    with pytest.raises(InputError, match="row 3: field 'source' is empty"):
        bench.store.publish("dataset", folder, row_kind="document")
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), folder / ROWS_FILE)
    with pytest.raises(InputError, match=r"row 4: .* is already the key of row 1"):
        bench.store.publish("dataset", folder, row_kind="document")
    assert not any(bench.store.objects.temporary.iterdir())


def test_a_version_without_rows_has_its_columns(bench: Bench) -> None:
    publication = bench.store.publish("dataset", bench.documents(), row_kind="document")
    bench.run("filter", {A: publication})
    table = bench.store.rows(publication.version_id)
    assert (table.num_rows, table.column_names) == (0, ["doc_id", "source", "text"])


def test_rows_of_another_kind_and_foreign_files_are_refused_by_name(bench: Bench) -> None:
    folder = bench.documents("a")
    with pytest.raises(InputError, match=r"rows.parquet: not the columns of a prompt row"):
        bench.store.publish("dataset", folder, row_kind="prompt")
    (folder / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"nothing else; found also \['notes.txt'\]"):
        bench.store.publish("dataset", folder, row_kind="document")
    (bench.files(rows="").parent / "x").mkdir()
    with pytest.raises(InputError, match="holds rows"):
        bench.store.publish("dataset", bench.folder / "x", row_kind="document")
    broken = bench.files(a="no parquet")
    (broken / "a").rename(broken / "rows.parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        bench.store.publish("dataset", broken, row_kind="document")


def test_links_empty_folders_and_bad_kinds_are_refused(bench: Bench) -> None:
    folder = bench.files(a="1")
    (folder / "b").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="plain files only"):
        bench.store.publish("model", folder)
    with pytest.raises(InputError, match="empty"):
        bench.store.publish("model", bench.files())
    with pytest.raises(InputError, match="no such folder"):
        bench.store.publish("model", folder / "nothing")
    with pytest.raises(InputError, match="kind 'Mo del'"):
        bench.store.publish("Mo del", bench.files(a="1"))
    with pytest.raises(InputError, match="no version 'abc'"):
        bench.store.publish("dataset", bench.documents("a"), row_kind="document", parent="abc")


def test_a_publication_is_invisible_until_its_run_is_committed(bench: Bench) -> None:
    publication = bench.publish("w")
    with pytest.raises(InputError, match="there is no version"):
        bench.store.checkout(publication.version_id)


def test_many_callers_check_the_same_version_out_at_once(bench: Bench) -> None:
    publication = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {A: publication})
    gate = threading.Barrier(6)
    seen: list[int] = []

    def check_out() -> None:
        gate.wait()
        seen.append(bench.store.rows(publication.version_id).num_rows)

    threads = [threading.Thread(target=check_out) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2] * 6
    assert list((bench.store.root / "tmp").iterdir()) == []


def test_an_evicted_checkout_is_built_again(bench: Bench) -> None:
    publication = bench.publish("w")
    bench.run("train", {"model/policy@V1": publication})
    folder = bench.store.checkout(publication.version_id)
    bench.store.checkouts.evict(publication.version_id)
    assert not folder.exists()
    assert (bench.store.checkout(publication.version_id) / "weights").read_text() == "w"


def test_lost_rows_are_reported_and_publishing_them_again_heals_the_version(bench: Bench) -> None:
    parent = bench.store.publish("dataset", bench.documents("a"), row_kind="document")
    bench.run("filter", {A: parent})
    folder = bench.documents("a", "b")
    child = bench.store.publish("dataset", folder, row_kind="document", parent=parent.version_id)
    bench.run("filter", {A: child}, fingerprint="f")
    bench.store.objects.remove(segments(child.objects)[1].sha256)
    with pytest.raises(StoreError, match="1 of 2 rows are lost"):
        bench.store.rows(child.version_id)
    assert bench.store.find_finished("f") is None
    healed = bench.store.publish("dataset", folder, row_kind="document")
    assert healed.version_id == child.version_id
    bench.run("filter", {A: healed}, fingerprint="f")
    assert bench.store.rows(child.version_id).num_rows == 2
    assert bench.store.find_finished("f") is not None


def damage(path: Path) -> None:
    """Another last byte, the size as it was."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_publishing_again_replaces_a_damaged_object_of_the_same_size(bench: Bench) -> None:
    publication = bench.publish("weights")
    bench.run("train", {"model/policy@V1": publication})
    bench.store.checkout(publication.version_id)
    damage(bench.store.objects.path(publication.objects[0].sha256))
    assert verify(bench.store).damages != ()
    again = bench.publish("weights")
    assert (again.version_id, again.new_bytes) == (publication.version_id, 7)
    assert (bench.store.checkout(publication.version_id) / "weights").read_text() == "weights"
    assert verify(bench.store).problems == ()
    assert bench.publish("weights").new_bytes == 0


def test_publishing_rows_again_stores_those_that_lie_in_a_damaged_segment(bench: Bench) -> None:
    parent = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {A: parent})
    folder = bench.documents("a", "b", "c")
    child = bench.store.publish("dataset", folder, row_kind="document", parent=parent.version_id)
    bench.run("filter", {A: child})
    damage(bench.store.objects.path(segments(parent.objects)[0].sha256))
    with pytest.raises(StoreError, match=r"2 of 3 rows are lost, .* damaged: .*`halter repair"):
        bench.store.rows(child.version_id)
    healed = bench.store.publish("dataset", folder, row_kind="document", parent=parent.version_id)
    bench.run("filter", {A: healed})
    assert healed.version_id == child.version_id
    assert sorted(bench.store.rows(child.version_id).column("text").to_pylist()) == ["a", "b", "c"]


def test_what_is_damaged_is_not_checked_out_but_named_with_what_puts_it_right(bench: Bench) -> None:
    publication = bench.publish("weights")
    bench.run("train", {"model/policy@V1": publication})
    bench.store.checkout(publication.version_id)  # a link to the object
    place = bench.store.objects.path(publication.objects[0].sha256)
    damage(place)
    for _ in range(2):
        with pytest.raises(StoreError) as failure:
            bench.store.checkout(publication.version_id)
        assert str(failure.value).startswith(
            f"model/policy@V1 {publication.version_id[:12]}: object {place} is damaged"
        )
        assert "`halter repair --from BACKUP`" in str(failure.value)
    assert repair(bench.store).set_aside
    with pytest.raises(StoreError, match="is missing"):
        bench.store.checkout(publication.version_id)
    bench.publish("weights")
    assert (bench.store.checkout(publication.version_id) / "weights").read_text() == "weights"


def test_a_folder_of_rows_that_was_damaged_is_laid_out_again(bench: Bench) -> None:
    publication = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {A: publication})
    folder = bench.store.checkout(publication.version_id)
    for harm in (damage, lambda path: path.chmod(0o644) or path.write_bytes(b""), Path.unlink):
        folder.chmod(0o755)
        harm(folder / ROWS_FILE)
        assert sorted(bench.store.rows(publication.version_id).column("text").to_pylist()) == ["a", "b"]
    assert verify(bench.store).problems == ()
    assert list((bench.store.root / "tmp").iterdir()) == []


class Interrupted(Checkouts):
    """Somebody else checks the same version out in between: when this one has looked, takes away or builds."""

    def __init__(self, other: Checkouts, version: VersionInfo, at: str) -> None:
        super().__init__(other.folder, other.temporary, other.objects)
        self.other, self.version, self.at = other, version, at
        self.given: BinaryIO | None = None  # open, as by somebody who reads it

    def _between(self, at: str) -> None:
        if at == self.at and self.given is None:
            self.given = (self.other.get(self.version) / ROWS_FILE).open("rb")

    def _is_sound(self, version: VersionInfo, folder: Path) -> bool:  # type: ignore[override]
        found = Checkouts._is_sound(version, folder)
        self._between("looks")
        return found

    def evict(self, version: str) -> None:
        self._between("takes away")
        super().evict(version)

    def _build(self, version: VersionInfo, target: Path) -> None:
        self._between("builds")
        super()._build(version, target)


@pytest.mark.parametrize(
    ("harmed", "at"), [(False, "takes away"), (False, "builds"), (True, "looks")], ids=["absent", "new", "damaged"]
)
def test_of_two_that_check_out_at_once_none_takes_away_what_the_other_was_given(
    bench: Bench, harmed: bool, at: str
) -> None:
    """As two steps that read the same rows side by side."""
    publication = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {A: publication})
    version = bench.store.version(publication.version_id)
    if harmed:
        folder = bench.store.checkouts.get(version)
        folder.chmod(0o755)
        damage(folder / ROWS_FILE)
    interrupted = Interrupted(bench.store.checkouts, version, at)
    folder = interrupted.get(version)
    if interrupted.given is not None:
        with interrupted.given as read:
            assert os.fstat(read.fileno()).st_nlink == 1, "it is still there"
    assert Checkouts._is_sound(version, folder)
    assert list((bench.store.root / "tmp").iterdir()) == []


def test_what_is_checked_out_is_read_once_by_a_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = bench.publish("weights")
    bench.run("train", {"model/policy@V1": publication})
    read: list[Path] = []
    sha256 = objects.file_sha256

    def count(path: Path) -> str:
        read.append(path)
        return sha256(path)

    monkeypatch.setattr(objects, "file_sha256", count)
    monkeypatch.setattr(objects, "_contents", {})  # as in a process that did not publish it
    for _ in range(3):
        Store(bench.store.root).checkout(publication.version_id)
    assert read == [bench.store.objects.path(publication.objects[0].sha256)]


def test_where_there_are_no_hard_links_the_copies_are_checked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    publication = bench.publish("weights")
    bench.run("train", {"model/policy@V1": publication})
    folder = bench.store.checkout(publication.version_id)
    damage(folder / "weights")
    assert bench.store.objects.is_sound(publication.objects[0].sha256)
    assert (bench.store.checkout(publication.version_id) / "weights").read_text() == "weights"
