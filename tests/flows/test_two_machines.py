"""One run on two machines that share its store: the journal lies on a PostgreSQL server, each machine has a home of its
own. The objects are one folder here, by a link."""

import json
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import StoreError
from data_store.places import read_places
from data_store.store import Store
from data_store.upkeep.moving_journal import move_journal
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.session import remember
from tests.flows.recipe_runs import Finished, Home
from tests.postgres import Postgres
from tests.s3_server import S3Server

pytestmark = pytest.mark.cluster


def shared_homes(folder: Path, server: str | None, database: Postgres, config: Path) -> tuple[Home, Home]:
    """Two homes whose stores share a journal that has no event yet."""
    url = database.fresh()
    first, second = Home(folder / "first", server), Home(folder / "second", server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(first.folder))
        remember(load_config(config))
    assert first.look("move-store", "pocket", "--journal", url, "--json").code == 0
    join(second, first, url, config)
    return first, second


def join(home: Home, first: Home, url: str, config: Path) -> Any:
    told = home.look("join-store", str(config), "--journal", url, "--json")
    assert told.code == 0, told.err
    objects = home.folder / "pocket" / "objects"
    objects.rmdir()
    objects.symlink_to(first.folder / "pocket" / "objects")
    return told.document


@pytest.mark.conformance(
    "two machines do a step twice, or make something else than one", equation="tasks.engine.execute:execute"
)
def test_two_machines_that_run_the_recipe_together_do_each_step_once_and_make_what_one_makes(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, database: Postgres, pocket_file: Path
) -> None:
    """Meanwhile a third one removes whatever is not needed, again and again."""
    first, second = shared_homes(tmp_path, server, database, pocket_file)
    third = Home(tmp_path / "third", server)
    join(third, first, str(read_places(first.folder / "pocket").journal), pocket_file)
    over = threading.Event()
    collected: list[Finished] = []

    def collect() -> None:
        while not over.wait(1.0):
            collected.append(third.look("gc", "--delete", "--keep-versions", "0", "--keep-days", "0", "--json"))

    collector = threading.Thread(target=collect)
    collector.start()
    running = [home.start("run", pocket_file, "--json") for home in (first, second)]
    try:
        said = [process.communicate(timeout=900) for process in running]
    finally:
        over.set()
        for process in running:
            process.kill()
        collector.join()
    assert [process.returncode for process in running] == [0, 0], said
    assert collected
    assert [done.err for done in collected if done.code] == []
    assert first.heads() == second.heads() == third.heads() == first_run[0].heads()
    done = Counter((run.run.part, run.run.step) for run in first.store.runs(state="succeeded"))
    assert set(done.values()) == {1}
    assert len(first.store.runs()) == sum(done.values())  # nothing failed, crashed or was begun twice
    for home in (first, second, third):
        assert verify(home.store).problems == ()
        assert set(home.states().values()) == {"fresh"}


def test_two_machines_with_objects_in_a_bucket_and_the_journal_on_a_server_make_what_one_makes(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, database: Postgres, s3: S3Server, pocket_file: Path
) -> None:
    """Each has an empty folder; nothing but the two servers is between them."""
    url, place = database.fresh(), s3.new_place()
    first, second = Home(tmp_path / "first", server), Home(tmp_path / "second", server)
    told = first.look("move-store", "pocket", "--new", "--objects", place, "--journal", url, "--json")
    assert told.code == 0, told.err
    assert (told.document["objects"]["place"], told.document["journal"]["entries"]) == (place, 0)
    joined = second.look("join-store", str(pocket_file), "--journal", url, "--objects", place, "--json")
    assert joined.code == 0, joined.err
    running = [home.start("run", pocket_file, "--json") for home in (first, second)]
    try:
        said = [process.communicate(timeout=900) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    assert first.heads() == second.heads() == first_run[0].heads()
    done = Counter((run.run.part, run.run.step) for run in first.store.runs(state="succeeded"))
    assert set(done.values()) == {1}
    for home in (first, second):
        assert verify(home.store).problems == ()
    back = second.look("move-store", "pocket", "--objects", "here", "--journal", "here", "--json")
    assert back.code == 0, back.err
    assert second.look("verify", "--json").document["sound"]
    assert second.heads() == first_run[0].heads()


def test_a_finished_run_is_moved_joined_asked_on_both_machines_and_brought_back(
    first_run: tuple[Home, Finished], tmp_path: Path, database: Postgres, pocket_file: Path
) -> None:
    shutil.copytree(first_run[0].folder, tmp_path / "first")
    first, second = replace(first_run[0], folder=tmp_path / "first"), Home(tmp_path / "second")
    url = database.fresh()
    told = first.look("move-store", "pocket", "--journal", url)
    assert told.code == 0, told.err
    assert "all verified" in told.out
    assert f"halter join-store CONFIG --journal '{url}'" in told.out
    assert join(second, first, url, pocket_file)["missing_objects"] > 0  # before the link was laid
    assert second.heads() == first.heads()
    assert set(second.states().values()) == {"fresh"}
    assert second.look("verify", "--json").document["sound"]
    assert second.look("gc", "--json").code == 0
    refused = second.look("rename", "pocket", "other")
    assert refused.code == 2
    assert "other machines may know the run by its name" in refused.err
    back = first.look("move-store", "pocket", "--journal", "here", "--remove-old", "--json")
    assert back.document["journal"]["before"].startswith("postgresql://")
    assert first.heads() == first_run[0].heads()
    assert second.look("status").code == 1  # nothing is there any more
    assert json.loads((first.folder / "pocket" / "places.json").read_text()).keys() == {"store"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["move-store", "nobody", "--journal", "here"], "there is no run 'nobody'"),
        (["move-store", "pocket"], "say where to"),
        (["move-store", "pocket", "--journal", "s3://bucket"], "no address of PostgreSQL"),
        (["move-store", "pocket", "--journal", "postgresql://me:geheim@host/db"], "holds a password"),
    ],
)
def test_a_move_that_cannot_be_is_refused_before_anything_is_changed(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    root = Store.open(tmp_path / "pocket").root
    told = Home(tmp_path).look(*arguments)
    assert told.code == 2
    assert words in told.err
    assert "geheim" not in told.err
    assert not (root / "places.json").exists()


def test_a_server_that_is_not_there_is_told_and_the_store_stays_as_it_is(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "pocket")
    with pytest.raises(StoreError, match="does not answer"):
        move_journal(store, "postgresql:///db?host=/nowhere")
    store.set_override("V1", "sft", "a", 1)
    assert len(Store.open(store.root).overrides()) == 1
