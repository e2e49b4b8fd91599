"""A store whose folder was copied or renamed by hand is refused by every command, before anything is touched."""

import gc
import hashlib
import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from data_store.errors import InputError
from data_store.identity import check_run_name
from data_store.incoming.adoption import adopt
from data_store.names import AssetName
from data_store.store import Store
from flows.cli import app
from flows.recipe.config import RunConfig, load_config
from flows.session import home, remember, session_of, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET
from tests.flows.test_distillation import config_of
from tests.reference import commands

# Words that each command takes, for the run in the folder FOLDER; a new command has to be entered here.
WORDS: Mapping[str, str] = {
    "run": "FOLDER.yaml",
    "plan": "FOLDER.yaml --hardware a100",
    "study": "FOLDER.yaml --vary reward.margins=none",
    "rerun": "V1 safety-reward --run FOLDER",
    "serve": "FOLDER.yaml",
    "deploy": "FOLDER.yaml",
    "status": "--run FOLDER",
    "lineage": "model/policy@V1 --run FOLDER",
    "report": "--run FOLDER",
    "diff": "V1 V2 --run FOLDER",
    "annotate": "--run FOLDER",
    "annotators add": "anna --run FOLDER",
    "annotators list": "--run FOLDER",
    "annotators disable": "anna --run FOLDER",
    "query": "'SELECT * FROM runs' --run FOLDER",
    "stale": "--run FOLDER",
    "verify": "--run FOLDER",
    "repair": "--run FOLDER",
    "gc": "--delete --run FOLDER",
    "backup": "backup --run FOLDER",
    "restore": "sound --as FOLDER",
    "export parquet": "tables --run FOLDER",
    "export openlineage": "lineage.jsonl --run FOLDER",
    "chat": "V1 --run FOLDER",
    "export dataset": "dataset/preferences@V1 pairs --run FOLDER",
    "export model": "model/policy@V1 model --run FOLDER",
    "import": "other --run FOLDER",
    "withdraw annotator": "anna --reason asked --run FOLDER",
    "withdraw source": "prompts.jsonl --reason asked --run FOLDER",
    "withdrawals": "--run FOLDER",
    "preferences export": "out.parquet --format datasets --run FOLDER",
    "red-team open": "--against model/policy@V1 --run FOLDER",
    "red-team close": "session --run FOLDER",
    "red-team status": "--run FOLDER",
    "move-store": "FOLDER --journal here",
    "join-store": "FOLDER.yaml --journal postgresql://host/database",
}
CURES = {"rename"}  # the way out


