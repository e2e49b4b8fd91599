"""`halter stale`, `verify`, `repair`, `gc`, `backup`, `restore` and `query` on a run that was recorded, not trained."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.verification import verify
from flows.cli import app
from flows.recipe.config import load_config
from flows.recipe.plan import Plan, build_plan
from flows.session import recall, remember, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET, ROOT
from tests.flows.recorded_run import record, record_plan
from tests.test_docs import code_lines

PAGE = ROOT / "docs" / "look-after-a-store.md"
POLICY = AssetName.parse("model/policy@V1")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a recorded run. Work on copies of it."""
    home = tmp_path_factory.mktemp("recorded")
    (home.parent / "pocket.yaml").write_text(POCKET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home))
        config = load_config(home.parent / "pocket.yaml")
        remember(config)
        record_plan(Bench(Store.open(store_root("pocket")), home.parent / "work"), build_plan(config))
    return home


class Desk:
    """A copy of the recorded run, and the command."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(Store(store_root("pocket")), folder / "work")
        self.store = self.bench.store

    def halter(self, *arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    def document(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self.halter(*arguments, "--json", code=code).stdout)

    @property
    def plan(self) -> Plan:
        return build_plan(recall(), self.store.overrides())

    def object_of(self, asset: str) -> Path:
        head = self.store.heads()[AssetName.parse(asset)]
        (ref,) = self.store.version(head.version_id).objects
        return self.store.objects.path(ref.sha256)


@pytest.fixture
def desk(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    shutil.copytree(recorded, tmp_path / "home")
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


def flip(path: Path) -> None:
    """Another last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_changed_step_is_named_with_all_that_follows_and_one_command_redoes_them(desk: Desk) -> None:
    assert desk.document("stale")["stale"] == []
    assert "nothing is stale" in desk.halter("stale").stdout
    desk.store.set_override("V1", "train_safety_reward", "reward.margins", "large")
    steps = {(each["part"], each["step"]): each for each in desk.document("stale")["stale"]}
    first = steps["V1", "train_safety_reward"]
    assert first["reason"] == "the step or its config changed: reward.margins was small, is large"
    assert first["roots"] == ["V1 train_safety_reward"]
    assert first["seconds"] >= 0
    assert ("V2", "ppo") in steps
    assert ("V1", "train_helpfulness_reward") not in steps
    redo = "halter rerun V1 train-safety-reward --downstream --run pocket"
    assert {each["command"] for each in steps.values()} == {redo}
    assert steps["V2", "ppo"]["roots"] == ["V1 train_safety_reward"]
    table = desk.halter("stale").stdout
    assert redo in table


def test_a_stale_step_that_feeds_nothing_is_redone_alone(desk: Desk) -> None:
    desk.store.set_override("V2", "evaluate", "evaluate.ordinary_prompts", 5)
    (step,) = desk.document("stale")["stale"]
    assert step["command"] == "halter rerun V2 evaluate --run pocket"
    assert re.fullmatch(r"the step or its config changed: evaluate\.ordinary_prompts was \d+, is 5", step["reason"])


