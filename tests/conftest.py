"""Property-based tests draw the same examples each time, so that a change is judged by what it changed; what a search
with new examples finds becomes a test with a value of its own. `make search` searches.
"""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from data_store.commands import speak_of

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fixed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is loaded here stays: the collections of garbage in the tests to come need not look through it each time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _no_run_is_spoken_of() -> Iterator[None]:
    """What an earlier test of this process has spoken of is in no command that this one prints."""
    speak_of(None)
    yield
    speak_of(None)
