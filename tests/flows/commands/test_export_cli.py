"""The commands export and import on a run's store: what they print, and how they refuse."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from data_store.store import Store
from flows.cli import app
from flows.recipe.config import load_config
from flows.session import CONFIG_FILE, home, remember, store_root
from tests.data_store.store_bench import Bench

SMOKE = Path(__file__).resolve().parents[3] / "configs" / "smoke.yaml"


def halter(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a run `smoke` that has one model."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(load_config(SMOKE))
    Bench(Store.open(store_root("smoke")), tmp_path / "work").run("train", {"model/policy@V1": "weights"})


def test_both_exports_say_what_they_wrote(smoke: None, tmp_path: Path) -> None:
    found = json.loads(halter("export", "parquet", tmp_path / "copy", "--json").stdout)
    assert str(tmp_path / "copy" / "catalog" / "run.parquet") in found["files"]
    assert json.loads(halter("export", "openlineage", tmp_path / "l.jsonl", "--json").stdout)["events"] == 2
    first = json.loads((tmp_path / "l.jsonl").read_text().splitlines()[0])
    assert first["job"] == {**first["job"], "namespace": "halter://smoke", "name": "V1/train"}
    assert halter("export", "parquet", tmp_path / "copy").exit_code == 2  # it is there already


@pytest.mark.slow
def test_a_run_of_another_home_is_brought_here_with_its_config(
    smoke: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = home()
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "new"))
    found = json.loads(halter("import", other, "--json").stdout)
    assert found == {"run": "smoke", "steps": 1, "heads": 1, "objects": 1}
    assert json.loads(halter("import", other, "--run", "smoke", "--json").stdout)["steps"] == 0
    lineage = json.loads(halter("lineage", "model/policy@V1", "--run", "smoke", "--json").stdout)
    assert "train" in json.dumps(lineage)


@pytest.mark.parametrize("name", ["../beside", "{tmp}/beside", ".beside", "a/../../beside"])
def test_the_name_in_a_foreign_config_cannot_lead_out_of_the_home(
    smoke: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other = home() / "smoke"
    config = json.loads((other / CONFIG_FILE).read_text())
    (other / CONFIG_FILE).write_text(json.dumps({**config, "name": name.format(tmp=tmp_path)}))
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "new"))
    assert halter("import", other).exit_code == 2
    assert not list(tmp_path.rglob("*beside*"))


@pytest.mark.parametrize("words", [("import",), ("restore", "--as", "again")])
def test_a_foreign_config_is_a_plain_whole_file(
    smoke: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    other, config = home() / "smoke", home() / "smoke" / CONFIG_FILE
    content = config.read_bytes()
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "new"))
    config.write_bytes(content[:100])
    cut = halter(words[0], other, *words[1:])
    assert (cut.exit_code, f"{config} is cut short or damaged" in cut.stderr) == (1, True)
    config.rename(tmp_path / "config.json")
    config.symlink_to(tmp_path / "config.json")
    linked = halter(words[0], other, *words[1:])
    assert (linked.exit_code, "is a link or no plain file" in linked.stderr) == (2, True)


def test_wrong_places_and_names_end_with_2(smoke: None, tmp_path: Path) -> None:
    for name in ("backup", "older"):
        shutil.copytree(store_root("smoke"), tmp_path / name)
    for words in (
        ("import", home()),  # the store here
        ("import", tmp_path),  # which of the two?
        ("import", home(), "--run", "huge"),
        ("import", tmp_path / "backup", "--run", "huge"),
        ("import", tmp_path / "nowhere"),
        ("export", "openlineage", tmp_path / "backup"),
        ("export", "parquet", tmp_path / "p", "--run", "huge"),
    ):
        assert halter(*words).exit_code == 2, words
