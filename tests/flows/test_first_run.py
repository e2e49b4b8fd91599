"""The whole pocket recipe through the real command, from nothing: what it leaves, and what a second run does."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.side_by_side import fits
from tests.flows.recipe_runs import Finished, Home, ask

FOUNDATION = ["import_data", "filter_corpus", "train_tokenizer", "fit_context", "pretrain"]
REWARDS = ["train_safety_reward", "train_helpfulness_reward"]
ITERATION = ["draw_pairs", "collect_preferences", *REWARDS, "rejection_sample", "fine_tune", "measure_reward_models"]
STEPS = {
    *(("base", step) for step in FOUNDATION),
    ("V0", "sft"),
    ("V0", "evaluate"),
    *(("V1", step) for step in [*ITERATION, "evaluate"]),
    *(("V2", step) for step in [*ITERATION, "synthesize_gatt", "ppo", "evaluate_sampled", "evaluate"]),
}


def test_every_step_has_run_once(first_run: tuple[Home, Finished]) -> None:
    runs = first_run[0].runs()
    assert sorted(runs) == sorted((part, step, "succeeded") for part, step in STEPS)


def test_the_figures_of_every_policy_are_printed(first_run: tuple[Home, Finished]) -> None:
    rows = first_run[1].document["figures"]
    assert [row["policy"] for row in rows] == ["V0", "V1", "V2 before PPO", "V2 + PPO"]
    assert rows[0]["win help"] == "0.50", "against itself SFT wins half"
    assert rows[0]["KL"] == "–"
    assert all(row["oracle"] != "–" and row["violation %"] != "–" for row in rows)


@pytest.mark.conformance("over-optimisation unseen", equation="tasks.evaluate:evaluate")
def test_each_policys_reward_stands_beside_the_score_of_a_judge_that_training_never_saw(
    first_run: tuple[Home, Finished],
) -> None:
    rows = first_run[1].document["figures"]
    judged = [(row["oracle"], row["reward"]) for row in rows if row["policy"] != "V0"]
    assert len(judged) == 3
    assert all(float(oracle) >= 0 and float(reward) == float(reward) for oracle, reward in judged)
    assert all(oracle != reward for oracle, reward in judged), "two measures, not one twice"


def test_no_process_and_no_half_made_file_is_left(first_run: tuple[Home, Finished]) -> None:
    home, _ = first_run
    assert home.processes() == []
    work = home.folder / "pocket" / "work"
    assert [path.name for path in work.iterdir() if path.suffix != ".lock"] == []


def test_status_says_that_all_is_fresh(first_run: tuple[Home, Finished]) -> None:
    home, _ = first_run
    finished = home.look("status", "--json")
    cells = finished.document["steps"]
    assert {(cell["part"], cell["step"]) for cell in cells} == STEPS
    assert {cell["state"] for cell in cells} == {"fresh"}
    assert all(cell["figure"] is not None for cell in cells), [cell["step"] for cell in cells if cell["figure"] is None]
    assert finished.document["overrides"] == []
    heads = home.heads()
    (ppo,) = [cell for cell in cells if cell["step"] == "ppo"]
    assert ppo["outputs"] == {"policy": heads["model/policy@V2"], "looks": heads["dataset/ppo-looks@V2"]}


def test_status_for_people_shows_each_step_and_iteration(first_run: tuple[Home, Finished]) -> None:
    finished = first_run[0].look("status")
    assert finished.code == 0
    for word in ("V0", "V1", "V2", "train_safety_reward", "fresh", "judged by a simulated annotator"):
        assert word in finished.out
    assert "stale" not in finished.out


def test_lineage_of_the_last_policy_names_all_that_made_it(first_run: tuple[Home, Finished]) -> None:
    home, _ = first_run
    document = home.look("lineage", "model/policy@V2", "--json").document
    assert document["version"] == home.head("model/policy@V2")
    groups = ("data_sets", "judgements", "reward_models", "models")
    names = {group: {entry["asset"] for entry in document[group]} for group in groups}
    assert names["reward_models"] == {
        f"model/reward-{kind}@{part}" for kind in ("safety", "helpfulness") for part in ("V1", "V2")
    }
    assert names["judgements"] == {"dataset/preferences@V1", "dataset/preferences@V2"}
    assert names["data_sets"] >= {
        "dataset/raw-documents@base",
        "dataset/corpus@base",
        "dataset/demonstrations@base",
        "dataset/prompts@base",
        "dataset/instructions@base",
        "dataset/candidates@V1",
        "dataset/picks@V2",
        "dataset/gatt@V2",
    }
    assert names["models"] >= {
        "model/base@base",
        "model/policy@V0",
        "model/policy@V1",
        "model/policy-sampled@V2",
        "model/policy@V2",
        "tokenizer/tokenizer@base",
    }
    for entry in document["judgements"]:
        assert set(entry["by_annotator"]) == {"simulated:little-world"}
        assert entry["by_annotator"]["simulated:little-world"] == entry["pairs"] > 0
    runs = {(run["part"], run["step"]): run for run in document["runs"]}
    assert set(runs) == STEPS - {key for key in STEPS if key[1].startswith(("evaluate", "measure"))}
    ppo = runs["V2", "ppo"]
    assert ppo["config"]["config"]["training"]["kl_coef"] == 0.01
    assert ppo["code_files"]["models/training/ppo.py"]
    assert all(len(digest) == 64 for run in document["runs"] for digest in run["code_files"].values())
    assert ppo["environment"]["torch"]
    assert {edge["role"] for edge in ppo["reads"]} == {"policy", "safety_reward", "helpfulness_reward", "prompts"}
    order = [(run["part"], run["step"]) for run in document["runs"]]
    assert order[0] == ("V2", "ppo")
    assert (
        order.index(("V1", "fine_tune")) < order.index(("V1", "rejection_sample")) < order.index(("base", "pretrain"))
    )


def test_lineage_for_people_names_the_same(first_run: tuple[Home, Finished]) -> None:
    text = first_run[0].look("lineage", "model/policy@V2").out
    for word in (
        "dataset/preferences@V1",
        "pairs by simulated:little-world",
        "\n  models  ",
        "seed",
        "world.seed=1",
    ):
        assert word in text
    assert len(text.splitlines()) <= 60, "about one screen"
    assert "models/training/ppo.py" in first_run[0].look("lineage", "model/policy@V2", "--code").out


@pytest.fixture(scope="module")
def again(first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A copy of the finished run, with the Prefect server of the first command started again."""
    from flows.server.server import prefect_server

    folder = tmp_path_factory.mktemp("second") / "home"
    shutil.copytree(first_run[0].folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_HOME"):
            patch.delenv(name, raising=False)
        with prefect_server(folder / ".prefect") as url:
            yield Home(folder, url)


@pytest.fixture(scope="module")
def second_run(again: Home, pocket_file: Path) -> tuple[Home, Finished, list[tuple[str, str, str]]]:
    """The same command again; and the runs that were there before it."""
    home, before = again, again.runs()
    finished = home.halter("run", pocket_file, "--json")
    assert finished.code == 0, finished.err
    return home, finished, before


@pytest.mark.conformance("rerun recomputes what is valid", equation="tasks.engine.execute:execute")
def test_a_second_run_trains_nothing(
    first_run: tuple[Home, Finished], second_run: tuple[Home, Finished, list[tuple[str, str, str]]]
) -> None:
    home, finished, before = second_run
    assert home.runs() == before
    assert home.heads() == first_run[0].heads()
    assert "26 of 26 steps are finished" in finished.err
    assert finished.document == first_run[1].document
    assert "done in" not in finished.err


@pytest.fixture(scope="module")
def recorded(second_run: tuple[Home, Finished, list[tuple[str, str, str]]]) -> str:
    """The Prefect server of the two runs, to ask what it has recorded."""
    assert second_run[0].server is not None
    return second_run[0].server


def test_prefect_has_recorded_both_runs_and_the_subflows_of_the_one_that_had_something_to_do(recorded: str) -> None:
    flow_runs = ask(recorded, "flow_runs/filter", sort="START_TIME_ASC", limit=50)
    assert {run["state_type"] for run in flow_runs} == {"COMPLETED"}
    recipes = [run for run in flow_runs if run["parent_task_run_id"] is None]
    assert [(run["name"], run["state_name"]) for run in recipes] == [("pocket", "Completed"), ("pocket", "Up to date")]
    children = [run["name"] for run in flow_runs if run["parent_task_run_id"] is not None]
    assert children == ["foundation", "RLHF-V1", "RLHF-V2"]
    assert [set(run["tags"]) for run in flow_runs if run["name"] == "RLHF-V2"] == [{"iteration:V2"}]


def test_prefect_has_a_report_for_each_step_and_the_tables_of_the_run(recorded: str) -> None:
    artifacts = ask(recorded, "artifacts/filter", limit=200)
    by_key = {artifact["key"]: artifact for artifact in artifacts}
    reports = {f"report-{step}-{part}".replace("_", "-").lower() for part, step in STEPS}
    assert reports <= set(by_key)
    assert "`halter lineage model/policy@V2 --run pocket`" in by_key["report-ppo-v2"]["data"]
    assert "dataset/preferences@V1" in by_key["report-train-safety-reward-v2"]["data"]
    assert by_key["curves-pretrain-base"]["data"].startswith("data:image/svg+xml;base64,")
    ratings = json.loads(by_key["ratings-collect-preferences-v1"]["data"])
    assert {row["judged by"] for row in ratings} == {"simulated:little-world"}
    for table in ("progress-per-iteration", "further-figures"):
        figures = json.loads(by_key[table]["data"])
        assert [row["policy"] for row in figures] == ["V0", "V1", "V2 before PPO", "V2 + PPO"]
        assert fits(figures), "on a page of 1,400 pixels"
    assert {row["state"] for row in json.loads(by_key["progress-per-iteration"]["data"])} == {"fresh"}
    assert "| V2" in by_key["examples-evaluate-v2"]["data"]
    documents = re.search(r"\| documents \| (.*) \|", by_key["report-filter-corpus-base"]["data"])
    assert documents is not None
    assert documents[1].replace(",", "").isdigit(), "a count is a whole number"


def test_one_artifact_leads_to_all_others_by_iteration_and_the_run_to_it(recorded: str) -> None:
    artifacts = ask(recorded, "artifacts/filter", limit=200, sort="CREATED_DESC")
    of_steps = {each["id"] for each in artifacts if each["task_run_id"] and each["type"] != "progress"}
    newest, first = [each for each in artifacts if each["key"] == "index-pocket"]
    runs = {run["id"]: run for run in ask(recorded, "flow_runs/filter", limit=50)}
    for index in (newest, first):  # also where the second run has computed nothing
        assert of_steps <= set(re.findall(r"\(/artifacts/artifact/([0-9a-f-]{36})\)", index["data"]))
        headings = re.findall(r"^## (.*)$", index["data"], flags=re.MULTILINE)
        assert [heading for heading in headings if " " not in heading] == ["base", "V0", "V1", "V2"]
        assert index["id"] in runs[index["flow_run_id"]]["state"]["message"]
    between = newest["data"].partition("\n## V2\n")[2].partition("\n## ")[0]
    (ppo,) = [line for line in between.splitlines() if line.startswith("| ppo |")]
    assert re.findall(r"\[([^]]*)\]", ppo)[:2] == ["report", "curves"]


def test_each_run_in_the_catalog_leads_to_its_prefect_runs(recorded: str, first_run: tuple[Home, Finished]) -> None:
    flow_runs = {run["id"]: run["name"] for run in ask(recorded, "flow_runs/filter", limit=50)}
    for run in first_run[0].store.runs():
        flow, root = run.run.prefect_flow_run_id, run.run.prefect_root_flow_run_id
        assert flow_runs[str(flow)] == ("foundation" if run.run.part in ("base", "V0") else f"RLHF-{run.run.part}")
        assert flow_runs[str(root)] == "pocket"


def test_prefect_keeps_the_log_of_each_step(recorded: str) -> None:
    logs = ask(recorded, "logs/filter", limit=200)
    messages = " ".join(entry["message"] for entry in logs)
    assert "policy → model/policy@V2" in messages


@pytest.mark.slow
def test_a_run_that_has_lost_a_result_makes_just_that_anew_and_prefect_shows_the_others_as_cached(
    recorded: str, again: Home, pocket_file: Path
) -> None:
    before, store = again.heads(), again.store
    (ref, *_) = store.version(before["report/evaluation@V2"]).objects
    store.objects.path(ref.sha256).unlink()
    finished = again.halter("run", pocket_file, "--json")
    assert finished.code == 0, finished.err
    assert re.findall(r"(V\d|base) +(\S+) .*done in", finished.err) == [("V2", "evaluate")]
    assert len([line for line in finished.err.splitlines() if line.strip().endswith("cached")]) == 25
    assert again.heads() == before
    task_runs = ask(recorded, "task_runs/filter", sort="EXPECTED_START_TIME_ASC", limit=200)
    steps = [run for run in task_runs if run["task_key"].startswith("run_step")]
    made = sorted(f"{step} {part}" for part, step in STEPS)
    assert sorted(run["name"] for run in steps if run["state_name"] == "Completed") == sorted([*made, "evaluate V2"])
    assert sorted(run["name"] for run in steps if run["state_name"] == "Cached") == [
        name for name in made if name != "evaluate V2"
    ]
    logs = ask(recorded, "logs/filter", sort="TIMESTAMP_DESC", limit=200)
    assert "taken up again" in " ".join(entry["message"] for entry in logs)
