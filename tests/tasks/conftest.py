import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_store.store import Store
from tasks.engine.processes import Workers
from tests.tasks.bench import Bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """One worker process for all tests: loading torch takes seconds. It can import the little steps."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        started = Workers()
        started.start()
        yield started
        started.close()


@pytest.fixture(scope="session")
def empty_task_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as `Store.open` makes it; made once, because laying down the schema takes a moment."""
    return Store.open(tmp_path_factory.mktemp("template") / "store").root


@pytest.fixture
def bench(tmp_path: Path, empty_task_store: Path, workers: Workers) -> Bench:
    shutil.copytree(empty_task_store, tmp_path / "store")
    return Bench(Store(tmp_path / "store"), workers, tmp_path / "ledger.txt")
