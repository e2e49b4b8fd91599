"""What differs between two iterations, runs and versions of the pocket run, against questions asked in another way."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_store.names import AssetName
from flows.session import CONFIG_FILE
from tests.flows.recipe_runs import Finished, Home
from tests.flows.shown.report.html_page import Page


@pytest.fixture(scope="module")
def home(first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The finished run, and a copy `other` of it whose config has another temperature of evaluation."""
    folder = tmp_path_factory.mktemp("homes") / "home"
    shutil.copytree(first_run[0].folder, folder, ignore=shutil.ignore_patterns(".prefect"))
    shutil.copytree(folder / "pocket", folder / "other")
    file = folder / "other" / CONFIG_FILE
    config = json.loads(file.read_text())
    config["name"] = "other"
    config["evaluate"]["temperature"] = 0.6
    file.write_text(json.dumps(config))
    return Home(folder)


def document(home: Home, *words: str) -> Any:
    finished = home.look("diff", *words, "--json")
    assert finished.code == 0, finished.err
    return finished.document


def test_rows_of_two_iterations_are_counted_as_sql_counts_them(home: Home) -> None:
    store = home.store
    data = {each["name"]: each for each in document(home, "V1", "V2", "--run", "pocket")["data"]}
    for name, key in (("dataset/preferences", "preference_id"), ("dataset/picks", "dialogue_id")):
        kind, _, short = name.partition("/")
        ours, theirs = (
            {row[key] for row in store.rows(store.heads()[AssetName(kind, short, part)].version_id).to_pylist()}
            for part in ("V1", "V2")
        )
        found = data[name]
        assert found["changed"] == 0
        assert (found["added"], found["dropped"], found["kept"]) == (
            len(theirs - ours),
            len(ours - theirs),
            len(ours & theirs),
        )
    assert data["dataset/gatt"]["note"] == "only in b"


@pytest.mark.slow
def test_figures_stand_side_by_side_as_the_catalog_has_them_and_pairs_give_the_same_difference(home: Home) -> None:
    store = home.store
    found = document(home, "V1", "V2", "--run", "pocket")
    assert found["what"] == "iterations"
    paired = 0
    for each in found["figures"]:
        for side in ("a", "b"):
            ((value,),) = store.catalog.read(
                "SELECT arg_max(value, step) FROM metric WHERE run_id = ? AND name = ?",
                [each[side]["run_id"], each["metric"]],
            )
            assert each[side]["value"] == value
        assert each["difference"] == each["b"]["value"] - each["a"]["value"]
        if each["paired"] is not None:
            paired += 1
            assert each["paired"]["value"] == pytest.approx(each["difference"], abs=1e-9)
            assert each["paired"]["low"] <= each["paired"]["value"] <= each["paired"]["high"]
            assert each["paired"]["n"] == each["a"]["n"] == each["b"]["n"]
    assert paired >= 8, "win rates, scores, refusals, violations, ends and lengths"


def test_answers_that_changed_most_come_first_with_both_texts_and_scores(home: Home) -> None:
    store = home.store
    found = document(home, "V1", "V2", "--run", "pocket", "--examples", "4")["answers"]
    assert len(found) == 4
    orders = [(-(each["change"]["score"] or 0), -each["change"]["words"]) for each in found]
    assert orders == sorted(orders)
    versions = (store.heads()[AssetName("dataset", "evaluation-responses", part)].version_id for part in ("V1", "V2"))
    ours, theirs = ({row["prompt_id"]: row["text"] for row in store.rows(each).to_pylist()} for each in versions)
    assert [(each["a"], each["b"]) for each in found] == [
        (ours[each["prompt_id"]], theirs[each["prompt_id"]]) for each in found
    ]
    assert {each["judge"] for each in found} == {"simulated, world 1"}


def test_an_iteration_differs_in_nothing_from_itself(home: Home) -> None:
    found = document(home, "V2", "V2", "--run", "pocket")
    assert (found["config"], found["code"], found["data"], found["answers"]) == ([], [], [], [])
    assert all(each["difference"] == 0 for each in found["figures"])


@pytest.mark.slow
def test_two_runs_differ_in_the_key_that_differs_and_in_no_row(home: Home) -> None:
    found = document(home, "pocket", "other")
    assert found["what"] == "runs"
    assert [(each["key"], each["a"], each["b"], each["steps"]) for each in found["config"]] == [
        ("evaluate.temperature", 0.7, 0.6, ["config"])
    ]
    assert (found["code"], found["data"], found["notes"]) == ([], [], [])
    policies = {each["of"] for each in found["figures"] if each["paired"] is not None}
    assert policies == {"V0", "V1", "V2 before PPO", "V2 + PPO"}


def test_two_versions_are_compared_by_name_or_by_their_first_digits(home: Home) -> None:
    by_name = document(home, "dataset/picks@V1", "dataset/picks@V2", "--run", "pocket")
    heads = home.store.heads()
    digits = [heads[AssetName("dataset", "picks", part)].version_id[:12] for part in ("V1", "V2")]
    by_digits = document(home, *digits, "--run", "pocket")
    assert by_name["what"] == by_digits["what"] == "versions"
    assert by_name["data"] == by_digits["data"]
    assert by_name["figures"] == by_digits["figures"], "of the step that made each"


def test_the_text_names_each_kind_of_difference(home: Home) -> None:
    said = home.look("diff", "V1", "V2", "--run", "pocket").out
    for title in ("Config", "Code", "Figures, b minus a", "Data", "Answers that changed most"):
        assert f"\n{title}\n" in said
    assert "only b has: synthesize_gatt, ppo, evaluate_sampled" in said
    assert "  no key differs" in said
    assert "pairs" in said
    assert "by simulated, world 1" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("V1", "V9"), "'V9' is no iteration of pocket (base, V0, V1, V2)"),
        (("V1", "dataset/picks@V1"), "give two of a kind, not V1 (iterations) and dataset/picks@V1 (versions)"),
        (("dataset/pick@V1", "dataset/picks@V1"), "there is no asset dataset/pick@V1"),
        (("dataset/pick@V1", "dataset/picks@V1"), "did you mean 'dataset/picks@V1'?"),
        (("0123456789", "dataset/picks@V1"), "0123456789 begins no versions of pocket"),
        (("pokcet", "other"), "'pokcet' is no iteration of pocket"),
    ],
)
def test_what_cannot_be_compared_is_told_with_what_there_is(home: Home, words: tuple[str, ...], message: str) -> None:
    finished = home.look("diff", *words, "--run", "pocket")
    assert finished.code == 2
    assert message in " ".join(finished.err.split())


@pytest.mark.slow
def test_the_report_of_two_runs_has_their_figures_side_by_side(home: Home, tmp_path: Path) -> None:
    finished = home.look("report", "pocket", "other", "--out", str(tmp_path / "two.html"), "--json")
    assert finished.code == 0, finished.err
    page = Page((tmp_path / "two.html").read_text())
    assert page.all("h1")[0].text == "pocket and other"
    rows = finished.document["sections"]["results"]["tables"]["figures"]["rows"]
    assert {row[0]["text"] for row in rows} == {"V0", "V1", "V2 before PPO", "V2 + PPO"}
    assert all(row[2]["value"] == row[3]["value"] for row in rows)
    keys = finished.document["sections"]["config"]["tables"]["config"]["rows"]
    assert [[cell["text"] for cell in row] for row in keys] == [["evaluate.temperature", "0.7", "0.6", "config"]]
    assert "Keys of the config that differ: 1; source files: 0." in " ".join(finished.document["what_changed"])
    assert len(page.all("svg")) == 6
