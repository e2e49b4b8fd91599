from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data_store.annotation.pairs import Desk, new_desk
from tests.web.served import serving


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.fixture
def url(desk: Desk) -> Iterator[str]:
    with serving(desk.book) as url:
        yield url
