"""A whole study of the pocket recipe: what is computed, what is shared, what a kill leaves, and what the UI shows."""

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.incoming.sharing import computed_here
from tests.flows.recipe_runs import Finished, Home, ask

VARIED = ("--vary", "reward.margins=small,large", "--vary", "ppo.kl_coef=.3")
AS_CONFIGURED, LARGE, KL = "pocket.as-configured-s3", "pocket.reward.margins-large-s3", "pocket.ppo.kl_coef-0.3-s3"
STEPS = 26


def computed(home: Home, run: str) -> list[str]:
    """The fingerprints of what was computed for a run, with an end."""
    store = replace(home, name=run).store
    here = computed_here(store)
    return [each.run.fingerprint for each in store.runs() if each.state == "succeeded" and each.run.run_id in here]


def test_what_there_would_be_is_told_and_no_store_is_made(pocket_file: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    said = home.look("study", str(pocket_file), *VARIED, "--plan", "--json")
    assert said.code == 0, said.err
    runs = said.document["runs"]
    assert [each["run"] for each in runs] == [AS_CONFIGURED, LARGE, KL]
    assert [each["steps"] for each in runs] == [STEPS] * 3
    assert (runs[0]["of its own"], runs[2]["of its own"]) == (STEPS, 2)
    assert not home.folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what is varied with --vary KEY=VALUE,VALUE"),
        ((*VARIED, "--out", "figures.png"), "name a file that ends with .svg"),
        ((*VARIED, "--out", "nowhere/figures.svg"), "there is no folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    pocket_file: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    home = Home(tmp_path / "home")
    said = home.look("study", str(pocket_file), *words)
    assert said.code == 2
    assert message in said.err.replace("\n", " ")
    assert not home.folder.exists()


@pytest.mark.slow
@pytest.mark.conformance(
    "a variant's shared steps lose what made them", equation="data_store.incoming.sharing:share_finished"
)
def test_a_study_that_was_killed_goes_on_and_computes_each_step_once_and_leaves_the_configs_own_run_alone(
    copy_of_first_run: Callable[[], Home], pocket_file: Path, tmp_path: Path
) -> None:
    home = copy_of_first_run()
    own = home.store
    before, heads = own.catalog.seq(), home.heads()

    process = home.start("study", pocket_file, *VARIED)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if (home.folder / LARGE / "halter-store.json").exists() and len(computed(home, LARGE)) >= 3:
            break
        time.sleep(0.5)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {run: computed(home, run) for run in (AS_CONFIGURED, LARGE)}
    assert done[AS_CONFIGURED] == [], "all of it is the finished run's of the config itself"
    assert 3 <= len(done[LARGE]) < STEPS

    picture = tmp_path / "figures.svg"
    finished = home.halter("study", pocket_file, *VARIED, "--json", "--out", picture)
    assert finished.code == 0, finished.err
    counts = Counter(fingerprint for run in (AS_CONFIGURED, LARGE, KL) for fingerprint in computed(home, run))
    assert set(counts.values()) == {1}, "no step was computed twice"
    assert set(done[LARGE]) <= set(computed(home, LARGE)), "what was done before the kill was kept"
    assert len(computed(home, KL)) == 2, "PPO and the evaluation after it"
    assert (own.catalog.seq(), home.heads()) == (before, heads), "nothing was written to the config's own run"
    for run in (AS_CONFIGURED, LARGE, KL):
        assert set(replace(home, name=run).states("--run", run).values()) == {"fresh"}
    rows = {each["variant"].split(":")[0]: each for each in finished.document["variants"]}
    assert rows["as configured"]["runs"][0]["shared"] == STEPS
    assert rows["ppo.kl_coef=0.3"]["runs"][0]["computed"] == 2
    assert rows["ppo.kl_coef=0.3"]["runs"][0]["shared"] == STEPS - 2
    assert len(rows["ppo.kl_coef=0.3"]["metrics"]["oracle_score"]["seeds"]) == 1
    assert "<svg" in picture.read_text()

    # whose steps these are is told in the store of the variant itself
    lineage = home.look("lineage", "model/policy@V2", "--run", KL, "--json")
    assert lineage.code == 0, lineage.err
    shared = {each.run.run_id for each in own.runs()} & {
        each.run.run_id for each in replace(home, name=KL).store.runs()
    }
    assert len(shared) == STEPS - 2
    assert home.look("verify", "--run", KL).code == 0


@pytest.mark.slow
def test_a_finished_study_starts_nothing_and_its_runs_stand_under_it_in_the_ui(
    copy_of_first_run: Callable[[], Home], pocket_file: Path, tmp_path: Path
) -> None:
    home, file = copy_of_first_run(), tmp_path / "study.yaml"
    file.write_text(f"name: beside\nconfig: {pocket_file}\nvary: {{ppo.kl_coef: [.3]}}\n")
    words = ("study", file)
    finished = home.halter(*words, "--json")
    assert finished.code == 0, finished.err
    server = str(home.server)
    (study,) = ask(server, "flow_runs/filter", flow_runs={"name": {"any_": ["study beside"]}})
    assert study["state_type"] == "COMPLETED"
    assert "computed for this study: 2 of 52 steps" in study["state"]["message"]
    parent = {"flow_runs": {"parent_flow_run_id": {"any_": [study["id"]]}}}
    assert {each["name"] for each in ask(server, "flow_runs/filter", **parent)} == {
        "beside.as-configured-s3",
        "beside.ppo.kl_coef-0.3-s3",
    }
    artifacts = ask(server, "artifacts/filter", flow_runs={"id": {"any_": [study["id"]]}})
    assert {each["key"] for each in artifacts} >= {"study-figures-beside", "study-costs-beside", "study-picture-beside"}

    alone = replace(home, server=None)
    shutil.rmtree(home.folder / ".prefect", ignore_errors=True)
    again = alone.halter(*words, "--json")
    assert again.code == 0, again.err
    assert again.document == finished.document
    assert "no Prefect server was started" in again.err
    assert not (home.folder / ".prefect").exists()


@pytest.mark.slow
def test_a_variant_that_fails_does_not_keep_the_others_from_being_done(
    first_run: tuple[Home, Finished], server: str, tmp_path: Path, pocket_file: Path
) -> None:
    shutil.copytree(first_run[0].folder, tmp_path / "home")
    home = replace(first_run[0], folder=tmp_path / "home", server=server)
    (tmp_path / "study.yaml").write_text(
        f"name: failing\nconfig: {pocket_file}\n"
        "variants: {no pairs: {collect.safety_prompts: 0}, less: {ppo.iterations: 1}}\n"
    )
    finished = home.halter("study", tmp_path / "study.yaml", "--json")
    assert finished.code == 1
    assert "1 of 2 runs did not come to their end" in finished.document["incomplete"]
    assert "there is no safety pair to learn from" in finished.document["incomplete"]
    by_name = {each["variant"]: each for each in finished.document["variants"]}
    assert by_name["no pairs"]["metrics"] == {}
    assert by_name["less"]["metrics"]
    assert (home.folder / "failing.less-s3").is_dir()
