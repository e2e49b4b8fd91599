"""The pocket recipe with its journal on a PostgreSQL server and its objects in a bucket, while the server or the flow
is killed again and again."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from data_store.upkeep.verification import verify
from tests.flows.recipe_runs import Finished, Home
from tests.postgres import Postgres
from tests.s3_server import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

KILLS = 10


def stored_elsewhere(folder: Path, server: str, database: Postgres, s3: S3Server) -> Home:
    """A home whose folder holds nothing of the run but what it takes to find it."""
    home = Home(folder, server)
    places = ("--objects", s3.new_place(), "--journal", database.fresh())
    told = home.look("move-store", "pocket", "--new", *places, "--json")
    assert told.code == 0, told.err
    return home


def run_under(home: Home, config: Path, kill: Callable[[], None], seed: int) -> list[Finished]:
    """The ends of as many runs as it took, while `kill` is called at ten random moments of them."""
    chance, over, killed = random.Random(seed), threading.Event(), list[float]()

    def go_on_killing() -> None:
        while len(killed) < KILLS and not over.wait(chance.uniform(0.5, 8.0)):
            kill()
            killed.append(time.monotonic())

    killer = threading.Thread(target=go_on_killing)
    killer.start()
    ends: list[Finished] = []
    try:
        while not ends or ends[-1].code or len(killed) < KILLS:
            ends.append(home.halter("run", config, "--json"))
            assert len(ends) <= 3 * KILLS, ends[-1].err
    finally:
        over.set()
        killer.join()
    print(json.dumps({"killed": len(killed), "starts": len(ends), "seconds": [round(end.seconds) for end in ends]}))
    return ends


def assert_nothing_is_lost(home: Home, undisturbed: Home) -> None:
    assert home.heads() == undisturbed.heads()
    assert verify(home.store).problems == ()
    assert set(home.states().values()) == {"fresh"}
    succeeded = Counter((run.run.part, run.run.step) for run in home.store.runs(state="succeeded"))
    assert set(succeeded.values()) == {1}, "what was acknowledged is not done again"


def test_ten_deaths_of_the_journals_server_lose_nothing_and_the_run_goes_on_or_ends_clearly(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, database: Postgres, s3: S3Server, pocket_file: Path
) -> None:
    home, chance = stored_elsewhere(tmp_path, server, database, s3), random.Random(5)

    def kill() -> None:
        database.kill()
        time.sleep(chance.uniform(0, 3))
        database.start()

    for end in run_under(home, pocket_file, kill, seed=3)[:-1]:
        assert not end.code or "does not answer" in end.err, end.err
    assert_nothing_is_lost(home, first_run[0])


def test_ten_deaths_of_the_buckets_server_lose_nothing_and_the_run_goes_on_or_ends_clearly(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, database: Postgres, s3: S3Server, pocket_file: Path
) -> None:
    home = stored_elsewhere(tmp_path, server, database, s3)

    def kill() -> None:
        s3.kill()
        s3.start()

    for end in run_under(home, pocket_file, kill, seed=9)[:-1]:
        assert not end.code or "s3://" in end.err, end.err
    assert_nothing_is_lost(home, first_run[0])


def test_ten_deaths_of_the_flow_lose_nothing_on_remote_journal_and_objects(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, database: Postgres, s3: S3Server, pocket_file: Path
) -> None:
    home, chance = stored_elsewhere(tmp_path, server, database, s3), random.Random(4)
    for _ in range(KILLS):
        process = home.start("run", pocket_file, "--json")
        time.sleep(chance.uniform(4, 20))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    done = home.halter("run", pocket_file, "--json")
    assert done.code == 0, done.err
    assert_nothing_is_lost(home, first_run[0])
