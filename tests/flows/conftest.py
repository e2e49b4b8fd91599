import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.guide_pages import QUICKSTART, follow
from tests.flows.recipe_runs import POCKET, Finished, Home


@pytest.fixture(scope="session")
def pocket_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket recipe as a config file."""
    path = tmp_path_factory.mktemp("configs") / "pocket.yaml"
    path.write_text(POCKET)
    return path


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, pocket_file: Path) -> tuple[Home, Finished]:
    """The pocket recipe, run once from nothing with halter's own Prefect server. Work on copies of it."""
    home = Home(tmp_path_factory.mktemp("home"))
    finished = home.halter("run", pocket_file, "--json")
    assert finished.code == 0, finished.err
    return home, finished


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server that all other commands share."""
    from flows.server import prefect_server

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
    home = replace(first_run[0], folder=tmp_path_factory.mktemp("redone") / "home", server=server)
    shutil.copytree(first_run[0].folder, home.folder)
    return home, dict(follow(QUICKSTART, home, pocket_file))
