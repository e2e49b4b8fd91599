"""What keeps the house one that can be read: sizes of functions and files, and what a step's lineage names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.code import PACKAGES, code_files

ROOT = Path(__file__).resolve().parents[1]
FUNCTION_LINES, FILE_LINES = 80, 350
TABLES = {"web/texts.py", "data_store/rows.py"}  # texts in two languages; an entry for each kind of rows


def sources() -> Iterator[Path]:
    for package in {*PACKAGES, "flows", "web"}:
        yield from (ROOT / package).rglob("*.py")


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno >= FUNCTION_LINES
    ]
    assert long == []


def test_no_file_is_longer_than_it_must_be() -> None:
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in sources()}
    assert {name for name, count in lines.items() if count > FILE_LINES} == TABLES


@pytest.mark.parametrize(("step", "most"), [("train_tokenizer", 10), ("sft", 38)])
def test_the_lineage_of_a_step_names_what_can_matter(step: str, most: int) -> None:
    files = code_files(f"tasks.{step}")
    assert f"tasks/{step}.py" in files
    assert len(files) <= most, list(files)
