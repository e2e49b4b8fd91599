"""Objects in a bucket, on one in memory that the client has; on a real server: test_objects_in_bucket.py."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.store import MemoryStore, S3Store

from data_store.content.bucket import Bucket
from data_store.content.bucket_objects import BucketObjects
from data_store.errors import LostObjectError, StoreError

STORE = ("0123abcd", "pocket")
WHO = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("s3://llamas/pocket", MemoryStore(), patience=0.0)


def objects_on(bucket: Bucket, folder: Path, limit: int | None = None) -> BucketObjects:
    """One machine's folder."""
    for name in ("objects", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return BucketObjects(folder / "objects", folder / "tmp", bucket, STORE, limit)


@pytest.fixture
def objects(bucket: Bucket, tmp_path: Path) -> BucketObjects:
    return objects_on(bucket, tmp_path)


def test_an_object_lies_under_its_hash_and_a_read_only_copy_here(objects: BucketObjects) -> None:
    assert objects.put_bytes(b"weights") == (WHO, 7, True)
    reader = objects.bucket.read(f"objects/{WHO[:2]}/{WHO}")
    assert reader is not None
    assert (reader.size, reader.read(99), reader.read(99)) == (7, b"weights", b"")
    copy = objects.path(WHO)
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777) == (b"weights", 0o444)


def test_publishing_anew_is_one_request_and_the_same_again_three(objects: BucketObjects) -> None:
    """The put; the refused put, a look at size and age, and where this process has not sent it, its bytes."""
    objects.put_bytes(b"weights")
    assert objects.bucket.requests == 1
    assert objects.put_bytes(b"weights") == (WHO, 7, False)
    assert objects.bucket.requests == 3


@pytest.mark.conformance(
    "an object that is taken to be stored because a copy of it is here",
    equation="data_store.content.bucket_objects:BucketObjects.is_sound",
)
def test_the_bucket_is_the_truth_and_a_copy_alone_is_not_enough(objects: BucketObjects, tmp_path: Path) -> None:
    objects.put_bytes(b"weights")
    objects.bucket.delete([f"objects/{WHO[:2]}/{WHO}"])
    other = objects_on(objects.bucket, tmp_path)  # another process, which has the copy too
    assert not other.exists(WHO)
    assert not other.is_sound(WHO)
    assert other.fault(WHO, 7, deep=False) == "missing"
    with pytest.raises(LostObjectError, match="missing from s3://llamas/pocket"):
        other.confirm([WHO])
    assert other.put_bytes(b"weights") == (WHO, 7, True)
    other.confirm([WHO])


