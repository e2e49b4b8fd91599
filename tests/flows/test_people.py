"""The pocket recipe with people for the annotator: it waits, they judge, and the same command goes on."""

import json
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import pytest
import yaml

from data_store.annotation.batches import batches
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.handover import batch_name, judgements_asset
from data_store.annotation.judging import Verdict, judge, next_item
from data_store.annotation.people import add_annotator
from data_store.catalog.origins import JudgedOrigin
from data_store.incoming.sources import register_rows
from data_store.rows import ROW_KINDS
from data_store.upkeep.verification import verify
from tests.flows.commands.test_serve import serving
from tests.flows.recipe_runs import POCKET, Finished, Home, ask
from tests.tasks.bench import wait_for

pytestmark = pytest.mark.slow  # each stands on runs that are killed and go on

READS_THEM = ["collect_preferences", "train_safety_reward", "train_helpfulness_reward"]
AFTER = {("V1", step) for step in [*READS_THEM, "rejection_sample", "fine_tune", "evaluate", "measure_reward_models"]}
SHARES = {"anna": 30, "ben": 18}


def config_file(folder: Path, **people: Any) -> Path:
    """One iteration of the pocket recipe, judged by people."""
    content = yaml.safe_load(POCKET)
    content |= {"iterations": 1, "gatt": None, "annotator": None, "final_stage": "none"}
    content["collect"]["people"] = people
    path = folder / "people.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def verdict_on(response_a: str, response_b: str, axis: str) -> Verdict:
    """What people say here: the longer answer is better."""
    chosen = "a" if len(response_a) > len(response_b) else "b"
    return Verdict(chosen, "slightly_better", "both_safe" if axis == "safety" else None)


def judge_pairs(book: Book, batch_id: str, name: str, count: int) -> None:
    """Somebody at work."""
    for _ in range(count):
        shown = next_item(book, batch_id, name)
        assert shown is not None
        judge(book, name, shown.form_key, verdict_on(shown.item.response_a, shown.item.response_b, shown.item.axis))


@pytest.fixture(scope="module")
def waiting(
    first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory, server: str
) -> tuple[Home, Path, Finished]:
    """A copy of the finished pocket run whose pairs are given to people now. The first command is killed as soon as it
    has laid the pairs out; the second one says what it waits for."""
    home = replace(first_run[0], folder=tmp_path_factory.mktemp("people") / "home", server=server)
    copytree(first_run[0].folder, home.folder)
    config = config_file(tmp_path_factory.mktemp("config"))
    process = home.start("run", config, "--json")
    try:
        wait_for(lambda: (home.folder / "pocket" / BOOK_FILE).exists() and bool(batches(book_of(home))), "batch", 120)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: home.processes() == [], "the end of all processes of the run", 30)
    finished = home.halter("run", config, "--json")
    assert finished.code == 0, finished.err
    return home, config, finished


def book_of(home: Home) -> Book:
    return Book.open(home.folder / home.name)


@pytest.fixture(scope="module")
def judged(waiting: tuple[Home, Path, Finished], tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path, str]:
    """A copy of it, judged by anna and ben, and gone on with. Killed once on the way, when the judgements are in."""
    before, config, finished = waiting
    home = replace(before, folder=tmp_path_factory.mktemp("judged") / "home")
    copytree(before.folder, home.folder)
    batch_id = finished.document["waiting"][0]["batch_id"]
    book = book_of(home)
    for name, count in SHARES.items():
        add_annotator(book, name)
        judge_pairs(book, batch_id, name, count)
    process = home.start("run", config)
    try:
        wait_for(lambda: home.store.head(judgements_asset(batch_id)) is not None, "the judgements", 120)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: home.processes() == [], "the end of all processes of the run", 30)
    again = home.halter("run", config, "--json")
    assert again.code == 0, again.err
    assert again.document["waiting"] == []
    return home, config, batch_id


def test_a_run_lays_its_pairs_out_once_and_ends_saying_what_it_waits_for(
    first_run: tuple[Home, Finished], waiting: tuple[Home, Path, Finished]
) -> None:
    home, config, finished = waiting
    (wait,) = finished.document["waiting"]
    pairs = home.head("dataset/pairs@V1")
    assert pairs == first_run[0].head("dataset/pairs@V1"), "who judges changes nothing in what is drawn"
    assert wait["batch_id"] == batch_name("V1", pairs)
    assert (wait["part"], wait["judgements"], wait["wanted"], wait["ended"]) == ("V1", 0, 48, None)
    assert [row["policy"] for row in finished.document["figures"]] == ["V0", "V1"]
    (batch,) = batches(book_of(home))
    assert (batch.spec.quota, batch.waiting, batch.closed) == (48, 48, None)

    told = home.halter("run", config)
    assert told.code == 0
    assert f"V1 waits for people: 0 of 48 judgements in batch {wait['batch_id']}" in told.out
    assert "halter annotate" in told.out
    assert len(batches(book_of(home))) == 1


