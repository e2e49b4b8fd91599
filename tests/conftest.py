"""Property-based tests draw the same examples each time, so that a change is judged by what it changed; what a search
with new examples finds becomes a test with a value of its own. `make search` searches.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from data_store.commands import speak_of
from flows.commands.help_panels import without_collection
from tests.s3_server import MISSING, PROGRAM, Buckets, S3Server, in_memory

if TYPE_CHECKING:
    from tests.postgres import Postgres
    from tests.ray_cluster import RayCluster

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fixed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Test modules load nearly all that there is."""
    with without_collection():
        return (yield)


@pytest.fixture(scope="session")
def running_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for all tests of this process."""
    if not PROGRAM.exists():
        pytest.skip(MISSING)
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3(running_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its address and credentials in the environment."""
    for name, value in running_s3.environment.items():
        monkeypatch.setenv(name, value)
    return running_s3


@pytest.fixture(scope="session")
def running_ray(running_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RayCluster]":
    """A Ray cluster of two nodes for all tests of this process; what is done there reaches the S3 server."""
    from tests.ray_cluster import FOLDER, MISSING, RayCluster

    if not (FOLDER / "ray").exists():
        pytest.skip(MISSING)
    cluster = RayCluster(tmp_path_factory.mktemp("ray"), running_s3.environment)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def ray_cluster(running_ray: "RayCluster", s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> "RayCluster":
    """The cluster, whole, with what finds it in the environment."""
    from tests.ray_cluster import environment

    if not running_ray.second.processes():
        running_ray.join()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return running_ray


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Buckets in memory, to which every address leads in this test."""
    made = in_memory()
    monkeypatch.setattr("data_store.content.bucket.open_bucket", made)
    return made


@pytest.fixture(autouse=True)
def _no_run_is_spoken_of() -> Iterator[None]:
    """What an earlier test of this process has spoken of is in no command that this one prints."""
    speak_of(None)
    yield
    speak_of(None)


@pytest.fixture(scope="session")
def database() -> "Iterator[Postgres]":
    """A PostgreSQL server of this process's tests; each test takes a schema of its own."""
    from tests.postgres import MISSING, is_there, postgres

    if not is_there():
        pytest.skip(MISSING)
    with postgres() as running:
        yield running
