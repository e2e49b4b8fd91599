"""Folders of little models of every family, with a byte-level tokenizer and Llama 3's template."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.tokenizer import load_tokenizer
from tests.models.families import write

Brought = Callable[..., Path]


@pytest.fixture
def brought(tmp_path: Path, llama3_folder: Path) -> Brought:
    """Write a model of a family, with values of its config."""
    tokenizer = load_tokenizer(llama3_folder)

    def of(family: str = "Llama 3.x", **values: object) -> Path:
        return write(family, tokenizer, tmp_path / "brought", **values)

    return of