@pytest.mark.slow
def test_every_flipped_object_is_found_and_no_other(desk: Desk) -> None:
    assert desk.document("verify")["sound"]
    hashes = [sha256 for sha256, _ in desk.store.objects.all()]
    for sha256 in hashes[::2]:
        flip(desk.store.objects.path(sha256))
    assert desk.document("verify", "--quick")["sound"], "their sizes are what they were"
    found = desk.document("verify", code=1)
    assert sorted(damage["object"] for damage in found["damages"]) == hashes[::2]
    assert {damage["fault"] for damage in found["damages"]} == {"damaged"}
    assert all(damage["versions"][0]["asset"] for damage in found["damages"])


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_broken_object_is_named_with_what_was_built_on_it_and_made_anew_by_the_commands(
    desk: Desk, fault: str
) -> None:
    place = desk.object_of("model/policy@V1")
    if fault == "missing":
        place.unlink()
    else:
        flip(place)
    (damage,) = desk.document("verify", code=1)["damages"]
    assert (damage["fault"], damage["current"]) == (fault, ["model/policy@V1"])
    assert "model/policy@V2" in damage["built_on_it"]
    assert "model/reward-safety@V1" not in damage["built_on_it"]
    assert damage["repair"] == ["halter repair --run pocket", "halter rerun V1 fine-tune --run pocket"]
    text = desk.halter("verify", code=1).stdout
    assert f"{fault} model/policy@V1 " in text
    assert "repair: halter repair --run pocket, then halter rerun V1 fine-tune --run pocket" in text

    after = desk.document("repair", code=1)
    assert [each["fault"] for each in after["damages"]] == ["missing"], "its step has not run yet"
    assert len(after["set_aside"]) == (fault == "damaged")
    record(desk.bench, [desk.plan["V1", "fine_tune"]])  # what the rerun does, to the same bytes
    assert desk.document("verify")["sound"]
    assert desk.document("stale")["stale"] == []


@pytest.mark.slow
def test_what_a_backup_has_is_taken_from_it(desk: Desk) -> None:
    desk.halter("backup", "backup")
    checkout = desk.store.checkout(desk.store.heads()[POLICY].version_id)
    flip(desk.object_of("model/policy@V1"))
    assert (checkout / "weights").read_text() != "model/policy@V1", "a checkout is a link to its object"
    desk.object_of("model/policy@V2").unlink()
    done = desk.document("repair", "--from", "backup")
    assert done["sound"]
    assert sorted(name.split()[0] for name in done["restored"]) == ["model/policy@V1", "model/policy@V2"]
    assert desk.document("verify")["sound"]
    assert (desk.store.checkout(checkout.name) / "weights").read_text() == "model/policy@V1"


@pytest.mark.slow
def test_an_edited_event_is_found_and_taken_from_a_backup(desk: Desk) -> None:
    desk.halter("backup", "backup")
    segment = desk.store.catalog.journal.segments_there()[3]
    segment.write_bytes(segment.read_bytes().replace(b'"seed":', b'"seed":1', 1))
    found = desk.document("verify", code=1)
    (fault,) = found["faults"]
    assert (fault["where"], fault["repair"]) == ("journal", ["halter repair --from BACKUP --run pocket"])
    assert segment.name in fault["text"]
    assert desk.document("repair", code=1)["sound"] is False, "without a backup nothing can be done"
    assert desk.document("repair", "--from", "backup")["restored"] == [f"journal segment {segment.name}"]
    assert desk.document("verify")["sound"]


@pytest.mark.parametrize("content", [b"", b"no event\n", b"\xff\xfe\n", b"[1]\n", b"{}\n"])
def test_a_segment_that_is_no_journal_at_all_is_named(desk: Desk, content: bytes) -> None:
    segment = desk.store.catalog.journal.segments_there()[3]
    segment.write_bytes(content)
    (fault,) = desk.document("verify", "--quick", code=1)["faults"]
    assert segment.name in fault["text"]


@pytest.mark.slow
def test_a_catalog_that_says_other_than_the_journal_is_made_anew(desk: Desk) -> None:
    with duckdb.connect(str(desk.store.catalog.file)) as connection:
        connection.execute("DELETE FROM run_output WHERE asset_id = 'model/policy@V1'")
    found = desk.document("verify", code=1)
    assert {fault["where"] for fault in found["faults"]} == {"catalog"}
    texts = " ".join(fault["text"] for fault in found["faults"])
    assert "model/policy@V1 points to what its run did not write" in texts
    assert "table run_output is not what the journal says" in texts
    assert desk.document("repair")["sound"]
    assert desk.document("verify")["sound"]