def halter(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def named(name: str) -> RunConfig:
    return RunConfig.model_validate({**yaml.safe_load(POCKET), "name": name})


def make_run(name: str) -> Bench:
    """A run with one model and one annotator."""
    remember(named(name))
    bench = Bench(Store.open(store_root(name)), home().parent / f"work-{name}")
    bench.run("train", {"model/policy@V1": f"weights of {name}"})
    return bench


def contents(folder: Path) -> dict[str, str]:
    """Every path below a folder with the hash of what is there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `demo` tells of. Work on copies of it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HALTER_HOME", str(folder / "other"))
        make_run("mycopy")
        patch.setenv("HALTER_HOME", str(folder / "home"))
        make_run("demo")
        halter("annotators", "add", "anna")
        halter("backup", "sound")
    gc.collect()  # closes the book
    for name in ("demo", "mycopy"):
        (folder / f"{name}.yaml").write_text(POCKET.replace("name: pocket", f"name: {name}"))
    return folder


@pytest.fixture
def demo(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a run `demo`, beside it a backup of that, and another home whose run has the name `mycopy`."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_command_is_tried_here() -> None:
    assert {name for name, _ in commands()} == {*WORDS, *CURES}


@pytest.mark.parametrize("how", ["copied", "renamed"])
@pytest.mark.parametrize("command", WORDS)
def test_a_command_on_a_copied_or_renamed_folder_is_refused_and_writes_nothing(
    demo: Path, tmp_path: Path, command: str, how: str
) -> None:
    if how == "copied":
        shutil.copytree(demo / "demo", demo / "mycopy")
    else:
        (demo / "demo").rename(demo / "mycopy")
    before = contents(tmp_path)
    result = halter(*command.split(), *shlex.split(WORDS[command].replace("FOLDER", "mycopy")), code=2)
    assert "mycopy holds the store of run 'demo': the folder was copied or renamed" in result.stderr
    assert "`halter rename mycopy`" in result.stderr
    assert ("give the folder its name back: mv " in result.stderr) == (how == "renamed")
    assert contents(tmp_path) == before, "neither store was touched, and no empty one was made"


@pytest.mark.parametrize(
    "command", [name for name, words in WORDS.items() if "--run FOLDER" in words and name != "import"]
)
def test_the_old_name_of_a_renamed_folder_makes_no_empty_store(demo: Path, tmp_path: Path, command: str) -> None:
    (demo / "demo").rename(demo / "demo-old")
    before = contents(tmp_path)
    words = WORDS[command]
    asked = halter(*command.split(), *shlex.split(words.replace("FOLDER", "demo")), code=2)
    assert "there is no run 'demo'" in asked.stderr
    unasked = halter(
        *command.split(), *shlex.split(words.replace(" --run FOLDER", "").replace("--run FOLDER", "")), code=2
    )
    assert "the last run was 'demo', and it is no longer in" in unasked.stderr
    for result in (asked, unasked):
        assert "there are: demo-old; demo-old holds the store of demo: `halter rename demo-old`" in result.stderr
    assert contents(tmp_path) == before


def test_a_flow_started_by_a_worker_is_refused_too(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "demo", demo / "mycopy")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="copied or renamed"), session_of(named("mycopy")):
        pass
    assert contents(tmp_path) == before


@pytest.mark.parametrize("how", ["copied", "renamed"])
def test_rename_gives_a_store_the_name_of_its_folder(demo: Path, how: str) -> None:
    if how == "copied":
        shutil.copytree(demo / "demo", demo / "mycopy")
    else:
        (demo / "demo").rename(demo / "mycopy")
    said = halter("rename", "mycopy").stdout
    assert "run mycopy, before 'demo'" in said
    assert "`name: mycopy` goes on with this one" in said
    halter("annotators", "add", "ben", "--run", "mycopy")
    names = json.loads(halter("annotators", "list", "--run", "mycopy", "--json").stdout)["annotators"]
    assert [one["name"] for one in names] == ["anna", "ben"]
    assert json.loads(halter("status", "--json").stdout)["run"] == ("demo" if how == "copied" else "mycopy")
    if how == "copied":
        names = json.loads(halter("annotators", "list", "--run", "demo", "--json").stdout)["annotators"]
        assert [one["name"] for one in names] == ["anna"]
    else:
        assert not (demo / "demo").exists()


def test_rename_moves_a_run_with_all_that_is_in_it(demo: Path, tmp_path: Path) -> None:
    heads = Store.open(store_root("demo")).heads()
    told = json.loads(halter("rename", "demo", "llamas", "--json").stdout)
    assert told == {"run": "llamas", "before": "demo", "store": str(demo / "llamas")}
    assert not (demo / "demo").exists()
    assert Store.open(store_root("llamas")).heads() == heads
    assert json.loads(halter("verify", "--json").stdout)["run"] == "llamas", "it is the last run still"
    refused = halter("backup", "sound", code=2).stderr
    assert "sound is the backup of run 'demo', not of 'llamas'" in refused
    halter("rename", "llamas")
    assert json.loads(halter("status", "--json").stdout)["run"] == "llamas"


def test_a_rename_that_was_cut_off_is_taken_up_by_the_command_that_the_message_names(demo: Path) -> None:
    (demo / "demo").rename(demo / "llamas")  # killed before the config was written
    message = halter("status", "--run", "llamas", code=2).stderr
    command = message.split("`")[1]
    halter(*shlex.split(command)[1:])
    assert json.loads(halter("status", "--json").stdout)["run"] == "llamas"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "there is no store 'nothing'"),
        (["../other/mycopy"], "there is no store '../other/mycopy'"),
        (["demo", "second"], "second is there already"),
        (["demo", "../evil"], "'../evil' cannot name a run"),
        (["demo", "current"], "'current' cannot name a run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_renamed_is_said_and_left_alone(
    demo: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    make_run("second")
    before = contents(tmp_path)
    assert message in halter("rename", *words, code=2).stderr
    assert contents(tmp_path) == before


def test_a_run_at_work_is_not_renamed(demo: Path) -> None:
    from flows.session import sole_config

    with sole_config(named("demo")):
        assert "a run is at work in" in halter("rename", "demo", "llamas", code=2).stderr
    assert (demo / "demo").is_dir()
    halter("rename", "demo", "llamas")


def test_a_run_from_which_another_has_learned_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    bench = make_run("pocket")
    bench.run("rejection_sample", {"dataset/picks@V1": bench.publish("picks", "dataset")})
    small = config_of()
    remember(small)
    adopt(Store.open(store_root(small.name)), "pocket", AssetName("dataset", "picks", "V1"))
    refused = halter("rename", "pocket", "other", code=2).stderr
    assert f"run '{small.name}' has learned from run 'pocket'" in refused
    assert (tmp_path / "home" / "pocket").is_dir()
    shutil.copytree(tmp_path / "home" / "pocket", tmp_path / "home" / "mycopy")
    halter("rename", "mycopy")  # what is withdrawn from the first still reaches the other
    shutil.rmtree(tmp_path / "home" / "pocket")
    (tmp_path / "home" / "mycopy").rename(tmp_path / "home" / "pocket")
    with pytest.raises(InputError, match="copied or renamed"):
        adopt(Store.open(store_root(small.name)), "pocket", AssetName("dataset", "picks", "V1"))


@pytest.mark.slow
def test_a_copy_that_withdrawn_rows_reached_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    bench = make_run("pocket")
    bench.run("rejection_sample", {"dataset/picks@V1": bench.publish("picks", "dataset")})
    small = config_of()
    remember(small)
    adopt(Store.open(store_root(small.name)), "pocket", AssetName("dataset", "picks", "V1"))
    shutil.copytree(store_root(small.name), tmp_path / "home" / "forgotten")
    before = contents(tmp_path / "home" / "forgotten")
    store = Store.open(store_root("pocket"))
    from data_store.upkeep.withdrawals import withdraw

    withdraw(store, "annotator", "anna", "asked")
    assert "forgotten holds the store of run" in halter("withdrawals", "--run", "pocket", code=2).stderr
    assert contents(tmp_path / "home" / "forgotten") == before


NAMES = [
    "../evil",
    "/tmp/evil",
    "..",
    ".",
    "",
    ".prefect",
    "current",
    "a/b",
    "a\\b",
    "Demo",
    "한글",
    "a b",
    "a\n",
    "x" * 49,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_a_folder_is_refused_wherever_one_is_given(demo: Path, tmp_path: Path, name: str) -> None:
    config = tmp_path / "evil.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(POCKET), "name": name}))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"cannot name a run: the name of a run is the name of its folder"):
        load_config(config)
    for words in (
        ("run", config),
        ("serve", config),
        ("deploy", config),
        ("status", f"--run={name}"),
        ("annotators", "add", "ben", f"--run={name}"),
        ("restore", "sound", f"--as={name}"),
        ("rename", "demo", "--", name),
    ):
        assert "cannot name a run: " in halter(*words, code=2).stderr, words
    assert contents(tmp_path) == before


def test_a_name_is_suggested_where_one_can_be_made() -> None:
    for given, near in {"My Run": "my-run", "한글": "my-run", "current": "my-run", "../evil": "evil"}.items():
        with pytest.raises(InputError, match=f"for example '{near}'$"):
            check_run_name(given)
    assert [check_run_name(name) for name in ("demo", "7b", "v1.2_x-y", "x" * 48)]


def test_a_run_of_a_name_that_was_once_allowed_gets_another(demo: Path) -> None:
    (demo / "demo").rename(demo / "My Demo")
    config = demo / "My Demo" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "name": "My Demo"}))
    message = halter("status", "--run", "My Demo", code=2).stderr
    assert "`halter rename 'My Demo' NAME` gives the one there another" in message
    halter("rename", "My Demo", "my-demo")
    assert json.loads(halter("status", "--run", "my-demo", "--json").stdout)["run"] == "my-demo"


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "My Demo", 7])
def test_the_config_of_a_foreign_store_cannot_name_a_place_outside_of_the_home(
    demo: Path, tmp_path: Path, name: object
) -> None:
    config = tmp_path / "sound" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "name": name}))
    before = contents(tmp_path)
    message = "config.json: name: Input should be a valid string" if name == 7 else "cannot name a run"
    assert message in halter("import", "sound", code=2).stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        "export parquet TARGET",
        "export model model/policy@V1 TARGET",
        "export openlineage TARGET",
        "preferences export TARGET --format hh",
        "backup TARGET",
    ],
)
@pytest.mark.parametrize("target", ["home/demo/config.json", "home/new", "link/new"])
def test_nothing_is_exported_into_the_stores(demo: Path, tmp_path: Path, words: str, target: str) -> None:
    (tmp_path / "link").symlink_to(demo)
    before = contents(tmp_path)
    result = halter(*words.replace("TARGET", target).split(), code=2)
    assert "where the stores of runs are; give a place elsewhere" in result.stderr
    assert contents(tmp_path) == before
