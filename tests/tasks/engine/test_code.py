import hashlib
import subprocess
from pathlib import Path

from tasks.engine.code import ROOT, code_files, code_version, environment, git_state
from tasks.engine.code_today import CodeToday


def test_a_steps_source_files_are_all_of_ours_that_it_imports_also_inside_functions() -> None:
    files = code_files("tasks.ppo")
    assert {"tasks/ppo.py", "tasks/engine/step.py", "models/training/ppo.py", "models/algorithms/gae.py"} <= set(files)
    assert "flows/cli.py" not in files
    assert "models/training/sft.py" not in files, "what PPO does not use is no part of it"
    for path, digest in files.items():
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == digest


def test_the_code_version_is_one_hash_over_the_files() -> None:
    ppo, sft = code_files("tasks.ppo"), code_files("tasks.sft")
    assert code_version(ppo) == code_version(dict(reversed(ppo.items()))) != code_version(sft)
    assert len(code_version(sft)) == 64


def test_a_step_names_no_more_files_than_can_matter_to_it() -> None:
    """What only type checkers import does not run, and the store that publishes an output does not make it."""
    tokenizer, sft = code_files("tasks.train_tokenizer"), code_files("tasks.sft")
    assert len(tokenizer) <= 10
    assert len(sft) <= 38
    assert not {"data_store/store.py", "tasks/judging/folder.py"} & {*tokenizer, *sft}


def test_files_that_are_not_what_they_were_are_named() -> None:
    files = code_files("tasks.train_tokenizer")
    assert CodeToday().differs(files) == ()
    assert CodeToday().differs({**files, "tasks/engine/step.py": "0" * 64, "tasks/gone.py": "1" * 64}) == (
        "tasks/engine/step.py",
        "tasks/gone.py",
    )


def test_the_commit_is_the_one_that_the_code_stands_in() -> None:
    commit, dirty = git_state()
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert commit == (found.stdout.strip() or None)
    assert (dirty is None) == (commit is None)


def test_the_environment_names_the_libraries_that_results_depend_on() -> None:
    found = environment()
    assert {"python", "machine", "torch", "transformers", "duckdb"} <= set(found)
    assert str(Path.home()) not in " ".join(found.values())
