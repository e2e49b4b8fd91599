"""Which examples property-based tests get: the same ones in every run, and new ones in a search."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PROPERTY = """
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=20)
@given(st.integers(0, 10**12))
def test_numbers(number: int) -> None:
    with Path("drawn.txt").open("a") as file:
        file.write(f"{number} ")
"""


def drawn(folder: Path, *options: str) -> str:
    """The examples that a run of pytest under this project's settings draws."""
    (folder / "drawn.txt").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder / "test_property.py"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "drawn.txt").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_property.py").write_text(PROPERTY)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    return tmp_path


@pytest.mark.slow
def test_two_runs_draw_the_same_examples_and_a_search_draws_others(folder: Path) -> None:
    first = drawn(folder)
    assert len(first.split()) == 20
    assert drawn(folder) == first
    searched = drawn(folder, "--hypothesis-profile=search")
    assert searched != first
    assert drawn(folder, "--hypothesis-profile=search") != searched
