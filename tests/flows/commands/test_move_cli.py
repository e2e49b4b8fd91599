"""`halter move-store` as a command; what it does: tests/data_store/upkeep/test_moving_objects.py."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from data_store.layout import MARKER
from data_store.places import read_places
from data_store.store import Store
from flows.cli import app
from flows.recipe.config import RunConfig
from flows.session import remember, sole_config, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET
from tests.s3_server import Buckets, keys

PLACE = "s3://llamas/pocket"


def halter(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Of a run with one model, the only one in its home."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    config = RunConfig.model_validate(yaml.safe_load(POCKET))
    remember(config)
    Bench(Store.open(store_root("pocket")), tmp_path / "work").run("train", {"model/policy@V1": "weights"})
    return config


def test_it_says_where_the_objects_lie_and_the_command_that_it_names_removes_the_old_ones(
    config: RunConfig, buckets: Buckets
) -> None:
    said = halter("move-store", "pocket", "--objects", PLACE).stdout
    assert f"1 objects (7 B) of pocket lie in {PLACE}, all read there; 1 were copied" in said
    (again,) = re.findall(r"`halter (.*)`", said)
    assert again == f"move-store pocket --objects {PLACE} --remove-old"
    assert "1 were removed where they were" in halter(*again.split()).stdout
    assert halter("verify").exit_code == 0
    assert f"the objects of the store: {PLACE}\n" in halter("status").stdout
    assert json.loads(halter("status", "--json").stdout)["elsewhere"] == {"objects": PLACE}
    told = json.loads(halter("move-store", "pocket", "--objects", "here", "--json").stdout)
    facts = {"objects": 1, "bytes": 7, "copied": 1, "removed": 0}
    assert told == {"run": "pocket", "objects": {"place": "here", **facts, "left": PLACE}}
    assert "of the store" not in halter("status").stdout


def test_a_run_that_has_not_begun_can_have_its_place_at_once(
    config: RunConfig, buckets: Buckets, tmp_path: Path
) -> None:
    assert "there is no run 'next'" in halter("move-store", "next", "--objects", PLACE, code=2).stderr
    assert not (tmp_path / "home" / "next" / MARKER).exists()
    halter("move-store", "next", "--new", "--objects", PLACE)
    Bench(Store.open(store_root("next")), tmp_path / "work-next").publish("at once")
    assert len([key for key in keys(buckets(PLACE)) if key.startswith("objects/")]) == 1
    assert (
        "there is a run 'pocket' already" in halter("move-store", "pocket", "--new", "--objects", PLACE, code=2).stderr
    )


def test_what_cannot_be_moved_is_refused(config: RunConfig, buckets: Buckets) -> None:
    assert "say where to: --objects s3://BUCKET/PREFIX" in halter("move-store", "pocket", code=2).stderr
    with sole_config(config):
        assert "a run is at work in" in halter("move-store", "pocket", "--objects", PLACE, code=2).stderr
    assert read_places(store_root("pocket")).objects is None


def test_a_copied_folder_gets_no_name_of_its_own_while_the_objects_are_shared(
    config: RunConfig, buckets: Buckets, tmp_path: Path
) -> None:
    halter("move-store", "pocket", "--objects", PLACE)
    shutil.copytree(tmp_path / "home" / "pocket", tmp_path / "home" / "other")
    refused = halter("rename", "other", code=2).stderr
    assert f"the objects of both lie in {PLACE}" in refused
    assert "`halter backup FOLDER --run pocket`" in refused
    shutil.rmtree(tmp_path / "home" / "pocket")
    halter("rename", "other")
    assert halter("verify", "--run", "other").exit_code == 0
