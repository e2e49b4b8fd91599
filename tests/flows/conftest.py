import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.flows.guide_pages import QUICKSTART, follow
from tests.flows.recipe_runs import POCKET, Finished, Home


@pytest.fixture(scope="session")
def pocket_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket recipe as a config file."""
    path = tmp_path_factory.mktemp("configs") / "pocket.yaml"
    path.write_text(POCKET)
    return path


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> tuple[Path, Any]:
    """The folder `name` of this session's tests and what `make` gave (plain JSON values) when it filled the folder: the
    first of the processes that run tests side by side makes it, the others wait for it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    made, folder = root / f"{name}.json", root / name
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made.write_text(json.dumps(make(folder)))
    return folder, json.loads(made.read_text())


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, pocket_file: Path) -> tuple[Home, Finished]:
    """The pocket recipe, run once from nothing with halter's own Prefect server. Work on copies of it."""

    def make(folder: Path) -> object:
        finished = Home(folder).halter("run", pocket_file, "--json")
        assert finished.code == 0, finished.err
        return asdict(finished)

    folder, finished = made_once(tmp_path_factory, "first-run", make)
    return Home(folder), Finished(**finished)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server that all other commands share."""
    from flows.server.server import prefect_server

    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_HOME"):
            patch.delenv(name, raising=False)
        with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
            yield url


@pytest.fixture
def copy_of_first_run(first_run: tuple[Home, Finished], tmp_path: Path, server: str) -> Callable[[], Home]:
    """A copy of the finished run, to change at will."""

    def copy() -> Home:
        shutil.copytree(first_run[0].folder, tmp_path / "home")
        return replace(first_run[0], folder=tmp_path / "home", server=server)

    return copy


@pytest.fixture(scope="session")
def redone(
    first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory, server: str, pocket_file: Path
) -> tuple[Home, dict[str, str]]:
    """The finished run on which somebody has followed the quickstart: V1's safety reward model was trained once more,
    with other margins. With what each command of the page said. Work on copies of it."""

    def make(folder: Path) -> object:
        shutil.copytree(first_run[0].folder, folder, dirs_exist_ok=True)
        return dict(follow(QUICKSTART, replace(first_run[0], folder=folder, server=server), pocket_file))

    folder, said = made_once(tmp_path_factory, "redone", make)
    return replace(first_run[0], folder=folder, server=server), said