@pytest.mark.slow
def test_a_checkout_of_rows_that_was_changed_is_found_and_made_anew(desk: Desk) -> None:
    asset = AssetName.parse("dataset/own@V1")
    desk.bench.run(
        "filter", {str(asset): desk.store.publish("dataset", desk.bench.documents("a"), row_kind="document")}
    )
    version = desk.store.heads()[asset].version_id
    rows = desk.store.checkout(version) / "rows.parquet"
    rows.parent.chmod(0o755)
    other = desk.bench.documents("b") / "rows.parquet"
    shutil.copyfile(other, rows.with_name("new"))
    rows.with_name("new").rename(rows)
    (fault,) = desk.document("verify", code=1)["faults"]
    assert (fault["where"], fault["what"]) == ("checkout", version)
    desk.halter("repair")
    assert desk.store.rows(version).column("text").to_pylist() == ["a"]


WORKER = """
import sys
from flows.recipe.plan import build_plan
from flows.session import recall, store_root
from data_store.records import RunRecord
from data_store.store import Store
from tasks.engine.alone import alone, folder_of
from tasks.engine.execute import fingerprint_of, resolve_inputs
store = Store.open(store_root("pocket"))
call = build_plan(recall())["V2", "evaluate"]
inputs = resolve_inputs(store, call)
fingerprint = fingerprint_of(call, inputs)
with alone(store, folder_of(store, fingerprint), print):
    run = RunRecord(call.step.name, call.part, fingerprint, "1", call.recipe(), call.seed)
    store.begin_run(run, [entry.version_id for entry in inputs])
    print("at work", flush=True)
    sys.stdin.readline()
    for entry in inputs:
        print((store.checkout(entry.version_id) / "weights").read_text(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_what_a_step_of_another_process_reads_stays_until_it_has_ended(desk: Desk) -> None:
    read = [str(asset) for assets in desk.plan["V2", "evaluate"].inputs.values() for asset in assets]
    process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=-1, stdout=-1, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "at work\n"
        record(desk.bench, desk.plan.values(), " again")  # every version that it reads is superseded meanwhile
        everything = ("gc", "--delete", "--keep-versions", "0", "--keep-days", "0")
        gone = {item["what"].split(" ")[0] for item in desk.document(*everything)["garbage"]}
        assert "model/policy@V1" in gone or "dataset/pairs@V1" in gone
        assert not gone & set(read)
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline().strip() for _ in read] == read
    finally:
        process.kill()
        process.wait()
    gone = {item["what"].split(" ")[0] for item in desk.document(*everything)["garbage"]}
    assert set(read) <= gone, "the process was killed, and nobody works on its step any more"
    assert desk.document("verify")["sound"]


@pytest.mark.slow
def test_gc_names_what_can_go_first_and_keeps_what_the_config_says(desk: Desk) -> None:
    for text in (" 2", " 3"):
        record(desk.bench, [desk.plan["V2", "evaluate"]], text)  # the first version goes, the second is kept
    superseded = [str(asset) for asset in desk.plan["V2", "evaluate"].outputs.values()]
    assert desk.document("gc")["garbage"] == [], "superseded a moment ago"
    assert "nothing can go" in desk.halter("gc").stdout
    found = desk.document("gc", "--keep-days", "0")
    assert sorted(item["what"].split(" ")[0] for item in found["garbage"]) == sorted(superseded), "one of two is kept"
    assert found["bytes"] == sum(len(asset) for asset in superseded)
    assert (found["deleted"], found["retention"]) == (False, {"keep_versions": 1, "keep_days": 0.0})
    text = desk.halter("gc", "--keep-days", "0").stdout
    assert "nothing was removed: --delete does it" in text
    assert superseded[0] in text
    desk.halter("gc", "--delete", "--keep-days", "0")
    assert desk.document("gc", "--keep-days", "0")["garbage"] == []
    assert desk.document("verify")["sound"]


@pytest.mark.slow
def test_a_restored_store_is_a_run_of_its_own_that_answers_lineage_alike(desk: Desk) -> None:
    before = desk.document("lineage", "model/policy@V2")
    desk.halter("backup", "backup")
    told = desk.document("restore", "backup", "--as", "again")
    assert told["objects"] == len(list(desk.store.objects.all()))
    assert desk.document("lineage", "model/policy@V2", "--run", "again") == before
    assert desk.document("stale", "--run", "again") == {"run": "again", "stale": [], "other_code": []}
    assert {step["state"] for step in desk.document("status", "--run", "again")["steps"]} == {"fresh"}
    result = desk.halter("restore", "backup", "--as", "again", code=2)
    assert "nothing is overwritten" in result.stderr
    assert not (store_root("again").parent / ".restoring").exists()


@pytest.mark.slow
def test_a_backup_that_is_not_sound_is_not_restored(desk: Desk) -> None:
    desk.halter("backup", "backup")
    damaged = desk.object_of("model/policy@V1").relative_to(desk.store.root)
    flip(Path("backup") / damaged)
    result = desk.halter("restore", "backup", "--as", "again", code=1)
    assert "model/policy@V1" in result.stderr
    assert not store_root("again").exists()
    assert not (store_root("again").parent / ".restoring").exists()


@pytest.mark.slow
def test_a_backup_that_has_lost_its_end_is_told_of_by_every_command_that_reads_it(desk: Desk) -> None:
    desk.halter("backup", "backup")
    assert desk.document("verify", "--backup", "backup")["sound"]
    assert "sound: " in desk.halter("verify", "--backup", "backup", "--quick").stdout
    events = desk.document("verify")["events"]
    sorted(Path("backup/journal").iterdir())[-1].unlink()
    shutil.copytree("backup", "unsealed")
    Path("unsealed/backup.json").unlink()
    told = f"ends with event {events - 1}"
    assert told in desk.document("verify", "--backup", "backup", code=1)["problems"][0]
    assert told in desk.halter("restore", "backup", "--as", "again", code=1).stderr
    assert not store_root("again").exists()
    assert told in desk.document("repair", "--from", "backup")["notes"][0]
    assert "is not known" in desk.halter("restore", "unsealed", "--as", "again").stdout


@pytest.mark.slow
def test_a_store_whose_journal_and_catalog_are_broken_is_put_right_from_a_backup(desk: Desk) -> None:
    desk.halter("backup", "backup")
    desk.store.catalog.file.unlink()
    segment = desk.store.catalog.journal.segments_there()[3]
    segment.unlink()
    assert "is missing: the journal has lost segments; `halter repair --from" in desk.halter("status", code=1).stderr
    assert f"{segment.name} is missing" in desk.halter("repair", code=1).stderr
    assert desk.document("repair", "--from", "backup")["restored"] == [f"journal segment {segment.name}"]
    assert desk.document("verify")["sound"]


@pytest.mark.slow
def test_status_verify_and_repair_answer_as_before_over_a_damaged_catalog(desk: Desk) -> None:
    before = desk.document("status")
    for length in (4096, desk.store.catalog.file.stat().st_size // 2):
        for command, key in (("status", "steps"), ("verify", "sound"), ("repair", "sound")):
            os.truncate(desk.store.catalog.file, length)
            found = desk.document(command)
            assert found[key] == (before["steps"] if key == "steps" else True)


@pytest.mark.slow
def test_damage_is_reported_and_never_copied_into_a_backup(desk: Desk) -> None:
    flip(desk.object_of("model/policy@V1"))
    found = desk.document("backup", "backup", code=1)
    assert all(problem.startswith("model/policy@V1 ") for problem in found["problems"])
    copy = Store.open(Path("backup"))
    (damage,) = verify(copy).damages
    assert (damage.fault, damage.heads) == ("missing", ("model/policy@V1",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backup", "home/other"], "where the stores of runs are"),
        (["backup", "home/pocket/objects/x"], "where the stores of runs are"),
        (["restore", "nowhere", "--as", "new"], "is no whole backup: it has no halter-store.json"),
        (["restore", "home/pocket", "--as", "New Run"], "for example 'new-run'"),
        (["restore", "home/pocket", "--as", "pocket"], "nothing is overwritten"),
        (["repair", "--from", "nowhere"], "is no backup"),
        (["query", "DROP TABLE run"], "one SELECT"),
        (["query", "SELECT 1; SELECT 2"], "one SELECT"),
        (["query", "SELECT * FROM nothing"], "There are: runs, versions, "),
        (["query", "SELECT 1 AS a, 2 AS a"], "name them with AS"),
        (["query", "SELECT 1", "--csv", "--json"], "give one of the two"),
        (
            ["query", "--seconds", "0.2", "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"],
            "longer than 0.2 s",
        ),
        (["stale", "--run", "other"], "no run 'other'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_input_ends_with_2_and_says_what_to_do(desk: Desk, arguments: list[str], message: str) -> None:
    assert message in desk.halter(*arguments, code=2).stderr


@pytest.mark.slow
def test_a_query_answers_as_a_table_as_json_and_as_csv(desk: Desk) -> None:
    sql = "SELECT asset, is_current FROM versions WHERE asset LIKE 'model/policy@%' ORDER BY asset"
    policies = [f"model/policy@V{n}" for n in range(3)]
    found = desk.document("query", sql, "--limit", "3")
    assert found["columns"] == ["asset", "is_current"]
    assert [row["asset"] for row in found["rows"]][:3] == policies
    assert desk.document("query", sql, "--limit", "2")["truncated"] is True
    assert len(desk.document("query", "SELECT * FROM range(1500)", "--limit", "0")["rows"]) == 1500
    short = desk.halter("query", sql, "--csv", "--limit", "1")
    assert list(csv.reader(io.StringIO(short.stdout))) == [["asset", "is_current"], ["model/policy@V0", "True"]]
    assert "the first 1 rows" in short.stderr
    assert "model/policy@V1" in desk.halter("query", sql).stdout


def test_values_that_json_lacks_are_told_all_the_same(desk: Desk) -> None:
    sql = (
        "SELECT 'nan'::DOUBLE AS a, 1.50::DECIMAL(9, 2) AS b, '\\xff'::BLOB AS c, {'x': [1, NULL]} AS d, "
        "TIMESTAMP '2026-01-02 03:04:05' AS e, 2::HUGEINT AS f, NULL AS g"
    )
    (row,) = desk.document("query", sql)["rows"]
    assert row == {"a": None, "b": 1.5, "c": "ff", "d": {"x": [1, None]}, "e": "2026-01-02T03:04:05", "f": 2, "g": None}


@pytest.mark.slow
def test_the_page_names_every_view_with_its_columns(desk: Desk) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(), flags=re.MULTILINE)
    listed = {row["view"]: row["columns"] for row in desk.document("query")["rows"]}
    assert {view: columns.split(", ") for view, columns in rows} == listed
    names = ", ".join(f"'{view}'" for view in listed)
    sql = f"SELECT table_name, column_name FROM duckdb_columns() WHERE table_name IN ({names}) ORDER BY column_index"
    there: dict[str, list[str]] = {view: [] for view in listed}
    for row in desk.store.query(sql).to_pylist():
        there[row["table_name"]].append(row["column_name"])
    assert there == listed


@pytest.mark.slow
def test_every_command_of_the_page_runs(desk: Desk) -> None:
    lines = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    commands = [shlex.split(line, comments=True) for block in lines for line in block.splitlines()]
    assert len(commands) == len(code_lines(PAGE)) >= 14
    desk.halter("backup", "backups/demo")
    for program, *arguments in commands:
        assert program == "halter"
        desk.halter(*arguments)
    assert desk.document("verify", "--run", "llamas")["sound"]


def test_the_retention_of_a_config_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(POCKET + "retention: {keep_versions: 3, keep_days: 0.5}\n")
    assert load_config(path).retention == Retention(keep_versions=3, keep_days=0.5)
    path.write_text(POCKET + "retention: {keep_days: -1}\n")
    with pytest.raises(InputError, match=r"retention\.keep_days: .*greater than or equal to 0 \(given: -1\)"):
        load_config(path)
