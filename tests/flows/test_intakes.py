"""What a start of the recipe takes in: iterations that are appended, and that nothing which was made changes by it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.nights import lay_out, recipe
from data_store.errors import InputError
from data_store.incoming.intakes import Intake, TakenFile, read_intakes, write_intake
from data_store.names import AssetName
from data_store.store import Store
from flows.cli import app
from flows.intakes import check_taken, new_files, take_in
from flows.orders import descendants
from flows.recipe.config import RunConfig, dump_config, load_config, parse_config
from flows.recipe.plan import build_plan, intakes_of, plan_today
from flows.session import Session, remember, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET, Home
from tests.flows.recorded_run import record

NIGHTLY = {"take_in": "next_iteration", "max_iterations": 2}
NIGHT = {"V3": Intake("V3", 2, "night")}


class Desk:
    """A run on files in a folder, whose steps are recorded, not trained."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, **changes: Any) -> None:
        patch.setenv("HALTER_HOME", str(folder / "home"))
        self.folder, self.pairs = folder, folder / "pairs"
        self.pairs.mkdir()
        for name in ("documents", "demonstrations", "safe"):
            (folder / f"{name}.jsonl").write_text(name)
        self.drop("first.jsonl")
        data = {
            "documents": ["documents.jsonl"],
            "demonstrations": ["demonstrations.jsonl"],
            "safety_preferences": ["safe.jsonl"],
            "helpfulness_preferences": ["pairs"],
        }
        content = {"data": data, "annotator": None, "gatt": None, "final_stage": "none", "iterations": 1}
        content |= {"schedule": NIGHTLY, **changes}
        self.file = folder / "run.yaml"
        self.file.write_text(yaml.safe_dump({**yaml.safe_load(POCKET), **content}))
        self.config = load_config(self.file)
        remember(self.config)
        self.store = Store.open(store_root(self.config.name))
        self.bench = Bench(self.store, folder / "work")

    def drop(self, name: str, text: str = "") -> Path:
        path = self.pairs / name
        path.write_text(text or name)
        return path

    def start(self) -> str:
        """What a start says that it takes in."""
        start = take_in(Session(self.config))
        assert start is not None
        return start.text

    def make_all(self) -> None:
        """Every step that is missing is recorded as done."""
        heads, plan = self.store.heads(), plan_today(self.config, self.store)
        record(self.bench, [call for call in plan.values() if not set(call.outputs.values()) <= set(heads)])

    def make_preferences(self, part: str) -> None:
        """Something has been learned from what this part took in."""
        self.bench.run("collect_preferences", {f"dataset/preferences@{part}": part})

    def read_by(self, part: str) -> list[str]:
        """The files of pairs that the import of a part would read today."""
        paths = plan_today(self.config, self.store)[part, "import_data"].files["helpfulness_preferences"]
        return [path.name for path in paths]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def of_world(**changes: Any) -> RunConfig:
    return RunConfig.model_validate({**yaml.safe_load(POCKET), **changes})


@pytest.mark.parametrize("stage", ["ppo", "dpo", "none"])
def test_an_appended_iteration_leaves_every_earlier_call_as_it_is(stage: str) -> None:
    config = of_world(final_stage=stage, reward={"gold_percent": 20})
    before, after = build_plan(config), build_plan(config, intakes=NIGHT)
    assert {key: after[key] for key in before} == dict(before)
    assert {part for part, _ in after.keys() - before.keys()} == {"V3"}
    assert {step for part, step in after if part == "V3"} == {step for part, step in before if part == "V2"}
    (policy,) = after["V3", "draw_pairs"].inputs["policy"]
    assert str(policy) == "model/policy@V2", "the one that the final stage made"
    assert {part for part, _ in descendants(after, "V3", "draw_pairs")} == {"V3"}


def test_a_config_with_other_iterations_than_were_appended_to_is_refused() -> None:
    with pytest.raises(InputError, match="iterations: 3, but V3 was appended to 2: set it back"):
        build_plan(of_world(iterations=3), intakes=NIGHT)