@pytest.mark.conformance(
    "an object in a bucket that is overwritten, or half there",
    equation="data_store.content.bucket:Bucket.create",
)
def test_what_lies_there_is_never_replaced(objects: BucketObjects, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    assert objects.bucket.create("key", b"first")
    assert not objects.bucket.create("key", b"")
    assert not objects.bucket.create_file("key", tmp_path / "other")
    assert objects.bucket.look("key").size == 5  # type: ignore[union-attr]


def test_what_the_bucket_gives_is_held_against_its_name_before_it_is_seen(
    objects: BucketObjects, tmp_path: Path
) -> None:
    objects.bucket.create(f"objects/{WHO[:2]}/{WHO}", b"weightz")
    with pytest.raises(LostObjectError, match=rf"s3://llamas/pocket/objects/{WHO[:2]}/{WHO} is damaged; .*repair"):
        objects.sound(WHO)
    assert not objects.is_sound(WHO)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_damaged_copy_is_replaced_by_the_buckets_bytes(objects: BucketObjects) -> None:
    objects.put_bytes(b"weights")
    copy = objects.path(WHO)
    copy.chmod(0o644)
    copy.write_bytes(b"weightz")
    assert objects.sound(WHO).read_bytes() == b"weights"


def test_a_link_to_a_copy_stays_when_the_copy_goes(objects: BucketObjects, tmp_path: Path) -> None:
    objects.put_bytes(b"weights")
    objects.link(WHO, tmp_path / "checkout")
    assert objects.path(WHO).samefile(tmp_path / "checkout")
    assert not objects.shares(WHO, tmp_path / "checkout"), "to verify the bucket says nothing of files here"


def test_the_longest_unused_copies_make_room_and_what_a_checkout_holds_stays(bucket: Bucket, tmp_path: Path) -> None:
    """Of ten bytes each, where 30 may stay."""
    objects = objects_on(bucket, tmp_path, limit=30)
    hashes = [objects.put_bytes(f"weights-{number:02}".encode())[0] for number in range(3)]
    objects.link(hashes[0], tmp_path / "checkout")
    for age, sha256 in zip((9000, 8000, 7000), hashes, strict=True):
        mtime = objects.path(sha256).stat().st_mtime_ns
        os.utime(objects.path(sha256), ns=(mtime - age * 10**9, mtime))
    objects.sound(hashes[1])  # used now
    added = objects.put_bytes(b"weights-03")[0]
    there = [objects.path(sha256).exists() for sha256 in (*hashes, added)]
    assert there == [True, True, False, True]
    assert objects.sound(hashes[2]).read_bytes() == b"weights-02", "it is fetched again"


def test_many_questions_are_answered_from_one_list(objects: BucketObjects, tmp_path: Path) -> None:
    hashes = [objects.put_bytes(f"{number}".encode())[0] for number in range(200)]
    other = objects_on(objects.bucket, tmp_path)
    before = objects.bucket.requests
    assert all(map(other.exists, hashes))
    assert not other.exists(WHO)
    assert objects.bucket.requests - before == 6


def test_a_list_of_several_pages_has_every_key_once(bucket: Bucket) -> None:
    """Of 2,500, of 2,000, where the last page is full, and of other prefixes."""
    names = [f"objects/{number:05}" for number in range(2500)]
    for name in ("object", "objects0", *names):
        bucket.create(name, b"x")
    before = bucket.requests
    assert [key for key, _ in bucket.listed("objects/")] == names
    assert bucket.requests - before == 3
    bucket.delete(names[2000:])
    assert [key for key, _ in bucket.listed("objects/")] == names[:2000]


def test_what_is_removed_is_gone_there_and_here(objects: BucketObjects, tmp_path: Path) -> None:
    objects.put_bytes(b"weights")
    objects.remove(WHO)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(objects.all()) == []
    assert not objects.exists(WHO)


def test_copies_of_what_another_machine_removed_go_with_the_collector(objects: BucketObjects, tmp_path: Path) -> None:
    other = objects_on(objects.bucket, tmp_path / "elsewhere")
    for each in (objects, other):
        each.put_bytes(b"weights")
        each.put_bytes(b"kept")
    other.remove(WHO)
    objects.tidy(dict(objects.all()), grace_seconds=0.0)
    assert [path.read_bytes() for path in (tmp_path / "objects").glob("??/*")] == [b"kept"]


@pytest.mark.conformance(
    "two stores in one place, where each collects what the other needs",
    equation="data_store.content.bucket_owner:check_owner",
)
def test_a_place_has_one_owner(objects: BucketObjects, bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="so the objects of pocket are not there"):
        objects.check()
    objects.claim()
    objects.claim()
    objects.check()
    theirs = BucketObjects(tmp_path, tmp_path, bucket, ("ffff", "demo"))
    for refused in (theirs.claim, theirs.check, theirs.leave):
        with pytest.raises(StoreError, match=r"objects of store pocket \(0123abcd\), not of demo \(ffff\)"):
            refused()
    objects.put_bytes(b"weights")
    assert objects.leave() == 1
    assert list(bucket.listed("")) == []
    assert objects.path(WHO).exists()
    assert objects.leave() == 0


def test_names_that_are_no_hashes_are_neither_asked_for_nor_listed(objects: BucketObjects) -> None:
    objects.bucket.create("objects/zz/notes.txt", b"x")
    assert list(objects.all()) == []
    with pytest.raises(StoreError, match="is not a sha256"):
        objects.exists("../../etc/passwd")


def test_an_unanswered_request_is_tried_again_for_a_bounded_time(tmp_path: Path) -> None:
    """On a port where nobody listens."""
    store = S3Store(
        "llamas",
        endpoint="http://127.0.0.1:9",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    bucket = Bucket("s3://llamas/pocket", store, patience=0.3)
    with pytest.raises(StoreError, match=r"s3://llamas/pocket/key: no answer within 0.3 s; look at the network"):
        bucket.look("key")
    assert bucket.requests >= 2


class Careless(BaseHTTPRequestHandler):
    """An S3 server that lets everything be written, whatever the request says of what is there."""

    def do_GET(self) -> None:
        listing = b"<ListBucketResult><Name>llamas</Name><KeyCount>0</KeyCount></ListBucketResult>"
        self.answer(200, listing) if "list-type" in self.path else self.answer(404, b"<Code>NoSuchKey</Code>")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")

    def answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_without_conditional_writes_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = S3Store(
            "llamas",
            prefix="pocket",
            endpoint=f"http://127.0.0.1:{server.server_port}",
            access_key_id="key",
            secret_access_key="secret",
            client_options={"allow_http": True},
        )
        with pytest.raises(StoreError, match="writes over what is there in spite of If-None-Match"):
            objects_on(Bucket("s3://llamas/pocket", store, patience=1.0), tmp_path).claim()
        server.shutdown()
