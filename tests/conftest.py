from collections.abc import Iterator

import pytest

from data_store.commands import speak_of


@pytest.fixture(autouse=True)
def _no_run_is_spoken_of() -> Iterator[None]:
    """What an earlier test of this process has spoken of is in no command that this one prints."""
    speak_of(None)
    yield
    speak_of(None)