def test_folders_and_patterns_mean_the_whole_data_files_in_them_sorted(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("b.jsonl", "a.jsonl.gz", ".c.jsonl", "d.jsonl.part", "e.parquet"):
        (folder / name).write_text(name)
    data = {"world": None, "helpfulness_preferences": [str(folder)], "safety_preferences": [str(folder / "[ab]*")]}
    found = of_world(data={**data, "documents": ["x"], "demonstrations": ["y"]}, gatt=None).data.files()
    assert [path.name for path in found["helpfulness_preferences"]] == ["a.jsonl.gz", "b.jsonl", "e.parquet"]
    assert [path.name for path in found["safety_preferences"]] == ["a.jsonl.gz", "b.jsonl"]


def test_a_folder_without_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch)
    (desk.pairs / "first.jsonl").rename(desk.pairs / "first.jsonl.part")
    with pytest.raises(InputError, match=r"data\.helpfulness_preferences: there is no \.jsonl, .* file in .*/pairs"):
        load_config(desk.file)


def test_the_stored_config_still_names_the_folder(desk: Desk) -> None:
    config = parse_config(dump_config(desk.config))
    desk.drop("second.jsonl")
    assert [path.name for path in config.data.files()["helpfulness_preferences"]] == ["first.jsonl", "second.jsonl"]


@pytest.mark.slow
def test_new_files_become_the_next_iteration_and_stay_its_own(desk: Desk) -> None:
    """From the first start to the maximum, with all that `halter status` says of it."""
    assert desk.start() == "the run begins with 2 new files (first.jsonl, safe.jsonl)"
    desk.drop("second.jsonl")
    assert desk.start() == "the run begins with 3 new files (first.jsonl, safe.jsonl, second.jsonl)"
    (desk.pairs / "second.jsonl").unlink()
    desk.start()
    desk.make_all()
    assert desk.start() == "no new preferences have come"
    made = desk.store.heads()
    desk.drop("a.jsonl")
    assert desk.start() == "V2 is appended and takes in 1 new file (a.jsonl)"
    desk.drop("second.jsonl")
    assert desk.start() == "V2 takes in 2 new files (a.jsonl, second.jsonl)", "as long as nothing is made of it"
    desk.make_all()
    desk.drop("third.jsonl")
    assert desk.start() == (
        "no iteration is appended: there are 2, as many as schedule.max_iterations allows, and 1 new file "
        "(third.jsonl) wait"
    )
    assert [desk.read_by(part) for part in ("base", "V2")] == [["first.jsonl"], ["a.jsonl", "second.jsonl"]]
    assert {asset: desk.store.heads()[asset] for asset in made} == made, "nothing that was made was made again"
    document = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert document["iterations"] == ["V1", "V2"]
    assert [(row["part"], row["files"]) for row in document["taken_in"]] == [
        ("base", ["first.jsonl", "safe.jsonl"]),
        ("V2", ["a.jsonl", "second.jsonl"]),
    ]
    assert {cell["state"] for cell in document["steps"]} == {"fresh"}
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert "2 iterations in force: 1 of the config, 1 appended, at most 2" in shown
    assert "V2 took in a.jsonl, second.jsonl" in shown


def test_an_appended_iteration_deals_its_pairs_to_itself_alone(desk: Desk) -> None:
    file = TakenFile.of("helpfulness_preferences", desk.drop("second.jsonl"))
    plan = build_plan(desk.config, intakes={"V2": Intake("V2", 1, "files", (file,))})
    assert plan["V2", "import_data"].files == {"helpfulness_preferences": (desk.pairs / "second.jsonl",)}
    fitted = plan["V2", "fit_context"].outputs["preferences"]
    assert plan["V2", "collect_preferences"].assets == {
        "prompts": (AssetName("dataset", "prompts", "base"),),
        "imported": (fitted,),
    }
    assert plan["V2", "collect_preferences"].config.model_dump()["iterations"] == 1
    pairs = [str(asset) for asset in plan["V2", "train_safety_reward"].inputs["preferences"]]
    assert pairs == ["dataset/preferences@V1", "dataset/preferences@V2"]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "said"), [("gone", "is gone"), ("grown", "has changed")])
def test_a_file_that_was_learned_from_must_stay_as_it_was(desk: Desk, change: str, said: str) -> None:
    desk.start()
    desk.make_preferences("V1")
    path = desk.pairs / "first.jsonl"
    path.unlink() if change == "gone" else path.write_text("more")
    with pytest.raises(InputError, match=rf"first\.jsonl.*{said}.*give new pairs in a new file"):
        desk.start()
    with pytest.raises(InputError, match=said):
        check_taken(Session(desk.config))