def test_status_tells_who_waits_and_how_far_it_is(waiting: tuple[Home, Path, Finished]) -> None:
    home, _, finished = waiting
    cells = {(cell["part"], cell["step"]): cell for cell in home.look("status", "--json").document["steps"]}
    cell = cells["V1", "collect_preferences"]
    batch_id = finished.document["waiting"][0]["batch_id"]
    assert (cell["state"], cell["reason"]) == ("waiting", f"0 of 48 judgements in batch {batch_id}")
    assert {key for key, each in cells.items() if each["state"] != "fresh"} == AFTER
    assert "waiting" in home.look("status").out


def test_the_run_goes_on_and_learns_from_exactly_what_people_said(judged: tuple[Home, Path, str]) -> None:
    home, _, batch_id = judged
    assert set(home.states().values()) == {"fresh"}
    store = home.store
    rows = store.rows(home.head("dataset/preferences@V1")).to_pylist()
    pairs = store.rows(home.head("dataset/pairs@V1")).to_pylist()

    def told(row: dict[str, Any]) -> tuple[Any, ...]:
        said = verdict_on(row["response_a"], row["response_b"], row["axis"])
        same = ("prompt_id", "axis", "response_a", "response_b", "policy_version_a", "policy_version_b")
        return (*(row[name] for name in same), said.chosen, said.rating, said.safety_label)

    found = [(*told(row)[:6], row["chosen"], row["rating"], row["safety_label"]) for row in rows]
    assert sorted(found, key=str) == sorted((told(pair) for pair in pairs), key=str)
    assert {row["source"] for row in rows} == {f"annotation batch {batch_id}"}
    learned = {step: edge for step, edge in _reads(home).items() if step.startswith("train_")}
    assert set(learned) == {"train_safety_reward", "train_helpfulness_reward"}
    assert {edges["preferences"] for edges in learned.values()} == {home.head("dataset/preferences@V1")}


def _reads(home: Home) -> dict[str, dict[str, str]]:
    """What the runs behind V1's policy read, by step and role."""
    document = home.look("lineage", "model/policy@V1", "--json").document
    return {
        run["step"]: {edge["role"]: edge["version"] for edge in run["reads"]}
        for run in document["runs"]
        if run["part"] == "V1"
    }


def test_the_lineage_of_the_policy_names_the_batch_the_people_and_the_hash_of_their_rows(
    judged: tuple[Home, Path, str],
) -> None:
    home, _, batch_id = judged
    document = home.look("lineage", "model/policy@V1", "--json").document
    (judgements,) = document["judgements"]
    assert judgements["by_annotator"] == SHARES
    asset = str(judgements_asset(batch_id))
    (source,) = [entry for entry in document["sources"] if entry["asset"] == asset]
    assert f"annotation batch {batch_id}" in source["origin"]
    assert "30 judgements by anna, 18 judgements by ben" in source["origin"]
    assert _reads(home)["collect_preferences"] == {
        "prompts": home.head("dataset/prompts@base"),
        "pairs": home.head("dataset/pairs@V1"),
        "judgements": source["version"],
    }


def test_other_judgements_make_stale_what_learned_from_them_and_the_book_brings_the_true_ones_back(
    judged: tuple[Home, Path, str], tmp_path: Path
) -> None:
    home, config, batch_id = judged
    before, heads = home.runs(), home.heads()
    store, asset = home.store, judgements_asset(batch_id)
    rows = store.rows(heads[str(asset)]).to_pylist()
    rows[0]["chosen"] = "b" if rows[0]["chosen"] == "a" else "a"
    table = pa.Table.from_pylist(rows, schema=ROW_KINDS["preference"].schema)
    register_rows(store, asset, table, "preference", JudgedOrigin(batch_id, "tampered with", {}))
    assert set(home.states().values()) == {"fresh"}, "the book says what people judged"
    book = {path: path.with_name(f"away-{path.name}") for path in store.root.glob(f"{BOOK_FILE}*")}
    for path, away in book.items():
        path.rename(away)
    assert {key for key, state in home.states().items() if state == "stale"} == AFTER
    for path, away in book.items():
        away.rename(path)

    finished = home.halter("run", config, "--json")
    assert finished.code == 0, finished.err
    assert home.runs() == before, "nothing is computed"
    changed = {name for name, version in home.heads().items() if version != heads[name]}
    assert changed <= {str(asset)}


