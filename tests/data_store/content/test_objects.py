import hashlib
import os
from pathlib import Path

import pytest

from data_store.content.objects import Objects
from data_store.errors import StoreError


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    (tmp_path / "objects").mkdir()
    (tmp_path / "tmp").mkdir()
    return Objects(tmp_path / "objects", tmp_path / "tmp")


def test_an_object_lies_read_only_under_the_hash_of_its_bytes(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    sha256, size, new = objects.put_file(tmp_path / "a")
    path = tmp_path / "objects" / sha256[:2] / sha256
    assert (sha256, size, new) == (hashlib.sha256(b"hello").hexdigest(), 5, True)
    assert path.read_bytes() == b"hello"
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_same_bytes_are_stored_once_and_count_as_wanted_again(objects: Objects) -> None:
    sha256, _, _ = objects.put_bytes(b"x")
    os.utime(objects.path(sha256), (0, 0))
    inode = objects.path(sha256).stat().st_ino
    assert objects.put_bytes(b"x") == (sha256, 1, False)
    assert objects.path(sha256).stat().st_ino == inode
    assert objects.path(sha256).stat().st_mtime > 0


def test_consuming_moves_the_file_and_copying_leaves_it(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    inode = (tmp_path / "a").stat().st_ino
    sha256, _, _ = objects.put_file(tmp_path / "a", consume=True)
    objects.put_file(tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert objects.path(sha256).stat().st_ino == inode
    assert (tmp_path / "b").exists()


def test_writing_the_published_file_later_does_not_reach_the_object(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    sha256, _, _ = objects.put_file(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"later")
    objects.sound(sha256)


def test_damage_and_loss_are_found_and_named(objects: Objects) -> None:
    sha256, _, _ = objects.put_bytes(b"weights")
    objects.path(sha256).chmod(0o644)
    objects.path(sha256).write_bytes(b"weightz")
    with pytest.raises(StoreError, match="is damaged"):
        objects.sound(sha256)
    objects.path(sha256).unlink()
    with pytest.raises(StoreError, match=f"object {sha256} is missing"):
        objects.sound(sha256)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_paths_are_made_of_hashes_only(objects: Objects, name: str) -> None:
    with pytest.raises(StoreError, match="not a sha256"):
        objects.path(name)
