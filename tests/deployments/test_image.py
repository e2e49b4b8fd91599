"""The image that the Dockerfile makes, and what compose.yaml starts from it: built and run for real, without Docker."""

import base64
import json
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.containers import Containers, is_built
from tests.flows.recipe_runs import POCKET, Home
from tests.postgres import MISSING, is_there, postgres
from tests.tasks.bench import wait_for

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(not is_built(), reason="no image is built: make image"),
    pytest.mark.skipif(not is_there(), reason=MISSING),
]
CONFIG = "/srv/halter/configs/smoke.yaml"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Containers]:
    """PostgreSQL, the Prefect server, the deployment and a worker: what `docker compose up` starts, one after the
    other, each when those that it depends on are healthy. The pocket recipe lies in the place of configs/smoke.yaml."""
    pocket = tmp_path / "pocket.yaml"
    pocket.write_text(POCKET)
    words = {name: secrets.token_hex(8) for name in ("POSTGRES_PASSWORD", "HALTER_PASSWORD")}
    given = {**words, "HALTER_CONFIG": "configs/smoke.yaml"}
    with (
        postgres(name="prefect", password=words["POSTGRES_PASSWORD"], port=5432),
        Containers(tmp_path, given, {pocket: CONFIG}) as containers,
    ):
        containers.start("server")
        containers.wait_until_healthy("server", 120)
        deployed = containers.run("deploy")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        containers.start("worker")
        containers.wait_until_healthy("worker", 120)
        yield containers


def ask(containers: Containers, path: str, **body: Any) -> Any:
    """The Prefect API, with the password that compose has given the server."""
    word = containers.services["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    known = base64.b64encode(word.encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:4200/api/{path}",
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json", "Authorization": f"Basic {known}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_compose_comes_up_from_the_image_and_a_run_that_the_worker_takes_ends_well(
    up: Containers, tmp_path: Path
) -> None:
    recipe = ask(up, "deployments/name/recipe/recipe")
    run = ask(up, f"deployments/{recipe['id']}/create_flow_run", name="by hand")
    wait_for(lambda: _state(up, run["id"]) in {"Completed", "Failed", "Crashed"}, "the end of the run", 900)
    assert _state(up, run["id"]) == "Completed", up.log("worker")
    made = Home(tmp_path / "store").heads()
    assert {"model/policy@V2", "dataset/prompts@base"} <= set(made)
    told = up.run("worker", "halter", "verify", "--run", "pocket")
    assert told.returncode == 0, told.stdout + told.stderr
    up.start("annotate")
    up.wait_until_healthy("annotate", 120)
    up.start("steps")
    up.wait_until_healthy("steps", 120)


def test_a_container_writes_to_nothing_but_its_volume_and_its_temporary_folder(tmp_path: Path) -> None:
    given = {"POSTGRES_PASSWORD": "a", "HALTER_PASSWORD": "b"}
    with Containers(tmp_path, given, {}) as containers:
        told = containers.run("worker", "sh", "-c", "id -u; touch /srv/store/there /tmp/there; touch /srv/halter/there")
    assert told.stdout == "10001\n"
    assert "Read-only file system" in told.stderr
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["there"]


def _state(containers: Containers, run: str) -> str:
    return str(ask(containers, f"flow_runs/{run}")["state_name"])
