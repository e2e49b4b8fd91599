"""Many writers of two machines, and sudden death of writers and of the server: nothing acknowledged is lost, and no
event is applied twice."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.machines import two_machines
from tests.data_store.writers import nursery
from tests.postgres import MISSING, Postgres, is_there, postgres

pytestmark = pytest.mark.cluster
KILLS = 10


def acknowledged(acks: Path) -> list[str]:
    return acks.read_text().splitlines() if acks.exists() else []


def whole(stores: list[Store]) -> list[str]:
    """The events of the journal by their ids, each checked to be there once and to be in every catalog."""
    ids = [entry.event["event_id"] for entry in stores[0].catalog.journal.whole()]
    assert len(set(ids)) == len(ids)
    for store in stores:
        known = [event_id for (event_id,) in store.catalog.read("SELECT event_id FROM applied_event ORDER BY seq")]
        assert known == ids
        assert verify(store).problems == ()
    return ids


def test_eight_writers_of_two_machines_lose_nothing_and_both_catalogs_say_the_same(
    tmp_path: Path, database: Postgres
) -> None:
    benches = two_machines(tmp_path, database)
    acks = tmp_path / "acks"
    with nursery() as writers:
        for number in range(8):
            writers.start("set_overrides", benches[number % 2].store.root, acks, f"writer-{number}", 25)
        assert writers.wait() == [0] * 8
    stores = [each.store for each in benches]
    assert len(whole(stores)) == 200
    for store in stores:
        assert {f"{found.step} {found.key}" for found in store.overrides()} == set(acknowledged(acks))
    assert stores[0].overrides() == stores[1].overrides()


@pytest.mark.conformance(
    "sudden death of writers or of the server loses what was acknowledged", equation="data_store.catalog.term:lead"
)
def test_writers_of_two_machines_killed_at_any_moment_lose_nothing_acknowledged(
    tmp_path: Path, database: Postgres
) -> None:
    benches = two_machines(tmp_path, database)
    acks, chance, killed = tmp_path / "acks", random.Random(11), 0
    with nursery() as writers:
        deadline = time.monotonic() + 600  # to stop, not to judge: a busy machine takes its time
        while killed < KILLS and time.monotonic() < deadline:
            seen = len(acknowledged(acks))
            pids = [
                writers.start("commit_runs", each.store.root, acks, f"m{n}", 1000) for n, each in enumerate(benches)
            ]
            while len(acknowledged(acks)) == seen and time.monotonic() < deadline:
                time.sleep(0.005)
            for pid in pids:
                time.sleep(chance.uniform(0, 0.15))
                os.kill(pid, signal.SIGKILL)
                killed += 1
            assert writers.wait() == [-signal.SIGKILL] * 2  # none had died of an error of its own
    assert killed >= KILLS
    stores = [Store.open(each.store.root) for each in benches]
    whole(stores)
    finished = {summary.run.run_id for summary in stores[1].runs(state="succeeded")}
    assert set(acknowledged(acks)) <= finished
    assert len(acknowledged(acks)) >= KILLS // 2


@pytest.mark.conformance(
    "sudden death of writers or of the server loses what was acknowledged", equation="data_store.catalog.term:lead"
)
def test_a_server_killed_at_any_moment_loses_nothing_acknowledged_and_its_writers_go_on(tmp_path: Path) -> None:
    if not is_there():
        pytest.skip(MISSING)
    with postgres() as database, nursery() as writers:
        benches = two_machines(tmp_path, database)
        acks, chance = tmp_path / "acks", random.Random(12)
        for number in range(4):
            writers.start("set_overrides", benches[number % 2].store.root, acks, f"writer-{number}", 60)
        for _ in range(KILLS):
            seen, deadline = len(acknowledged(acks)), time.monotonic() + 60
            while len(acknowledged(acks)) == seen < 240 and time.monotonic() < deadline:
                time.sleep(0.01)  # nobody's patience is to end because the machine is busy
            time.sleep(chance.uniform(0, 0.3))
            database.kill()
            database.start()
        assert writers.wait() == [0] * 4
        stores = [each.store for each in benches]
        assert len(acknowledged(acks)) == 240
        assert len(whole(stores)) == 240
        assert {f"{found.step} {found.key}" for found in stores[0].overrides()} == set(acknowledged(acks))
