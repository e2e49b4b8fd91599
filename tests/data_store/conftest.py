import shutil
from pathlib import Path

import pytest

from data_store.store import Store
from tests.data_store.store_bench import Bench


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as `Store.open` makes it; made once, because laying down the schema takes a moment."""
    return Store.open(tmp_path_factory.mktemp("template") / "store").root


@pytest.fixture
def bench(tmp_path: Path, empty_store: Path) -> Bench:
    shutil.copytree(empty_store, tmp_path / "store")
    return Bench(Store(tmp_path / "store"), tmp_path / "work")
