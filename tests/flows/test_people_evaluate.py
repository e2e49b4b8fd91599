"""The recipe with people as judges of evaluations: it waits for them, and goes on to figures like any other judge's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from data_store.annotation.batches import batch_of
from data_store.annotation.book import Book
from data_store.annotation.judging import Verdict, judge, next_item
from data_store.annotation.people import add_annotator
from tests.flows.recipe_runs import POCKET, Home

pytestmark = pytest.mark.slow  # a run that waits and goes on


def say(book: Book, batch_id: str, name: str, longer: str) -> None:
    """Somebody at work on all that is left: the longer answer is better, or the shorter one; what has an «e» is unsafe,
    what has none refuses."""
    add_annotator(book, name)
    while shown := next_item(book, batch_id, name):
        item = shown.item
        is_a = (len(item.response_a) > len(item.response_b)) == (longer == "better")
        has_e = {side: "e" in text for side, text in (("a", item.response_a), ("b", item.response_b))}
        chosen, label, refusing = "a" if is_a else "b", None, None
        if item.axis == "safety":
            if has_e["a"] != has_e["b"]:
                chosen = "b" if has_e["a"] else "a"
            alike = "both_unsafe" if has_e["a"] else "both_safe"
            label = alike if has_e["a"] == has_e["b"] else "chosen_safe_other_unsafe"
        if item.asks_refusal:
            refusing = {(True, True): "neither", (True, False): "b", (False, True): "a", (False, False): "both"}[
                has_e["a"], has_e["b"]
            ]
        judge(book, name, shown.form_key, Verdict(chosen, "better", label, refusing))


def test_people_judge_the_last_policy_blind_and_their_figures_stand_everywhere(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    home, config = copy_of_first_run(), tmp_path / "judged.yaml"
    content = yaml.safe_load(POCKET)
    people = {"per_item": 2, "prompts": 10}
    content["evaluate"] |= {"judges": [{"name": "team", "kind": "people", "people": people}], "against": ["previous"]}
    config.write_text(yaml.safe_dump(content))
    before = home.runs()
    first = home.halter("run", config, "--json")
    assert first.code == 0, first.err
    (wait,) = first.document["waiting"]
    assert (wait["part"], wait["step"], wait["judgements"]) == ("V2", "judge_answers_team", 0)
    assert home.states()["V2", "judge_answers_team"] == "waiting"
    assert [key for *key, _ in home.runs()[len(before) :]] == [["V2", "pose_questions"]], "nothing else is asked"

    book = Book.open(home.folder / home.name)
    assert "v2" not in wait["batch_id"]
    assert batch_of(book, wait["batch_id"]).spec.purpose == "evaluation"
    for name, longer in (("anna", "better"), ("ben", "better")):
        say(book, wait["batch_id"], name, longer)
    waited = len(home.runs())
    done = home.halter("run", config, "--json")
    assert done.code == 0, done.err
    assert done.document["waiting"] == []
    assert home.runs()[waited:] == [("V2", "judge_answers_team", "succeeded")], "nothing else is done again"

    questions = home.store.rows(home.head("dataset/evaluation-questions@V2")).to_pylist()
    rows = home.store.rows(home.head("dataset/judged-by-team@V2")).to_pylist()
    assert len({row["prompt_id"] for row in rows}) == 10
    wanted = {
        (row["prompt_id"], row["against"]): float(len(row["response"]) > len(row["other"]))
        for row in questions
        if row["question"] == "better" and row["axis"] == "helpfulness" and len(row["response"]) != len(row["other"])
    }
    found = {(row["prompt_id"], row["against"]): row for row in rows if row["question"] == "better"}
    checked = found.keys() & wanted.keys()
    assert {against for _, against in checked} == {"V0", "V1"}
    assert {key: found[key]["value"] for key in checked} == {key: wanted[key] for key in checked}
    assert {found[key]["first_order"] is None for key in checked} == {True, False}, "both orders were shown"
    has_e = {row["prompt_id"]: float("e" in row["response"]) for row in questions}
    told = [row for row in rows if row["question"] == "unsafe" and row["value"] is not None]
    assert told
    assert all(row["value"] == has_e[row["prompt_id"]] for row in told)

    (last,) = [row for row in home.halter("status", "--json").document["figures"] if row["policy"] == "V2 + PPO"]
    for metric in ("win_rate@team", "win_rate/helpfulness/against_previous@team", "agreement/preference@team"):
        estimate = last["estimates"][metric]
        assert estimate["judge"] == "people:team"
        assert estimate["n"] > 0
    assert last["estimates"]["agreement/preference@team"]["value"] == 1.0
    sql = "SELECT judge, count(*) FROM judgements WHERE judge LIKE 'people%' GROUP BY ALL"
    assert "people:team" in home.look("query", sql).out
    page = tmp_path / "page.html"
    assert home.halter("report", "--out", page).code == 0
    written = page.read_text(encoding="utf-8")
    for title in ("win help@team", "win help prev@team", "AC2@team", "people:team"):
        assert title in written, title
    behind = home.look("lineage", "dataset/judged-by-team@V2", "--json").document
    assert any("judgements by anna" in source["origin"] for source in behind["sources"])

    withdrawn = home.look("withdraw", "annotator", "anna", "--reason", "she asked for it", "--json")
    assert withdrawn.code == 0, withdrawn.err
    assert {key for key, state in home.states().items() if state != "fresh"} == {("V2", "judge_answers_team")}
