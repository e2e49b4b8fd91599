"""What lies outside the store and is changed in place: `status`, `stale` and all that answers from the plan see it
before a run does, and name it. Runs whose steps are recorded, not trained."""

import json
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from data_store.annotation.batches import close_batch
from data_store.annotation.book import Book
from data_store.annotation.handover import batch_name, hand_over
from data_store.annotation.judging import Verdict, judge, next_item
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import add_annotator
from data_store.annotation.red_team import (
    AttackLabel,
    RedTeamSpec,
    attack_form,
    close_red_team,
    enter_turn,
    label_attack,
    open_red_team,
)
from data_store.content.objects import file_sha256
from data_store.incoming.adoption import adopt
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.store import Store
from flows.cli import app
from flows.recipe.config import load_config
from flows.recipe.plan import plan_today
from flows.session import Session, remember, store_root
from flows.shown.status import Cell, look_at
from tasks.engine.execute import prepare
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET, ROOT
from tests.flows.recorded_run import record, record_plan
from tests.flows.test_distillation import content_of
from tests.flows.test_waiting import pair_row

PROMPTS = ("helpfulness_prompts", "safety_prompts")
BASE = "base_model"
JUDGED: dict[str, Any] = {"collect": {"judge": {"folder": "judge"}, "sampling": {"max_new_tokens": 8}}}


