"""Withdrawing an annotator or a source: what is reached, what is redone, what comes back, what is erased."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from data_store.names import AssetName
from data_store.reading.row_import import row_identity
from data_store.store import Store
from data_store.upkeep.verification import verify
from flows.cli import app
from flows.recipe.config import RunConfig
from flows.session import remember, session_of, store_root
from flows.shown.lineage_view import lineage_document
from flows.shown.status import status_cells
from flows.withdrawals import redo_commands
from tasks.answers import row_id
from tasks.engine.execute import execute
from tests.flows.recipe_runs import POCKET
from world.content import World
from world.documents import make_documents

DATA = [("base", step) for step in ("import_data", "filter_corpus", "train_tokenizer", "fit_context")]
DATA += [("V1", "collect_preferences"), ("V2", "collect_preferences")]
REDO = "halter rerun base import-data --downstream --run files"


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pairs_of(axis: str) -> list[dict[str, Any]]:
    """Twenty pairs. Anna judged the ones that the second iteration will get, and of these every other one."""
    rows, turn = [], 0
    for number in range(1, 21):
        second = int(row_id(row_identity(axis, f"{axis}.jsonl:{number}")), 16) % 2 == 1
        turn += second
        rows.append(
            {
                "prompt": f"{axis} question {number}",
                "response_a": "yes",
                "response_b": "no",
                "chosen": "a",
                "axis": axis,
                "annotator": "anna" if second and turn % 2 else "ben",
            }
        )
    return rows


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunConfig]:
    """A home in which a run has imported its files, up to the preferences of both iterations. No model is trained."""
    folder = tmp_path_factory.mktemp("files")
    documents = [{"text": row["text"]} for row in make_documents(World(1), 150, 1, 0.0)]
    prompts = {name: [{"prompt": f"{name} asks {n}"} for n in range(30)] for name in ("first", "second", "danger")}
    chat = [{"prompt": f"hello {n}", "response": f"good day {n}"} for n in range(4)]
    content = {
        **yaml.safe_load(POCKET),
        "name": "files",
        "annotator": None,
        "gatt": None,
        "final_stage": "none",
        "data": {
            "documents": [write(folder / "documents.jsonl", documents)],
            "demonstrations": [write(folder / "chat.jsonl", chat)],
            "helpfulness_prompts": [write(folder / f"{n}.jsonl", prompts[n]) for n in ("first", "second")],
            "safety_prompts": [write(folder / "danger.jsonl", prompts["danger"])],
            "helpfulness_preferences": [write(folder / "helpfulness.jsonl", pairs_of("helpfulness"))],
            "safety_preferences": [write(folder / "safety.jsonl", pairs_of("safety"))],
            "preference_format": "rows",
        },
    }
    config = RunConfig.model_validate(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(folder / "home"))
        remember(config)
        make(config)
    return folder / "home", config


def make(config: RunConfig) -> list[tuple[str, str]]:
    """Bring the data sets up to date; gives what was computed."""
    with session_of(config) as session:
        return [key for key in DATA if not execute(session.store, session.workers, session.plan[key]).cached]


@pytest.fixture
def files(imported: tuple[Path, RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, RunConfig]:
    """A copy of that home."""
    shutil.copytree(imported[0], tmp_path / "home")
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    return Store.open(store_root("files")), imported[1]


def halter(*arguments: str) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def states(store: Store, config: RunConfig) -> dict[tuple[str, str], str]:
    with session_of(config) as session:
        return {(cell.part, cell.step): cell.state for cell in status_cells(store, session.plan)}


def heads(store: Store) -> dict[str, str]:
    return {str(asset): head.version_id for asset, head in store.heads().items()}


@pytest.mark.slow
def test_an_annotator_is_left_out_and_only_what_held_their_rows_changes(files: tuple[Store, RunConfig]) -> None:
    store, config = files
    before = heads(store)
    mine = sum(row["annotator"] == "anna" for axis in ("helpfulness", "safety") for row in pairs_of(axis))
    assert mine > 0

    planned = halter("withdraw", "annotator", "anna", "--dry-run")
    assert (planned["commands"], store.withdrawals()) == ([REDO], [])
    document = halter("withdraw", "annotator", "anna", "--reason", "she asked for it")
    assert document["commands"] == [REDO]
    (reached,) = document["reached"]
    rows = {asset: version["rows"] for version in reached["versions"] for asset in version["assets"]}
    assert rows["dataset/raw-preferences@base"] == rows["dataset/preferences@V2"] == mine
    assert rows["dataset/preferences@V1"] == 0, (
        "hers said which prompts there are, none was dealt to the first iteration"
    )
    assert {key for key, state in states(store, config).items() if state == "tainted"} == {
        ("base", "import_data"),
        ("base", "fit_context"),
        ("V1", "collect_preferences"),  # it asks the prompts, which came with hers, which pairs are held out
        ("V2", "collect_preferences"),
    }

    computed = make(config)
    assert computed == [DATA[0], DATA[3], DATA[4], DATA[5]]
    assert "tainted" not in states(store, config).values()
    after = heads(store)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"dataset/{name}" for name in ("raw-preferences@base", "preferences@base", "preferences@V2")}
    for part in ("V1", "V2"):
        found = lineage_document(store, AssetName("dataset", "preferences", part))
        assert found["judgements"]
        assert {name for entry in found["judgements"] for name in entry["by_annotator"]} == {"ben"}
    (listed,) = halter("withdrawals")["withdrawals"]
    assert (listed["reason"], listed["commands"]) == ("she asked for it", [])
    assert {v["current"] for v in listed["reached"][0]["versions"]} == {False}, "old versions remain, marked"

    undone = halter("withdraw", "annotator", "anna", "--undo", "--reason", "she agreed")
    assert undone["commands"] == [REDO]
    assert states(store, config)["base", "import_data"] == "stale"
    assert (make(config), heads(store)) == ([], before), "nothing is computed: the old versions are taken up again"


@pytest.mark.slow
def test_a_file_is_left_out_and_no_longer_in_the_lineage_and_its_rows_can_be_erased(
    files: tuple[Store, RunConfig],
) -> None:
    store, config = files
    document = halter("withdraw", "source", "second.jsonl", "--reason", "the licence ended")
    assert document["commands"] == [REDO]
    assert states(store, config)["V1", "collect_preferences"] == "tainted", "its prompts say which pairs are held out"
    refused = CliRunner().invoke(app, ["withdraw", "source", "second.jsonl", "--erase"])
    assert refused.exit_code == 2
    assert f"first: {REDO}" in refused.output.replace("\n", " ")

    make(config)
    prompts = AssetName("dataset", "prompts", "base")
    rows = store.rows(heads(store)[str(prompts)]).to_pylist()
    assert {row["source"].rpartition(":")[0] for row in rows} == {"first.jsonl", "danger.jsonl"}
    named = json.dumps(lineage_document(store, prompts))
    assert "first.jsonl" in named
    assert '"path": "second.jsonl"' not in named
    assert set(states(store, config).values()) <= {"fresh", "missing"}

    erased = halter("withdraw", "source", "second.jsonl", "--erase")["erased"]["files"]
    assert erased["versions"]
    assert verify(store).problems == ()
    texts = b"".join(path.read_bytes() for path in (store.root / "checkouts").rglob("*") if path.is_file())
    assert b"second asks" not in texts
    (listed,) = halter("withdrawals")["withdrawals"]
    assert {version["erased"] for version in listed["reached"][0]["versions"]} == {True}
    assert make(config) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["annotator", "nobody", "--reason", "x"], "run files has nothing of annotator 'nobody'; it has: anna, ben"),
        (["source", "nothing.jsonl", "--reason", "x"], "it has: chat.jsonl, danger.jsonl, documents.jsonl"),
        (["annotator", "anna"], "say why with --reason"),
        (["annotator", "anna", "--undo"], "annotator 'anna' is not withdrawn"),
        (["annotator", "anna", "--erase"], "annotator 'anna' is not withdrawn"),
        (["annotator", "anna", "--undo", "--erase"], "--undo and --erase are opposites"),
    ],
)
def test_what_cannot_be_withdrawn_is_refused(
    files: tuple[Store, RunConfig], arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["withdraw", *arguments])
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")
    assert files[0].withdrawals() == []


@pytest.mark.slow
def test_the_fewest_commands_cover_all_that_is_to_be_redone(files: tuple[Store, RunConfig]) -> None:
    with session_of(files[1]) as session:
        plan = session.plan
    both = [("V2", "collect_preferences"), ("V1", "train_safety_reward"), ("V2", "evaluate")]
    assert redo_commands(plan, both, "files") == (
        "halter rerun V1 train-safety-reward --downstream --run files",
        "halter rerun V2 collect-preferences --downstream --run files",
    )
    assert redo_commands(plan, [("V2", "fine_tune"), ("base", "import_data")], "files") == (REDO,)
