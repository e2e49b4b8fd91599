import base64
import hashlib
import subprocess
from pathlib import Path

from data_store.names import AssetName
from data_store.records import Metric, RunInput
from tasks.artifacts import plot, report
from tasks.code import ROOT, code_version, environment, git_state, source_files
from tasks.execute import Outcome
from tests.tasks.bench import call_of
from tests.tasks.little_steps import WordConfig, write_word


def test_a_steps_source_files_are_all_of_ours_that_it_imports_also_inside_functions() -> None:
    files = source_files("tasks.ppo")
    assert {"tasks/ppo.py", "tasks/step.py", "models/training/ppo.py", "models/algorithms/gae.py"} <= set(files)
    assert "flows/cli.py" not in files
    assert "models/training/sft.py" not in files, "what PPO does not use is no part of it"
    for path, digest in files.items():
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == digest


def test_the_code_version_is_one_hash_over_the_files() -> None:
    assert code_version("tasks.ppo") == code_version("tasks.ppo") != code_version("tasks.sft")
    assert len(code_version("tasks.sft")) == 64


def test_the_commit_is_the_one_that_the_code_stands_in() -> None:
    commit, dirty = git_state()
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert commit == (found.stdout.strip() or None)
    assert (dirty is None) == (commit is None)


def test_the_environment_names_the_libraries_that_results_depend_on() -> None:
    found = environment()
    assert {"python", "machine", "torch", "transformers", "duckdb"} <= set(found)
    assert str(Path.home()) not in " ".join(found.values())


def test_a_report_shows_figures_what_was_read_and_what_was_made() -> None:
    call = call_of(write_word, WordConfig(ledger=Path("/ledger")), name="word")
    outcome = Outcome(
        "run-2" * 8,
        False,
        {"text": (AssetName.parse("model/word@V1"), "b" * 64)},
        (RunInput("texts", AssetName.parse("model/old@V0"), "a" * 64, "run-1" * 8),),
        {"letters": 5.0},
        1.0,
    )
    text = report(call, outcome)
    assert "| letters | 5 |" in text
    assert "| read | texts | `model/old@V0` | `aaaaaaaaaaaa` | `run-1run-1ru` |" in text
    assert "| made | text | `model/word@V1` | `bbbbbbbbbbbb` | `run-2run-2ru` |" in text
    assert "`halter lineage model/word@V1`" in text


def test_curves_are_one_picture_with_an_axis_for_each_metric() -> None:
    curves = [Metric("loss", 3.0 - step, step) for step in (1, 2)] + [Metric("reward", 1.0, 1)]
    start, _, content = plot(curves).partition(",")
    assert start == "data:image/svg+xml;base64"
    picture = base64.b64decode(content).decode()
    assert picture.count('<g id="axes_') == 2
    assert "<svg" in picture
