"""What a run records as its code is what its process had loaded, whatever became of the files."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.jobs import StepFailedError
from tasks.engine.processes import Workers
from tests.tasks.bench import Bench, call_of
from tests.tasks.engine.test_worker import STEPS, job, result
from tests.tasks.little_steps import WordConfig, write_word_anew

ROOT = Path(__file__).resolve().parents[3]

STEP = '''"""A step of one word."""

from pathlib import Path

from pydantic import BaseModel

from tasks.engine.step import Output, StepRun, step


class Word(BaseModel):
    """None."""


@step(version=1, config=Word, inputs={}, outputs={"text": Output("model")}, headline="seconds", about="Speaks.")
def speak(run: StepRun, config: Word) -> dict[str, float]:
    """Write the word."""
    from world.word import WORD

    (run.output("text") / "text.txt").write_text(WORD)
    return {}
'''

# Keeps a worker over an edit, kills it, and has the step done by the next one.
PROGRAM = """
import json, os, sys
from pathlib import Path
from data_store.store import Store
from tasks.engine.execute import execute
from tasks.engine.jobs import StepFailedError
from tasks.engine.processes import Workers
from tasks.speak import Word, speak
from tests.tasks.bench import call_of

folder = Path(sys.argv[1])
word = folder / "world" / "word.py"
store, workers = Store.open(folder / "store"), Workers()
call = call_of(speak, Word(), name="word")

def told():
    outcome = execute(store, workers, call, force=True)
    (run,) = [run.run for run in store.runs() if run.run.run_id == outcome.run_id]
    (_, version), = outcome.outputs.values()
    text = (store.checkout(version) / "text.txt").read_text()
    return [text, run.code_files["world/word.py"], run.code_version, list(outcome.edited), dict(run.code_files)]

def edit(text):
    at = word.stat()
    word.write_text(text)
    os.utime(word, ns=(at.st_atime_ns, at.st_mtime_ns))

found = [told()]
edit("WORD = 'horse'\\n")
found.append(told())
os.kill(workers._process.pid, 9)
workers._process.wait()
found.append(told())
workers.close()
print(json.dumps(found))
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The tasks, the store and the bench in a folder of their own, with a step whose word stands in another file; what
    takes seconds to load is empty there."""
    for name in ("tasks", "data_store"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "tasks").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "tasks" / "bench.py", tmp_path / "tests" / "tasks")
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "word.py").write_text("WORD = 'llama'\n")
    (tmp_path / "tasks" / "speak.py").write_text(STEP)
    empty = [f"models/training/{name}.py" for name in ("pretrain", "sft", "reward", "ppo", "dpo")]
    for name in ("world/__init__.py", "models/__init__.py", "models/training/__init__.py", *empty):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "transformers.py").write_text(
        "class utils:\n    class logging:\n        disable_progress_bar = staticmethod(lambda: None)\n"
    )
    (tmp_path / "datasets.py").write_text("def disable_progress_bars():\n    pass\n")
    return tmp_path


def run(project: Path, program: str) -> Any:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment = {**kept, "PYTHONPATH": str(project)}
    finished = subprocess.run(
        [sys.executable, "-c", program, str(project)], cwd=project, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.slow
def test_a_worker_that_outlives_an_edit_records_what_it_loaded_and_its_successor_what_it_loads(project: Path) -> None:
    """The edit leaves size and time as they were, so that Python would run the compiled file of the old text."""
    before, after, restarted = run(project, PROGRAM)
    old, new = sha256("WORD = 'llama'\n"), sha256("WORD = 'horse'\n")
    assert before[:2] == ["llama", old]
    assert before[3] == []
    assert after[:2] == ["llama", old], "the old code ran, and is recorded"
    assert after[3] == ["world/word.py"], "and it is said that the file is another one now"
    assert after[2] == before[2]
    assert restarted[:2] == ["horse", new]
    assert restarted[2] != before[2]
    assert set(before[4]) == {
        *("data_store/content/row_batches.py", "data_store/encoding.py", "data_store/errors.py", "data_store/files.py"),
        *("data_store/rows.py", "tasks/speak.py", "tasks/engine/step.py", "world/word.py"),
    }


def test_a_compiled_file_of_another_text_is_not_run(project: Path) -> None:
    """Without the record it is: Python compares the size and the second."""
    program = """
import importlib, json, os, sys
from pathlib import Path
word = Path(sys.argv[1]) / "world" / "word.py"
import world.word
at = word.stat()
word.write_text("WORD = 'horse'\\n")
os.utime(word, ns=(at.st_atime_ns, at.st_mtime_ns))
del sys.modules["world.word"]
plain = importlib.import_module("world.word").WORD
from tasks.engine.loaded_code import LoadedCode
loaded = LoadedCode()
loaded.install()
del sys.modules["world.word"]
files = loaded.files("world.word")
print(json.dumps([plain, importlib.import_module("world.word").WORD, files]))
"""
    assert run(project, program) == ["llama", "horse", {"world/word.py": sha256("WORD = 'horse'\n")}]


def test_a_step_that_is_another_one_in_the_worker_than_in_the_command_makes_nothing(bench: Bench) -> None:
    """The fingerprint goes by the step's version and config as the command has loaded them."""
    older = dataclasses.replace(write_word_anew, version=1)
    with pytest.raises(StepFailedError, match="its source was edited since this command began"):
        bench.execute(call_of(older, WordConfig(ledger=bench.ledger), name="word"))
    assert bench.store.heads() == {}
    assert bench.computed() == []


@pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"understood": {"word": "llama"}}, {"code": {"tests/tasks/little_steps.py": "0" * 64}}],
)
def test_a_job_for_other_code_than_the_worker_has_is_refused(
    workers: Workers, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = job(tmp_path, "write_word", changes, word="llama", ledger=str(tmp_path / "ledger"))
    assert workers.run(folder, lambda: None).code == 1
    assert result(folder)["kind"] == "failure"
    assert "its source was edited since this command began" in result(folder)["error"]
    assert not (tmp_path / "ledger").exists(), "before anything was computed"


def test_a_module_that_cannot_be_loaded_says_why_and_the_worker_serves_on(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tests\.tasks\.broken_step cannot be loaded"):
        workers.code("tests.tasks.broken_step")
    assert "tests/tasks/little_steps.py" in workers.code(STEPS).files