def test_only_the_judging_is_redone_where_only_it_has_changed(judged: tuple[Home, Path, str]) -> None:
    home, _, _ = judged
    before = home.runs()
    finished = home.halter("rerun", "V1", "collect", "--set", "collect.heldout_percent=40", "--json")
    assert finished.code == 0, finished.err
    assert home.runs()[len(before) :] == [("V1", "collect_preferences", "succeeded")]
    assert {cell["step"] for cell in finished.document["stale"]} == {step for _, step in AFTER} - {READS_THEM[0]}
    runs = home.runs()
    finished = home.halter("rerun", "V1", "collect", "--unset", "collect.heldout_percent", "--json")
    assert (finished.code, home.runs()) == (0, runs), "the old version is taken up again"


def test_a_person_is_left_out_by_the_commands_that_the_answer_names(judged: tuple[Home, Path, str]) -> None:
    """Anna's judgements are withdrawn, redone without, and erased. The last one: it changes what the others share."""
    home, _, _ = judged
    assert set(home.states().values()) == {"fresh"}
    old = home.head("model/reward-safety@V1")

    document = home.look("withdraw", "annotator", "anna", "--reason", "she asked for it", "--json").document
    redo = "halter rerun V1 collect-preferences --downstream --run pocket"
    assert document["commands"] == [redo]
    reached = {asset for each in document["reached"] for version in each["versions"] for asset in version["assets"]}
    assert {"dataset/preferences@V1", "model/reward-safety@V1", "model/policy@V1", "report/evaluation@V1"} <= reached
    untouched = {key for key, state in home.states().items() if state == "fresh"}
    assert ("V1", "draw_pairs") in untouched
    assert ("V1", "evaluate") not in untouched

    before = home.runs()
    done = home.halter(*shlex.split(redo)[1:])
    assert done.code == 0, done.err
    assert not {(part, step) for part, step, _ in home.runs()[len(before) :]} & untouched
    assert set(home.states().values()) == {"fresh"}
    found = home.look("lineage", "model/policy@V1", "--json").document
    assert [entry["by_annotator"] for entry in found["judgements"]] == [{"ben": SHARES["ben"]}]
    assert "anna" not in json.dumps(found)

    erased = home.look("withdraw", "annotator", "anna", "--erase", "--json")
    assert erased.code == 0, erased.err
    assert verify(home.store).problems == ()
    assert not (home.store.root / "checkouts" / old[:2] / old).exists()
    assert set(home.states().values()) == {"fresh"}


def test_served_it_holds_no_worker_and_goes_on_by_itself_also_where_all_was_killed_in_between(
    waiting: tuple[Home, Path, Finished], tmp_path: Path
) -> None:
    before, config, finished = waiting
    batch_id = finished.document["waiting"][0]["batch_id"]
    home = replace(before, folder=tmp_path / "home", server=None)
    copytree(before.folder, home.folder)
    with serving(home, config) as served:
        over = served.end(served.start("recipe/recipe"))
        assert (over["state_type"], over["state_name"]) == ("CANCELLED", "Waiting")
        assert "0 of 48 judgements" in over["state"]["message"]
        assert served.trainings() == []
        for pid in (served.process.pid, *served.workers()):
            os.kill(pid, signal.SIGKILL)
        served.process.wait()
        wait_for(lambda: home.processes() == [], "the end of all processes", 120)

    book = book_of(home)
    add_annotator(book, "anna")
    judge_pairs(book, batch_id, "anna", 47)
    with serving(home, config) as served:
        shown = len(ask(served.url, "flow_runs/filter"))
        judge_pairs(book, batch_id, "anna", 1)
        wait_for(lambda: len(ask(served.url, "flow_runs/filter")) > shown, "the recipe to go on", 120)
        wait_for(lambda: set(home.states().values()) == {"fresh"}, "the end of the recipe", 240)
        runs = ask(served.url, "flow_runs/filter", flow_runs={"tags": {"all_": [f"judged:{batch_id}"]}})
        assert len(runs) == 1, "it is started once"
        assert served.end(runs[0]["id"])["state_name"] == "Completed"
