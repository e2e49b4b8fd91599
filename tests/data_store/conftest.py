from pathlib import Path

import pytest
from store_bench import Bench

from data_store.store import Store


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store.open(tmp_path / "store"), tmp_path / "work")
