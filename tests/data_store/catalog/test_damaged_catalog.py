"""The catalog's file damaged anywhere, and cut short at any length: the journal holds everything, so nobody notices."""

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from data_store.catalog.catalog_file import CatalogFile
from data_store.catalog.database import connect
from data_store.catalog.events import TABLES
from data_store.damage import DamagedError, means_damage
from data_store.errors import StoreError
from data_store.names import AssetName
from data_store.records import Metric, RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
BLOCK = 262_144
HEADERS = 3 * 4096


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store with a catalog of some megabytes."""
    folder = tmp_path_factory.mktemp("large")
    shutil.copytree(empty_store, folder / "store")
    bench = Bench(Store(folder / "store"), folder / "work")
    rng = random.Random(0)
    for number in range(6):
        publication = bench.publish(f"weights {number}")
        points = [Metric(f"loss-{rng.random()}", rng.random(), step) for step in range(1, 100)]
        run = RunRecord("train", "V1", f"f-{number}", "1", {"text": rng.randbytes(150_000).hex()}, number)
        bench.store.commit_run(run, [], {"model": RunOutput(POLICY, publication)}, points)
    bench.store.rebuild()  # so that the file is written in one go
    return bench.store.root


@pytest.fixture
def damaged(large: Path, tmp_path: Path) -> Callable[[str], Store]:
    """A copy of that store, its catalog damaged: `flip 300000`, `cut 4096`."""

    def damage(how: str) -> Store:
        root = tmp_path / how.replace(" ", "-")
        shutil.copytree(large, root)
        kind, place = how.split()
        if kind == "cut":
            os.truncate(root / "catalog.duckdb", int(place))
        else:
            with (root / "catalog.duckdb").open("r+b") as file:
                file.seek(int(place))
                there = file.read(64)
                file.seek(int(place))
                file.write(bytes(byte ^ 0xFF for byte in there))
        return Store(root)

    return damage


def answers(store: Store) -> list[object]:
    """What several kinds of questions find."""
    heads = store.heads()
    return [
        heads,
        [run.run.run_id for run in store.runs(state="succeeded")],
        sorted(store.metrics(store.runs()[0].run.run_id), key=repr),
        store.lineage(POLICY),
        store.query("SELECT count(*) AS n, sum(hash(value)) AS total FROM metrics").to_pylist(),
        verify(store).problems,
    ]


def rows_of(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    return {name: sorted(store.catalog.read(f"FROM {name}"), key=repr) for name in TABLES}


def places(file: Path) -> list[str]:
    """The headers, each block where it begins, and lengths from nothing to nearly all."""
    size = file.stat().st_size
    blocks = range(HEADERS, size, BLOCK)
    flips = [0, 9, 20, 4096, 4100, 8200, *blocks, *(block + 777 for block in blocks)]
    cuts = [0, 1, 4096, HEADERS, HEADERS + 100, 200_000, 1_000_000, size // 2, size - BLOCK, size - 1]
    return [*(f"flip {place}" for place in flips), *(f"cut {length}" for length in cuts)]


@pytest.mark.parametrize(
    ("every", "least"),
    [
        pytest.param(40, 2, id="every fortieth place"),
        pytest.param(1, 3, id="every place", marks=pytest.mark.slow),
    ],
)
def test_wherever_the_catalog_is_damaged_every_question_is_answered_as_before(
    large: Path, damaged: Callable[[str], Store], every: int, least: int
) -> None:
    before = answers(Store(large))
    unsound = 0
    for how in places(large / "catalog.duckdb")[::every]:
        store = damaged(how)
        unsound += is_unsound(store.catalog.file)
        assert answers(store) == before, how
        store.set_override("V1", "train", "lr", 1)
        assert not is_unsound(store.catalog.file), f"{how}: made anew"
        assert [each.key for each in Store.open(store.root).overrides()] == ["lr"]
        shutil.rmtree(store.root)
    assert unsound >= least, "nearly every place is one that counts"


def is_unsound(file: Path) -> bool:
    """Whether DuckDB cannot read all of the file."""
    try:
        connection = connect(file, read_only=True, wait_seconds=1)
    except DamagedError:
        return True
    try:
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"FROM {name}").fetchall()
    except duckdb.Error as error:
        return means_damage(error)
    finally:
        connection.close()
    return False


def hidden_place(damaged: Callable[[str], Store], file: Path) -> Store:
    """A store damaged where opening does not tell, but a question does."""
    for block in range(HEADERS, file.stat().st_size, BLOCK):
        store = damaged(f"flip {block + 777}")
        try:
            connect(store.catalog.file, read_only=True, wait_seconds=1).close()
        except DamagedError:
            continue
        if is_unsound(store.catalog.file):
            return store
    raise AssertionError("there is no such place")


@pytest.mark.slow
def test_damage_that_comes_to_light_inside_a_block_leaves_the_block_its_one_state(
    large: Path, damaged: Callable[[str], Store]
) -> None:
    """Several threads at once, on one instance of DuckDB that none of them can use any more."""
    expected = rows_of(Store(large))
    store = hidden_place(damaged, large / "catalog.duckdb")
    gate, seen, failures = threading.Barrier(4), [], []

    def read() -> None:
        try:
            with store.one_state():
                gate.wait()
                seen.append((rows_of(store), rows_of(store)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(first == expected == last for first, last in seen)
    assert not is_unsound(store.catalog.file)


def test_a_file_that_another_program_holds_is_not_taken_for_damaged(bench: Bench) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(bench.store.catalog.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == b"open\n"
    before = bench.store.catalog.file.stat().st_ino
    bench.store.catalog.wait_seconds = 0.5
    with pytest.raises(StoreError, match="open in another program"):
        bench.store.heads()
    other.stdin.close()
    other.wait(60)
    assert bench.store.heads() == {}
    assert bench.store.catalog.file.stat().st_ino == before


def test_a_catalog_that_is_damaged_again_and_again_ends_in_a_clear_error(
    large: Path, damaged: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = damaged("cut 4096")
    rebuilt = 0
    rebuild = CatalogFile._rebuild

    def spoil(file: CatalogFile) -> None:
        nonlocal rebuilt
        rebuild(file)
        rebuilt += 1
        os.truncate(file.path, 4096)

    monkeypatch.setattr(CatalogFile, "_rebuild", spoil)
    with pytest.raises(StoreError, match=r"catalog\.duckdb is damaged"):
        store.set_override("V1", "train", "lr", 1)
    assert rebuilt == 1


def test_a_damaged_catalog_beside_a_broken_journal_says_what_is_broken(damaged: Callable[[str], Store]) -> None:
    store = damaged("cut 4096")
    segment = store.catalog.journal.segments_there()[2]
    segment.write_bytes(segment.read_bytes().replace(b'"seed":', b'"seed":1'))
    with pytest.raises(StoreError, match=f"{segment.name}: line 1: the chain of hashes is broken"):
        store.heads()
