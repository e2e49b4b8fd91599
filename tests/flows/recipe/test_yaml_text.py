"""YAML as people write it: what a key that is given twice would silently change is refused, by file, line and key."""

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_store.errors import InputError
from flows.cli import app
from flows.recipe.config import load_config
from flows.recipe.yaml_text import read_yaml_file, read_yaml_value
from tests.flows.recipe_runs import POCKET, ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", ", line 3: the key 'a' is given twice, first in line 1"),
        ("a:\n  b: 1\n  c: {d: 1}\n  'b': 2\n", ", line 4: the key 'b' is given twice, first in line 2"),
        ("- {a: 1, a: 1}\n", ", line 1: the key 'a' is given twice, first in line 1"),
        ("x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n", ", line 5: the key '<<' is given twice"),
        ("a: 2024-13-45\n", ": not YAML: month must be in 1..12"),
        ("a: " + "[" * 20_000, ": not YAML: "),
        ("a: 1\n--- \nb: 1\n", ": not YAML: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml_file(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_key_may_take_the_place_of_one_that_is_merged_in(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b\n  <<: *a\n  x: 2\nc:\n  <<: *b\n  y: 3\n")
    assert read_yaml_file(path) == {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 2, "y": 3}}


def test_a_config_and_a_value_set_by_hand_with_a_key_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(POCKET.replace("  batch_size: 8\n", "  batch_size: 8\n  batch_size: 64\n", 1))
    with pytest.raises(InputError, match="the key 'batch_size' is given twice"):
        load_config(path)
    assert CliRunner().invoke(app, ["run", str(path)]).exit_code == 2
    with pytest.raises(InputError, match=r"^--set lora=…: the key 'rank' is given twice; keep one of them$"):
        read_yaml_value("{rank: 4, rank: 8}", "--set lora=…")
    with pytest.raises(InputError, match=r"^--set x: the value is not YAML; put text with"):
        read_yaml_value("[1", "--set x")


@pytest.mark.slow
def test_nothing_else_reads_yaml() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for package in ("deployments", "flows", "tasks", "models", "data_store", "world", "web")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(name.name == "yaml" for name in node.names)
    ]
    assert readers == ["flows/recipe/yaml_text.py"]
