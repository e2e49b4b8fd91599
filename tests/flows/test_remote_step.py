"""Steps that a worker of another machine does: a real Prefect server, a real worker with a home and a working folder of
its own, a real S3 server between them."""

from pathlib import Path

import pytest

from data_store.content.bucket import open_bucket
from data_store.places import read_places
from data_store.upkeep.verification import verify
from tests.flows.pool_bench import SENT, config_of, pool_of
from tests.flows.recipe_runs import Finished, Home
from tests.s3_server import S3Server, keys

pytestmark = pytest.mark.cluster


@pytest.mark.conformance(
    "a model that is another one because it was trained on another machine", equation="tasks.engine.execute:_send"
)
def test_the_recipe_with_its_trainings_on_another_machine_makes_what_one_machine_makes(
    first_run: tuple[Home, Finished], s3: S3Server, server: str, tmp_path: Path
) -> None:
    home, config = Home(tmp_path / "home", server), config_of(tmp_path, "gpu")
    with pool_of(home, config, s3, tmp_path / "gpu", "gpu") as pool:
        made = home.halter("run", config, "--json")
        assert made.code == 0, f"{made.err}\n{pool.log()}"
        assert home.heads() == first_run[0].heads()
        sent = [run for run in home.store.runs() if run.run.step in SENT]
        assert len(sent) == len(pool.runs()) == 11
        assert {run["state_name"] for run in pool.runs()} == {"Completed"}
        assert all(run.metrics["processor_seconds"] > 0 for run in sent)
        assert set(home.states().values()) == {"fresh"}
        assert verify(home.store).problems == ()
        place = read_places(home.store.root).objects
        assert place is not None
        assert [key for key in keys(open_bucket(place)) if key.startswith("steps/")] == []
        assert not list((pool.folder / "home").rglob("*.duckdb"))
        assert list((pool.folder / "cwd").iterdir()) == []
        again = home.halter("run", config, "--json")
        assert again.code == 0
        assert len(pool.runs()) == 11, "nothing was done again"
        local = {run.run.step: run.seconds for run in first_run[0].store.runs() if run.run.part == "V1"}
        print({run.run.step: (run.seconds, local.get(run.run.step)) for run in sent if run.run.part == "V1"})
