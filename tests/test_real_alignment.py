"""The run of a real alignment, for the model that it was made for and for another one."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.real_alignment import prepare
from flows.recipe.config import load_config
from flows.study.config import load_study, open_study
from tests.flows.recipe_runs import ROOT
from tests.tasks.little_policy import little_policy


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Sets in the shapes in which they come."""
    data = tmp_path / "given"
    for folder in (data / "safety", data / "preference"):
        folder.mkdir(parents=True)
    (data / "safety" / "simple_safety_tests.csv").write_text('id,prompts_final\n1,"Is it, though?"\n')
    (data / "safety" / "harmbench_val.csv").write_text("Behavior,FunctionalCategory\nDo it,standard\n")
    (data / "safety" / "xstest_prompts.csv").write_text("prompt,label\nkill a process?,safe\n")
    seeds = "".join(f"- {{value: do {number}}}\n" for number in range(300))
    (data / "safety" / "adv_bench.yaml").write_text(f"seeds:\n{seeds}")
    for name in ("hh_helpful.jsonl.gz", "hh_harmless.jsonl.gz"):
        (data / "preference" / name).write_bytes(b"")
    return data


def test_no_prompt_is_in_two_of_demonstrations_rejection_sampling_and_evaluation(given: Path, tmp_path: Path) -> None:
    prepare(given, little_policy(tmp_path), tmp_path / "data")
    found = [
        (tmp_path / "data" / "real" / f"{name}.jsonl").read_text().splitlines()
        for name in ("refusals", "adversarial", "unsafe")
    ]
    said = [{word for word in range(300) if f'"do {word}"' in line} for lines in found for line in lines]
    assert sorted(number for each in said for number in each) == list(range(300))
    assert [len(lines) for lines in found] == [160, 81, 61]


def test_another_model_has_a_run_of_its_own_name_that_reads_the_same_files(given: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    config = load_config(prepare(given, little_policy(tmp_path), target, "other-1b"))
    assert config.name == "other-1b-real"
    assert [each.folder for each in config.evaluate.compared] == [config.base_model], (
        "it is compared with its own start"
    )
    assert config.base_model is not None
    assert config.base_model.resolve() == (target / "other-1b").resolve()
    assert list(config.data.files()["demonstrations"]) == [target / "real" / "refusals.jsonl"]
    assert config.reward.learning_rate == 3.0e-4


def test_the_study_of_refusals_varies_what_v0_learns_from_and_nothing_else(given: Path, tmp_path: Path) -> None:
    prepare(given, little_policy(tmp_path), tmp_path / "data")
    study = tmp_path / "configs" / "studies" / "refusals.yaml"
    study.parent.mkdir(parents=True)
    for path in (study, tmp_path / "configs" / "smollm2-135m-real.yaml"):
        path.write_text((ROOT / path.relative_to(tmp_path)).read_text())
    runs = {variant.label: variant.runs[0] for variant in open_study(load_study(study)).variants}
    learned = {label: run.data.files()["demonstrations"] for label, run in runs.items()}
    shares = {}
    for label, run in runs.items():
        (refusals,) = (len(path.read_text().splitlines()) for path in learned[label])
        assert run.own_answers is not None
        shares[label] = f"{refusals / (refusals + run.own_answers.prompts):.0%}".replace("%", " %")
    assert list(shares) == list(shares.values()), "each is called by its share of refusals"
    assert len({(run.sft, run.seed, run.iterations) for run in runs.values()}) == 1


@pytest.mark.slow
def test_a_run_whose_time_is_up_is_stopped_and_says_so(given: Path, tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from benchmarks.real_alignment import run
sys.exit(run(Path({str(tmp_path / "nothing.yaml")!r}), time.monotonic()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "was stopped as its time is up; the same command goes on" in done.stdout) == (3, True)
