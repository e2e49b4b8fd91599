"""Stores whose objects lie in a bucket, on a real S3 server: see tests/s3_server.py."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.content.bucket import Bucket, open_bucket
from data_store.content.bucket_objects import BucketObjects
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.places import read_places
from data_store.store import Store
from data_store.upkeep.backups import backup, restore, verify_backup
from data_store.upkeep.moving_objects import HERE, move_objects
from data_store.upkeep.repairs import repair
from data_store.upkeep.retention import Retention
from data_store.upkeep.transfer import import_store
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench
from tests.data_store.writers import nursery
from tests.s3_server import ROOT, S3Server, keys

pytestmark = pytest.mark.cluster

KILLS = 10
POLICY = AssetName("model", "policy", "V1")


@pytest.fixture
def place(s3: S3Server) -> str:
    return s3.new_place()


@pytest.fixture
def far(bench: Bench, place: str) -> Bench:
    """A store of one model and one version of rows, whose objects lie in the bucket alone."""
    bench.run("train", {"model/policy@V1": "weights"})
    rows = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {"dataset/corpus@V1": rows})
    move_objects(bench.store, place, remove_old=True)
    return replace(bench, store=Store.open(bench.store.root))


def sha_of(bench: Bench, asset: AssetName = POLICY) -> str:
    head = bench.store.head(asset)
    assert head is not None
    return bench.store.version(head.version_id).objects[0].sha256


def bucket_of(store: Store) -> Bucket:
    assert isinstance(store.objects, BucketObjects)
    return store.objects.bucket


def damage(bucket: Bucket, sha256: str, content: bytes) -> None:
    """Other bytes in the place of an object."""
    key = f"objects/{sha256[:2]}/{sha256}"
    bucket.delete([key])
    assert bucket.create(key, content)


def copies(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "objects").glob("??/*"))


def test_what_is_moved_lies_in_the_bucket_by_hash_and_reads_as_before(far: Bench, place: str) -> None:
    sha256 = sha_of(far)
    assert read_places(far.store.root).objects == place
    assert {"halter-store.json", f"objects/{sha256[:2]}/{sha256}"} <= set(keys(bucket_of(far.store)))
    assert copies(far.store) == []
    for head in far.store.heads().values():
        far.store.checkout(head.version_id)
    assert verify(far.store).problems == ()
    assert copies(far.store) == sorted(sha256 for sha256, _ in far.store.objects.all())


def test_another_machines_folder_without_copies_reads_and_publishes(far: Bench, tmp_path: Path) -> None:
    left_behind = shutil.ignore_patterns("objects", "checkouts", "datasets")
    shutil.copytree(far.store.root, tmp_path / "elsewhere" / "store", ignore=left_behind)
    other = Store.open(tmp_path / "elsewhere" / "store")
    head = other.head(POLICY)
    assert head is not None
    assert (other.checkout(head.version_id) / "weights").read_text() == "weights"
    publication = other.publish("model", far.files(weights="made elsewhere"))
    assert far.store.objects.sound(publication.objects[0].sha256).read_text() == "made elsewhere"


@pytest.mark.conformance(
    "an object in a bucket that is overwritten, or half there",
    equation="data_store.content.bucket_objects:BucketObjects.sound",
)
def test_a_copy_cut_short_is_fetched_again(far: Bench) -> None:
    sha256 = sha_of(far)
    copy = far.store.objects.sound(sha256)
    copy.chmod(0o644)
    os.truncate(copy, 3)
    assert far.store.objects.sound(sha256).read_text() == "weights"
    assert [path.name for path in (far.store.root / "tmp").iterdir()] == []


@pytest.mark.parametrize("content", [b"weightz", b"weigh", b""], ids=["another bit", "cut short", "empty"])
def test_damage_in_the_bucket_is_found_and_put_right_from_a_backup(far: Bench, tmp_path: Path, content: bytes) -> None:
    assert backup(far.store, tmp_path / "backup").problems == ()
    sha256 = sha_of(far)
    far.store.objects.sound(sha256)  # that a copy here is sound hides nothing
    damage(bucket_of(far.store), sha256, content)
    (found,) = verify(far.store).damages
    assert (found.sha256, found.fault) == (sha256, "damaged")
    assert found.place == f"{bucket_of(far.store).url}/objects/{sha256[:2]}/{sha256}"
    shutil.rmtree(far.store.root / "objects")
    done = repair(Store.open(far.store.root), tmp_path / "backup")
    assert len(done.restored) == 1
    assert verify(far.store).problems == ()
    assert bucket_of(far.store).look(f"objects/{sha256[:2]}/{sha256}").size == 7  # type: ignore[union-attr]


@pytest.mark.parametrize("lost", [False, True], ids=["damaged", "deleted"])
def test_a_sound_copy_here_puts_the_bucket_right(far: Bench, lost: bool) -> None:
    sha256 = sha_of(far)
    far.store.objects.sound(sha256)
    damage(bucket_of(far.store), sha256, b"weightz")
    if lost:
        bucket_of(far.store).delete([f"objects/{sha256[:2]}/{sha256}"])
    done = repair(far.store)
    assert (done.restored, done.set_aside, done.left.problems) == ((), (), ())
    assert [each for each in done.remade if "weights, from the copy here" in each]
    assert not [*(far.store.root / "damaged").glob("*")]
    assert verify(far.store).problems == ()


def test_damage_that_no_backup_has_is_set_aside_and_its_step_puts_it_there_anew(far: Bench) -> None:
    sha256 = sha_of(far)
    damage(bucket_of(far.store), sha256, b"weightz")
    assert len(repair(far.store).set_aside) == 1
    assert (far.store.root / "damaged" / sha256).read_bytes() == b"weightz"
    assert [each.fault for each in verify(far.store).damages] == ["missing"]
    far.publish("weights")
    assert verify(far.store).problems == ()


def test_publishing_over_damage_in_the_bucket_puts_it_right(far: Bench) -> None:
    damage(bucket_of(far.store), sha_of(far), b"weightz")
    publication = Store.open(far.store.root).publish("model", far.files(weights="weights"))
    assert publication.new_bytes == 7
    assert verify(far.store).problems == ()


def test_the_collector_removes_from_the_bucket_and_here_what_nothing_needs(far: Bench) -> None:
    orphan = far.publish("never committed").objects[0].sha256
    old = sha_of(far)
    far.run("train", {"model/policy@V1": "newer"})
    collect(far.store, dry_run=False)
    assert far.store.objects.exists(orphan), "within the grace period"
    collect(far.store, dry_run=False, grace_seconds=-60, retention=Retention(keep_versions=0, keep_days=0))
    there = {sha256 for sha256, _ in Store.open(far.store.root).objects.all()}
    assert there.isdisjoint({orphan, old})
    assert set(copies(far.store)) <= there
    assert verify(far.store).problems == ()


def test_what_is_wanted_again_has_a_new_grace_period(far: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    orphan = far.publish("wanted twice").objects[0].sha256
    stored = dict(far.store.objects.all())[orphan].modified
    time.sleep(2.1)  # its clock tells whole seconds
    monkeypatch.setattr("data_store.content.bucket_objects._RENEW_SECONDS", 1.0)
    far.publish("wanted twice")
    assert dict(far.store.objects.all())[orphan].modified > stored
    assert bucket_of(far.store).look(f"objects/{orphan[:2]}/{orphan}").modified == stored  # type: ignore[union-attr]


def test_erasing_takes_the_bytes_out_of_the_bucket_and_out_of_copies(far: Bench) -> None:
    far.store.checkout(far.store.heads()[POLICY].version_id)
    gone, version = sha_of(far), far.store.heads()[POLICY].version_id
    far.run("train", {"model/policy@V1": "without her"})
    collect(far.store, dry_run=False, erased={version: "withdrawn"})
    assert not [key for key in keys(bucket_of(far.store)) if gone in key]
    assert not [path for path in far.store.root.rglob("*") if path.is_file() and path.read_bytes() == b"weights"]


def test_a_backup_holds_everything_and_a_restored_one_stands_alone(far: Bench, tmp_path: Path) -> None:
    assert backup(far.store, tmp_path / "backup").problems == ()
    assert verify_backup(tmp_path / "backup").problems == ()
    restore(tmp_path / "backup", tmp_path / "home" / "again", lambda _folder: None)
    again = Store.open(tmp_path / "home" / "again")
    assert not isinstance(again.objects, BucketObjects)
    assert again.heads().keys() == far.store.heads().keys()
    with pytest.raises(InputError, match="give a backup of it"):
        import_store(again, far.store.root)


def test_two_processes_that_publish_the_same_at_once_both_have_it(far: Bench, tmp_path: Path) -> None:
    """In two folders, as on two machines."""
    shutil.copytree(far.store.root, tmp_path / "elsewhere" / "store")
    content = random.Random(3).randbytes(3_000_000)
    folders = []
    for number in range(2):
        folder = tmp_path / f"same-{number}"
        folder.mkdir()
        (folder / "weights").write_bytes(content)
        folders.append(folder)
    program = (
        "import sys, time; from pathlib import Path; from data_store.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "print(store.publish('model', Path(sys.argv[2])).version_id)"
    )
    roots = (far.store.root, tmp_path / "elsewhere" / "store")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for root, folder in zip(roots, folders, strict=True)
    ]
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    said = [each.communicate("go\n", timeout=120)[0] for each in both]
    assert said[0] == said[1] != ""
    assert verify(far.store).problems == ()


def test_large_files_travel_in_parts_and_are_never_overwritten(far: Bench, tmp_path: Path) -> None:
    content = random.Random(4).randbytes(40_000_000)
    (tmp_path / "large").write_bytes(content)
    sha256, size, new = far.store.objects.put_file(tmp_path / "large")
    assert (size, new) == (40_000_000, True)
    bucket = bucket_of(far.store)
    stored = bucket.look(f"objects/{sha256[:2]}/{sha256}")
    assert not bucket.create_file(f"objects/{sha256[:2]}/{sha256}", tmp_path / "large")
    assert bucket.look(f"objects/{sha256[:2]}/{sha256}") == stored
    assert not [key for key in keys(bucket) if key.startswith("uploads/")]
    shutil.rmtree(far.store.root / "objects")
    (far.store.root / "objects").mkdir()
    assert far.store.objects.sound(sha256).read_bytes() == content


def test_a_list_of_several_pages_has_every_object_once(far: Bench) -> None:
    bucket = bucket_of(far.store)
    for number in range(1200):
        bucket.create(f"many/{number:04}", b"x")
    assert [key for key, _ in bucket.listed("many/")] == [f"many/{number:04}" for number in range(1200)]


def test_two_stores_cannot_share_a_place(far: Bench, place: str, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    with pytest.raises(StoreError, match=rf"{place} holds the objects of store store \(\w+\), not of other \(\w+\)"):
        move_objects(other, place)
    assert read_places(other.root).objects is None
    taken = bucket_of(far.store)
    taken.delete(["halter-store.json"])
    with pytest.raises(StoreError, match=r"holds objects/.*give a prefix that is empty"):
        move_objects(other, place)


def test_moved_back_it_stands_alone_and_the_bucket_is_empty(far: Bench, place: str) -> None:
    hashes = sorted(sha256 for sha256, _ in far.store.objects.all())
    done = move_objects(far.store, HERE)
    assert (done.place, done.objects, done.left) == (HERE, len(hashes), place)
    here = Store.open(far.store.root)
    assert sorted(sha256 for sha256, _ in here.objects.all()) == hashes
    assert verify(here).problems == ()
    assert move_objects(here, HERE, remove_old=True).removed == len(hashes)
    assert keys(open_bucket(place)) == []
    assert verify(here).problems == ()
    assert read_places(here.root).left is None


def test_moved_on_without_removing_no_third_place_is_forgotten(far: Bench, place: str, s3: S3Server) -> None:
    second, third = s3.new_place(), s3.new_place()
    move_objects(far.store, second)
    store = Store.open(far.store.root)
    with pytest.raises(InputError, match=rf"still lie in {place}"):
        move_objects(store, third)
    move_objects(store, second, remove_old=True)
    assert keys(open_bucket(place)) == []
    assert verify(Store.open(store.root)).problems == ()


def test_a_store_that_is_moved_while_another_process_has_it_open_is_not_written_to_by_that(far: Bench) -> None:
    other = Store.open(far.store.root)
    move_objects(far.store, HERE)
    with pytest.raises(StoreError, match="were moved while this was at work"):
        other.publish("model", far.files(weights="too late"))


def test_a_store_on_a_read_only_disk_is_read_from_the_bucket(far: Bench, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path; from data_store.store import Store\n"
        "for words in (['--bind', sys.argv[1], sys.argv[1]], ['-o', 'remount,ro,bind', sys.argv[1]]):\n"
        "    if subprocess.run(['mount', *words], capture_output=True).returncode: sys.exit(77)\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "(head,) = [head for asset, head in store.heads().items() if asset.kind == 'model']\n"
        "print((store.checkout(head.version_id) / 'weights').read_text())"
    )
    (tmp_path / "scratch").mkdir()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", program, str(far.store.root)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "scratch")},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a folder in a namespace of their own")
    assert done.stdout == "weights\n", done.stderr
    assert copies(far.store) == []
    assert [*(tmp_path / "scratch").iterdir()] == []


@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": ""}, None, "no credentials in the environment: set AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, None, "does not accept the credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, None, "look at the network and at AWS_ENDPOINT_URL"),
        ({}, "s3://no-such-bucket/x", "s3://no-such-bucket/x/.*no such bucket: create it, or correct the address"),
        ({}, "s3://bucket", "give s3://BUCKET/PREFIX"),
        ({}, "/somewhere", "give s3://BUCKET/PREFIX, or 'here'"),
    ],
)
def test_what_keeps_a_bucket_from_being_used_is_said_with_what_to_do(
    bench: Bench,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    place: str | None,
    message: str,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("data_store.content.bucket_objects._OPENING_SECONDS", 1.0)
    with pytest.raises((StoreError, InputError), match=message):
        move_objects(bench.store, place or s3.new_place())
    assert verify(Store.open(bench.store.root)).problems == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no credentials in the environment"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not accept the credentials"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            r"no answer within 1 s; .*AWS_ENDPOINT_URL \(http://127.0.0.1:9\)",
        ),
    ],
)
def test_a_store_whose_bucket_is_out_of_reach_is_not_opened(
    far: Bench, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    """So that nothing is computed which could not be stored."""
    monkeypatch.setattr("data_store.content.bucket_objects._checked", set())  # as in a new process
    monkeypatch.setattr("data_store.content.bucket_objects._OPENING_SECONDS", 1.0)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((StoreError, InputError), match=message):
        Store.open(far.store.root)


def acknowledged(acks: Path) -> list[str]:
    return acks.read_text().splitlines() if acks.exists() else []


@pytest.mark.conformance(
    "an acknowledged object that is lost when a process or the server dies",
    equation="data_store.content.bucket_objects:BucketObjects._send",
)
def test_publishers_killed_at_any_moment_lose_nothing_acknowledged(far: Bench, tmp_path: Path) -> None:
    acks, root = tmp_path / "acks", far.store.root
    chance = random.Random(11)
    with nursery() as writers:
        for _ in range(KILLS // 2):
            seen = len(acknowledged(acks))
            pids = [writers.start("commit_runs", root, acks, name, 1000) for name in ("left", "right")]
            while len(acknowledged(acks)) == seen:
                time.sleep(0.005)
            for pid in pids:
                time.sleep(chance.uniform(0, 0.15))
                os.kill(pid, signal.SIGKILL)
            assert writers.wait() == [-signal.SIGKILL] * 2
    shutil.rmtree(root / "objects")  # nothing but the bucket is asked
    (root / "objects").mkdir()
    store = Store.open(root)
    finished = {summary.run.run_id for summary in store.runs(state="succeeded")}
    assert set(acknowledged(acks)) <= finished
    assert verify(store).problems == ()
    for head in store.heads().values():
        store.checkout(head.version_id)


def test_publishers_go_on_over_a_server_that_is_killed_and_comes_back(far: Bench, tmp_path: Path, s3: S3Server) -> None:
    acks, root = tmp_path / "acks", far.store.root
    with nursery() as writers:
        writers.start("commit_runs", root, acks, "left", 60)
        for _ in range(2):
            time.sleep(random.Random(5).uniform(0.2, 0.6))
            s3.kill()
            s3.start()
        assert writers.wait() == [0]
    assert len(acknowledged(acks)) == 60
    assert verify(Store.open(root)).problems == ()


def test_a_server_that_another_process_of_tests_starts_runs_beside_this_one(s3: S3Server, tmp_path: Path) -> None:
    other = S3Server(tmp_path)
    other.start()
    assert s3.process is not None
    assert s3.process.poll() is None
    other.kill()


def moving(root: Path, to: str) -> "subprocess.Popen[bytes]":
    program = (
        "import sys; from pathlib import Path; from data_store.store import Store\n"
        "from data_store.upkeep.moving_objects import move_objects\n"
        "store = Store.open(Path(sys.argv[1])); print(flush=True); move_objects(store, sys.argv[2], remove_old=True)"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(root), to], stdout=subprocess.PIPE, cwd=ROOT)


@pytest.mark.conformance(
    "a store that is switched to a place that has not all of it",
    equation="data_store.upkeep.moving_objects:move_objects",
)
@pytest.mark.parametrize("back", [False, True], ids=["into a bucket", "back into the folder"])
def test_a_move_killed_at_any_moment_leaves_a_sound_store_and_goes_on(bench: Bench, place: str, back: bool) -> None:
    for number in range(60):
        bench.run("train", {f"model/m{number}@V1": f"weights {number}" * 20_000})
    hashes = sorted(sha256 for sha256, _ in bench.store.objects.all())
    to = place
    if back:
        move_objects(bench.store, place)
        to = HERE
    started = time.monotonic()
    chance = random.Random(2)
    waits = iter(sorted(chance.uniform(0, 1.5) for _ in range(KILLS)))
    killed = 0
    for wait in waits:
        process = moving(bench.store.root, to)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        store = Store.open(bench.store.root)
        assert verify(store).problems == ()
    assert killed, f"all moves were quicker, {time.monotonic() - started:.1f} s"
    process = moving(bench.store.root, to)
    assert process.wait() == 0
    store = Store.open(bench.store.root)
    assert isinstance(store.objects, BucketObjects) != back
    assert sorted(sha256 for sha256, _ in store.objects.all()) == hashes
    assert verify(store).problems == ()
    assert keys(open_bucket(place)) == [] if back else copies(store) == []


def test_threads_share_one_bucket(far: Bench) -> None:
    failures: list[BaseException] = []

    def publish(number: int) -> None:
        try:
            folder = far.folder / f"thread-{number}"
            folder.mkdir(parents=True)
            (folder / "weights").write_text(f"of thread {number % 3}")
            far.store.publish("model", folder)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