@pytest.mark.slow
def test_files_may_be_mended_or_taken_away_until_something_is_learned_from_them(desk: Desk) -> None:
    desk.start()
    desk.make_preferences("V1")
    path = desk.drop("second.jsonl", "half")
    write_intake(desk.store, Intake("V2", 1, "files", (TakenFile.of("helpfulness_preferences", path),)))
    path.write_text("whole")
    assert desk.start() == "V2 takes in 1 new file (second.jsonl)"
    (file,) = read_intakes(desk.store)["V2"][0].files
    assert file == TakenFile.of("helpfulness_preferences", path)
    path.unlink()
    assert desk.start() == "V2 is taken back: its files are gone"
    assert list(read_intakes(desk.store)) == ["base"]


def test_a_second_file_of_the_same_name_is_refused(desk: Desk) -> None:
    desk.start()
    desk.make_preferences("V1")
    (desk.folder / "others").mkdir()
    (desk.folder / "others" / "first.jsonl").write_text("other pairs")
    data = {**desk.config.data.model_dump(mode="json"), "helpfulness_preferences": [str(desk.folder / "*" / "*.jsonl")]}
    desk.config = desk.config.model_validate({**desk.config.model_dump(mode="json"), "data": data})
    with pytest.raises(InputError, match=r"base took in a file of this name.*give it another"):
        new_files(desk.config, intakes_of(desk.store))


@pytest.mark.slow
def test_nothing_is_appended_while_a_step_is_unfinished(desk: Desk) -> None:
    desk.start()
    desk.make_preferences("V1")
    desk.drop("second.jsonl")
    assert desk.start() == "no iteration is appended: import_data of base is missing"
    assert list(read_intakes(desk.store)) == ["base"]


def test_by_default_nothing_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch, schedule={})
    assert take_in(Session(desk.config)) is None
    assert read_intakes(desk.store) == {}


@pytest.mark.slow
def test_the_command_appends_one_iteration_a_start_and_then_says_that_nothing_is_new(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    """With the simulated annotator, up to the maximum; the real recipe."""
    home, file = copy_of_first_run(), tmp_path / "nightly.yaml"
    file.write_text(POCKET + "schedule: {take_in: next_iteration, max_iterations: 3}\n")
    before, runs = home.heads(), home.runs()
    night = home.halter("run", file, "--json")
    assert night.code == 0, night.err
    assert night.document["taken_in"] == "V3 is appended"
    assert [row["policy"] for row in night.document["figures"]][-2:] == ["V3 before PPO", "V3 + PPO"]
    after = home.heads()
    assert {asset: after[asset] for asset in before} == before, "V0, V1 and V2 are what they were"
    assert {part for part, _, _ in home.runs()[len(runs) :]} == {"V3"}
    again = home.halter("run", file, "--json")
    assert again.code == 0, again.err
    assert again.document["taken_in"].startswith("no iteration is appended: there are 3")
    assert home.heads() == after
    assert home.store.head(AssetName.parse("model/policy@V3")) is not None


@pytest.mark.slow
def test_a_new_file_of_judged_pairs_becomes_an_iteration_that_is_trained_to_its_end(
    tmp_path: Path, server: str
) -> None:
    """The real recipe on files: what is taken in has to be read and fitted before anything can learn from it."""
    config = recipe(tmp_path, POCKET)
    growing = yaml.safe_load(config.read_text()) | {"schedule": {"take_in": "next_iteration", "max_iterations": 3}}
    config.write_text(yaml.safe_dump(growing))
    lay_out(tmp_path / "pairs", 0, 1)
    home = Home(tmp_path / "home", server, "nights")
    first = home.halter("run", config, "--json")
    assert first.code == 0, first.err
    before = home.heads()
    (tmp_path / "apart").mkdir()
    lay_out(tmp_path / "apart", 1, 1)
    (tmp_path / "apart" / "batch-1.jsonl").rename(tmp_path / "pairs" / "batch-1.jsonl")
    night = home.halter("run", config, "--json")
    assert night.code == 0, night.err
    assert night.document["taken_in"] == "V2 is appended and takes in 1 new file (batch-1.jsonl)"
    assert [step for part, step, _ in home.runs() if part == "V2"][:2] == ["import_data", "fit_context"]
    assert set(home.states().values()) == {"fresh"}
    after = home.heads()
    assert {asset: after[asset] for asset in before} == before
    assert "model/policy@V2" in after
