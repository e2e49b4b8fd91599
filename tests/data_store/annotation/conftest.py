from pathlib import Path

import pytest

from tests.data_store.annotation.pairs import Desk, new_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)
