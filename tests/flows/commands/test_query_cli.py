"""What `halter query` prints: every value whole, and nothing of it taken for markup."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.recipe.config import load_config
from flows.session import remember
from tests.flows.recipe_runs import ROOT

STRANGE = """SELECT {'role': 'user', 'content': '[INST] hi [/INST]'} AS "[/INST]", ['a', 'b,c'] AS list,
    [{'x': [1, NULL]}] AS nested, MAP {'k': 1.5, 'l': NULL} AS map,
    '[red]x[/red] :smile: ' || chr(27) || '[2J' AS text"""


@pytest.fixture
def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path))
    remember(load_config(ROOT / "configs" / "smoke.yaml"))
    return lambda *words: CliRunner().invoke(app, ["query", "--seconds", "300", *words])


def test_structs_lists_and_maps_are_printed_whole_with_their_values(query: Callable[..., Result]) -> None:
    result = query(STRANGE)
    assert result.exit_code == 0, result.output
    cells = [line.split("│") if "│" in line else line.split("┃") for line in result.stdout.splitlines()]
    columns = [
        "".join(cell[number].strip(" ") if number < 4 else cell[number].strip() for cell in cells[3:-1])
        for number in range(1, 6)
    ]
    text = "".join("".join(columns).split())
    assert '{"role":"user","content":"[INST]hi[/INST]"}' in text
    assert '["a","b,c"]' in text
    assert '[{"x":[1,null]}]' in text
    assert '[["k",1.5],["l",null]]' in text
    assert "[red]x[/red]:smile:\\x1b[2J" in text
    assert "\x1b" not in result.stdout
    assert "[/INST]" in result.stdout.splitlines()[1]


@pytest.mark.slow
def test_json_and_csv_have_the_same_values(query: Callable[..., Result]) -> None:
    row = json.loads(query("--json", STRANGE).stdout)["rows"][0]
    assert row["[/INST]"] == {"role": "user", "content": "[INST] hi [/INST]"}
    assert (row["list"], row["nested"], row["map"]) == (["a", "b,c"], [{"x": [1, None]}], [["k", 1.5], ["l", None]])
    assert row["text"] == "[red]x[/red] :smile: \x1b[2J"
    header, values = csv.reader(io.StringIO(query("--csv", STRANGE).stdout))
    assert header == ["[/INST]", "list", "nested", "map", "text"]
    assert [json.loads(value) for value in values[:4]] == list(row.values())[:4]


@pytest.mark.parametrize(
    "sql", ["SELECT '[/INST]", "SELECT [/INST]", 'SELECT 1 AS a, 2 AS "[/INST]", 3 AS "[/INST]"', "[/INST]", "[red]"]
)
def test_markup_in_wrong_sql_is_shown_in_the_message(query: Callable[..., Result], sql: str) -> None:
    result = query(sql)
    assert result.exit_code == 2
    assert sql[-6:].strip("\"'") in result.stderr


def test_the_views_are_listed_with_their_columns(query: Callable[..., Result]) -> None:
    assert "run_id, step, part" in query().stdout
