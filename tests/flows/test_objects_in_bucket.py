"""The pocket recipe on a store whose objects lie in a bucket, on a real S3 server."""

import json
import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.content.bucket import open_bucket
from tests.flows.recipe_runs import Finished, Home
from tests.s3_server import S3Server, keys

pytestmark = pytest.mark.cluster

KILLS = 3  # ten in tests/flows/test_servers_that_die.py


def begun(folder: Path, s3: S3Server, server: str) -> tuple[Home, str]:
    """A home with the empty store of the run, in a place of its own."""
    home, place = Home(folder, server), s3.new_place()
    told = home.halter("move-store", "pocket", "--new", "--objects", place, "--json")
    assert told.code == 0, told.err
    assert told.document["objects"]["place"] == place
    return home, place


def test_a_run_on_a_bucket_makes_the_same_contents_and_its_commands_work_from_another_machine(
    first_run: tuple[Home, Finished], s3: S3Server, server: str, pocket_file: Path, tmp_path: Path
) -> None:
    home, place = begun(tmp_path / "home", s3, server)
    made = home.halter("run", pocket_file, "--json")
    assert made.code == 0, made.err
    assert home.heads() == first_run[0].heads()
    assert home.look("verify", "--json").document["sound"]

    left_behind = shutil.ignore_patterns("objects", "checkouts", "datasets")
    shutil.copytree(home.folder, tmp_path / "elsewhere", ignore=left_behind)
    other = replace(home, folder=tmp_path / "elsewhere")
    again = other.halter("run", pocket_file, "--json")
    assert again.code == 0, again.err
    assert other.runs() == home.runs(), "nothing was computed again"
    assert set(other.states().values()) == {"fresh"}
    assert other.look("report", "--out", str(tmp_path / "report.html")).code == 0
    assert other.look("export", "parquet", str(tmp_path / "tables")).code == 0
    assert other.look("backup", str(tmp_path / "backup")).code == 0
    assert other.look("verify", "--backup", str(tmp_path / "backup")).code == 0

    here = other.look("move-store", "pocket", "--objects", "here", "--remove-old", "--json")
    assert here.code == 0, here.err
    assert keys(open_bucket(place)) == []
    assert other.look("verify", "--json").document["sound"]


@pytest.mark.conformance(
    "an acknowledged object that is lost when a process or the server dies",
    equation="data_store.content.bucket:Bucket._ask",
)
def test_a_run_goes_on_over_deaths_of_the_server_or_ends_clearly_and_is_taken_up(
    first_run: tuple[Home, Finished], s3: S3Server, server: str, pocket_file: Path, tmp_path: Path
) -> None:
    home, _ = begun(tmp_path / "home", s3, server)
    chance = random.Random(9)
    over = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        while killed < KILLS and not over.wait(chance.uniform(0.5, 8.0)):
            s3.kill()
            s3.start()
            killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    ends = []
    try:
        while not ends or ends[-1].code:
            ends.append(home.halter("run", pocket_file, "--json"))
            assert len(ends) <= KILLS, ends[-1].err
    finally:
        over.set()
        killer.join()
    for end in ends[:-1]:
        assert "s3://" in end.err, end.err
    assert killed >= 2
    assert home.heads() == first_run[0].heads()
    assert home.look("verify", "--json").document["sound"]
    print(json.dumps({"killed": killed, "starts": len(ends), "seconds": [round(end.seconds) for end in ends]}))