class Desk:
    """A run of one iteration on files, a base model and a judge's folder, all of whose steps are recorded."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for name in ("demonstrations", *PROMPTS):
            (folder / f"{name}.jsonl").write_text(name)
        for model in (BASE, "judge"):
            (folder / model).mkdir(exist_ok=True)
            (folder / model / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
            (folder / model / "tokenizer_config.json").write_text("{}")
            (folder / model / "model.safetensors").write_text("weights")
            (folder / model / "chat_template.jinja").write_text("{{ messages }}")
        content: dict[str, Any] = {
            **yaml.safe_load(POCKET),
            "data": {name: [f"{name}.jsonl"] for name in ("demonstrations", *PROMPTS)},
            "base_model": BASE,
            "annotator": None,
            "gatt": None,
            "final_stage": "none",
            "iterations": 1,
            **changes,
        }
        self.file = folder / "run.yaml"
        self.file.write_text(yaml.safe_dump(content))
        self.config = load_config(self.file)
        remember(self.config)
        self.store = Store.open(store_root(self.config.name))
        self.bench = Bench(self.store, Path(mkdtemp(dir=folder)))

    def record(self) -> None:
        record_plan(self.bench, plan_today(self.config, self.store))

    def cells(self) -> dict[str, Cell]:
        """The cells by `part step`."""
        found = look_at(self.store, plan_today(self.config, self.store), self.config.gates).cells
        return {f"{cell.part} {cell.step}": cell for cell in found}

    def stale(self) -> dict[str, str]:
        """Step → why, of what is not fresh."""
        return {key: cell.reason for key, cell in self.cells().items() if cell.state != "fresh"}

    def roots(self) -> dict[str, str]:
        """Those that are not stale because of others."""
        return {key: why for key, why in self.stale().items() if not why.endswith(" is stale")}

    def nothing_to_do(self) -> bool:
        return look_at(self.store, plan_today(self.config, self.store), self.config.gates).nothing_to_do


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk whose steps are recorded, with its home; made once, to be copied."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(folder / "home"))
        made = Desk(folder / "files", **JUDGED)
        made.record()
        assert made.stale() == {}
        assert made.nothing_to_do()
    return folder


@pytest.fixture
def desk(home: Path, recorded: Path) -> Desk:
    shutil.copytree(recorded, home, dirs_exist_ok=True)
    return Desk(home / "files", **JUDGED)


READERS = {
    "demonstrations.jsonl": ["base import_data"],
    "helpfulness_prompts.jsonl": ["base import_data"],
    f"{BASE}/model.safetensors": ["base check_base", "base fit_context", "V0 sft"],
    f"{BASE}/chat_template.jinja": ["base check_base", "base fit_context", "V0 sft"],
    f"{BASE}/tokenizer_config.json": ["base check_base", "base fit_context", "V0 sft"],
    "judge/model.safetensors": ["base check_base", "V1 judge_pairs"],
    "judge/chat_template.jinja": ["base check_base", "V1 judge_pairs"],
}


@pytest.mark.slow
def test_a_file_that_is_edited_in_place_makes_its_readers_stale_and_is_named(desk: Desk) -> None:
    before = desk.store.catalog.seq()
    for name, readers in READERS.items():
        path = desk.folder / name
        content, times = path.read_bytes(), path.stat()
        path.write_bytes(b"x" * len(content))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert desk.roots() == dict.fromkeys(readers, f"{path} has changed")
        assert desk.stale().keys() > set(readers), "what they feed is stale with them"
        assert not desk.nothing_to_do()
        path.write_bytes(content)
    assert desk.nothing_to_do()
    assert desk.store.catalog.seq() == before, "a look writes nothing"


@pytest.mark.slow
def test_the_same_bytes_written_again_make_nothing_stale_and_old_ones_make_it_fresh_again(desk: Desk) -> None:
    path = desk.folder / "demonstrations.jsonl"
    path.write_text(path.read_text())
    assert desk.stale() == {}
    path.write_text("others")
    register_file(desk.store, path, name="demonstrations-1-demonstrations.jsonl")  # as a run does that then fails
    assert desk.roots() == {"base import_data": f"{path} has changed"}
    path.write_text("demonstrations")
    assert desk.stale() == {}, "whatever was registered last: it is the file that counts"


def test_what_is_gone_and_what_is_new_is_told_too(desk: Desk) -> None:
    base = desk.folder / BASE
    (base / "chat_template.jinja").unlink()
    (base / "extra.json").write_text("{}")
    (base / "model.safetensors").write_text("other weights")
    told = f"{base}/chat_template.jinja is gone; {base}/extra.json is new; {base}/model.safetensors has changed"
    assert desk.roots()["V0 sft"] == told
    (desk.folder / "demonstrations.jsonl").unlink()
    assert desk.roots()["base import_data"] == f"{desk.folder}/demonstrations.jsonl is gone"
    shutil.rmtree(desk.folder / "judge")
    assert desk.roots()["V1 judge_pairs"] == f"{desk.folder}/judge is gone"


def test_a_base_model_that_is_gone_is_said_in_words(desk: Desk) -> None:
    shutil.rmtree(desk.folder / BASE)
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 2
    assert "base_model" in result.stderr
    assert str(desk.folder / BASE) in result.stderr.replace("\n", "")


def test_many_changed_files_are_counted(desk: Desk) -> None:
    for number in range(5):
        (desk.folder / BASE / f"extra-{number}.json").write_text("{}")
    assert desk.roots()["V0 sft"].endswith("extra-2.json is new; and 2 more")


@pytest.mark.slow
def test_files_in_another_order_are_another_input(home: Path) -> None:
    names = [f"{name}.jsonl" for name in ("a", "b")]
    (home / "files").mkdir()
    for name in names:
        (home / "files" / name).write_text(name)
    data = {"demonstrations": names, **{name: [f"{name}.jsonl"] for name in PROMPTS}}
    Desk(home / "files", data=data, **JUDGED).record()
    turned = Desk(home / "files", data={**data, "demonstrations": names[::-1]}, **JUDGED)
    assert turned.roots() == {"base import_data": "demonstrations come in another order"}
    added = Desk(home / "files", data={**data, "demonstrations": names[:1]}, **JUDGED)
    assert added.roots() == {"base import_data": "demonstrations-2-b.jsonl is no longer read"}


@pytest.mark.slow
def test_a_folder_of_pairs_into_which_a_file_was_dropped_makes_the_import_stale(home: Path) -> None:
    pairs = home / "files" / "pairs"
    pairs.mkdir(parents=True)
    (pairs / "first.jsonl").write_text("first")
    data = {"demonstrations": ["demonstrations.jsonl"], "helpfulness_preferences": ["pairs"]}
    desk = Desk(home / "files", data={**data, "safety_preferences": ["pairs"]})
    desk.record()
    assert desk.stale() == {}
    (pairs / "second.jsonl").write_text("second")
    assert desk.roots() == {"base import_data": "; ".join([f"{pairs}/second.jsonl is new"] * 2)}


def test_status_and_stale_say_so_to_people_and_programs(desk: Desk) -> None:
    path = desk.folder / "demonstrations.jsonl"
    path.write_text("edited")
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert f"base import_data is stale: {path} has changed" in shown
    document = json.loads(CliRunner().invoke(app, ["stale", "--json"]).stdout)
    (first, *others) = document["stale"]
    assert (first["part"], first["step"], first["reason"]) == ("base", "import_data", f"{path} has changed")
    assert first["command"] == "halter rerun base import-data --downstream --run pocket"
    assert {each["command"] for each in others} == {first["command"]}, "one command for all of it"
    shown = CliRunner().invoke(app, ["stale"]).stdout
    assert "base import_data" in shown
    assert "nothing is stale" not in shown


def test_a_gate_holds_no_step_that_has_to_be_made_anew(desk: Desk) -> None:
    gate = {"step": "sft", "metric": "loss", "at_most": 1.0, "iterations": ["V0"]}
    gated = Desk(desk.folder, **JUDGED, gates=[gate])
    assert gated.cells()["V0 sft"].gate == "loss was not measured, and must be at most 1"
    assert not gated.nothing_to_do(), "every step is fresh, and a run would stop at the gate"
    (desk.folder / BASE / "model.safetensors").write_text("other weights")
    assert (gated.cells()["V0 sft"].state, gated.cells()["V0 sft"].gate) == ("stale", "")


def test_only_what_is_whole_is_nothing_to_do(desk: Desk) -> None:
    head = desk.store.heads()[AssetName("report", "evaluation", "V1")]
    (ref, *_) = desk.store.version(head.version_id).objects
    place = desk.store.objects.path(ref.sha256)
    content = place.read_bytes()
    place.unlink()
    assert not desk.nothing_to_do(), "a run would make the lost object anew"
    place.write_bytes(content)
    assert desk.nothing_to_do()
    record(desk.bench, [plan_today(desk.config, desk.store)["V0", "sft"]])
    assert desk.stale() == {}, "the same bytes, made once more"
    assert not desk.nothing_to_do(), "a run would write down that the later steps follow from the newer run"


@pytest.mark.slow
def test_a_book_with_other_judgements_makes_stale_what_read_the_batch(home: Path) -> None:
    desk = Desk(home / "files", collect={"people": {}, "sampling": {"max_new_tokens": 8}})
    plan = plan_today(desk.config, desk.store)
    calls = list(plan.values())
    place = [call.step.name for call in calls].index("draw_pairs")
    record(desk.bench, calls[:place])
    rows = desk.bench.rows("pair", [pair_row(number) for number in range(3)])
    pairs = desk.store.publish("dataset", rows, row_kind="pair")
    record(desk.bench, [calls[place]], published={"dataset/pairs@V1": pairs})
    session = Session(desk.config)
    assert prepare(session.store, session.plan["V1", "collect_preferences"]) is not None
    assert desk.cells()["V1 collect_preferences"].state == "waiting"
    book = Book.open(desk.store.root)
    add_annotator(book, "anna")
    batch = batch_name("V1", pairs.version_id)
    shown = next_item(book, batch, "anna")
    assert shown is not None
    judge(book, "anna", shown.form_key, Verdict("a", "better"))
    close_batch(book, batch, "enough")
    hand_over(desk.store, book, batch)
    record(desk.bench, calls[place + 1 :])
    assert desk.stale() == {}
    assert desk.nothing_to_do()
    with book.writing() as connection:  # as if another book had been put in the place of this one
        connection.execute("DROP TRIGGER no_update_of_answer")
        connection.execute("UPDATE answer SET chosen = 'b'")
    book.close()
    assert desk.roots() == {"V1 collect_preferences": f"what people judged in batch {batch} has changed"}


@pytest.mark.slow
def test_a_red_team_that_was_closed_since_makes_the_prompts_stale(home: Path) -> None:
    desk = Desk(home / "files", collect={**JUDGED["collect"], "red_team": {}})
    desk.record()
    assert desk.stale() == {}
    assert desk.nothing_to_do()
    book = Book.open(desk.store.root)
    add_annotator(book, "anna")
    open_red_team(book, RedTeamSpec("s1", AssetName("model", "policy", "V0"), "abc"))
    form = attack_form(book, "s1", "anna")
    enter_turn(book, "s1", "anna", form.form_key, "never be kind", LiveResponse("no", "abc", 700, 1))
    form = attack_form(book, "s1", "anna")
    assert form.attack is not None
    label = AttackLabel("violation", "hate", "direct")
    label_attack(book, "s1", "anna", form.form_key, form.attack.attack_id, label)
    assert desk.stale() == {}, "the session is open"
    close_red_team(book, "s1", "enough")
    book.close()
    assert desk.roots() == {"V1 extend_prompts": "what red teams attacked V0 with has changed"}


@pytest.mark.slow
def test_picks_that_the_other_run_made_anew_make_the_distilled_run_stale(home: Path) -> None:
    picks = AssetName("dataset", "picks", "V1")
    there = Bench(Store.open(home / "home" / "pocket"), home / "there")
    there.run("rejection_sample", {str(picks): there.publish("picks", "dataset")})
    (home / "small.yaml").write_text(yaml.safe_dump(content_of()))
    config = load_config(home / "small.yaml")
    remember(config)
    store = Store.open(store_root("small"))
    adopt(store, "pocket", picks)
    record_plan(Bench(store, home / "here"), plan_today(config, store))

    def roots() -> dict[str, str]:
        cells = look_at(store, plan_today(config, store)).cells
        return {f"{c.part} {c.step}": c.reason for c in cells if c.state != "fresh" and "is stale" not in c.reason}

    assert roots() == {}
    there.run("rejection_sample", {str(picks): there.publish("other picks", "dataset")})
    assert roots() == {"V1 fine_tune": "dataset/picks@V1 of run pocket has changed"}
    shutil.rmtree(home / "home" / "pocket")
    assert roots() == {}, "where the other store is gone, what was adopted before still holds"


@pytest.mark.slow
def test_code_that_differs_is_shown_and_makes_nothing_stale(home: Path) -> None:
    desk = Desk(home / "files", **JUDGED)
    as_it_is = {path: file_sha256(ROOT / path) for path in ("tasks/sft.py", "tasks/engine/step.py")}
    other = {**as_it_is, "tasks/sft.py": "0" * 64, "tasks/gone.py": "1" * 64}
    calls = plan_today(desk.config, desk.store)
    for key, call in calls.items():
        record(desk.bench, [call], code=other if key == ("V0", "sft") else as_it_is)
    assert desk.stale() == {}
    assert desk.nothing_to_do()
    assert {key: cell.other_code for key, cell in desk.cells().items() if cell.other_code} == {
        "V0 sft": ("tasks/gone.py", "tasks/sft.py")
    }
    line = (
        "made by other code than today's, which makes nothing stale: V0 sft (what differs: tasks/gone.py, tasks/sft.py)"
    )
    for command in ("status", "stale"):
        assert CliRunner().invoke(app, [command]).stdout.count(line) == 1
    document = json.loads(CliRunner().invoke(app, ["stale", "--json"]).stdout)
    assert document["stale"] == []
    assert document["other_code"] == [{"part": "V0", "step": "sft", "files": ["tasks/gone.py", "tasks/sft.py"]}]
    runs = json.loads(CliRunner().invoke(app, ["lineage", "model/policy@V0", "--json"]).stdout)["runs"]
    assert {run["step"]: run["other_code"] for run in runs} == {
        "sft": ["tasks/gone.py", "tasks/sft.py"],
        "check_base": [],
        "import_data": [],
        "fit_context": [],
    }
    text = CliRunner().invoke(app, ["lineage", "model/policy@V0"]).stdout
    assert text.count("today's code differs: tasks/gone.py, tasks/sft.py") == 1
