"""The worker process and the flow's side of it: `tasks/engine/worker.py` and `tasks/engine/processes.py`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from data_store.records import Metric
from tasks.engine.code import code_files
from tasks.engine.processes import WorkerDiedError, Workers
from tasks.engine.step import Step
from tests.tasks import little_steps
from tests.tasks.bench import is_alive, wait_for
from tests.tasks.little_steps import VOWELS

STEPS = "tests.tasks.little_steps"


def job(folder: Path, function: str, changes: dict[str, Any] | None = None, **config: Any) -> Path:
    """A folder with a job as tasks/engine/jobs.py lays it out, but for the `changes`."""
    folder.mkdir(parents=True, exist_ok=True)
    declared = getattr(little_steps, function)
    content = {
        "module": STEPS,
        "function": function,
        "version": 1,
        "code": dict(code_files(STEPS)),
        "part": "V1",
        "seed": 7,
        "config": config,
        "understood": understood(declared, config),
        "inputs": {},
        "run": "pocket",
        "withdrawn": [],
        "vllm": None,
        "among": None,
        "processes": None,
        "shards": None,
        "outputs": {"text": {"kind": "model", "rows": None}},
    }
    (folder / "job.json").write_text(json.dumps({**content, **(changes or {})}))
    return folder


def understood(declared: object, config: dict[str, Any]) -> dict[str, Any]:
    """The config as a command understands it; none where the step does not."""
    try:
        return declared.config.model_validate(config).model_dump(mode="json") if isinstance(declared, Step) else {}
    except ValueError:
        return {}


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def where(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "where.json").read_text())
    return content


def place(folder: Path, seconds: float = 0.0) -> Path:
    return job(folder, "tell_where", ledger=str(folder / "where.json"), seconds=seconds)


def test_a_step_runs_in_a_process_and_group_of_its_own(workers: Workers, tmp_path: Path) -> None:
    assert workers.run(place(tmp_path / "a"), lambda: None).code == 0
    assert workers.run(place(tmp_path / "b"), lambda: None).code == 0
    first, second = where(tmp_path / "a"), where(tmp_path / "b")
    assert first["pid"] != second["pid"]
    assert first["parent"] == second["parent"] != os.getpid()
    assert first["group"] == first["pid"]
    assert first["stdin"] == ""


def test_all_that_a_step_prints_goes_to_its_log(workers: Workers, tmp_path: Path) -> None:
    workers.run(place(tmp_path), lambda: None)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(lines) == ["complained", "printed", "written to descriptor 1"]


def test_metrics_come_back(workers: Workers, tmp_path: Path) -> None:
    folder = job(tmp_path, "write_word", word="llama", ledger=str(tmp_path / "ledger"))
    assert workers.run(folder, lambda: None).code == 0
    letters, vowels = result(folder)["metrics"]
    assert (letters["name"], letters["value"], letters["n"]) == ("letters", 5.0, None)
    assert Metric(**vowels) == Metric.of("vowels", VOWELS)
    assert (folder / "out" / "text" / "text.txt").read_text() == "llama 7"


@pytest.mark.parametrize(
    ("how", "error", "kind"),
    [
        ("input", "pairs.jsonl:3: rating: 'fine' is no rating; use better", "input"),
        ("value", "ValueError: no pair", "input"),
        ("failure", "RuntimeError: the loss is not a number", "failure"),
        ("exit", "SystemExit: 3", "failure"),
    ],
)
def test_an_error_comes_back_with_its_message_and_kind(
    workers: Workers, tmp_path: Path, how: str, error: str, kind: str
) -> None:
    assert workers.run(job(tmp_path, "misbehave", how=how), lambda: None).code == 1
    assert result(tmp_path) == {"error": error, "kind": kind}
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_config_that_does_not_fit_the_step_comes_back_as_wrong_input(workers: Workers, tmp_path: Path) -> None:
    assert workers.run(job(tmp_path, "misbehave", how="politely"), lambda: None).code == 1
    assert result(tmp_path)["kind"] == "input"
    assert "politely" in result(tmp_path)["error"]


def test_a_name_that_is_no_step_is_a_failure(workers: Workers, tmp_path: Path) -> None:
    assert workers.run(job(tmp_path, "StepRun"), lambda: None).code == 1
    assert result(tmp_path) == {"error": f"TypeError: {STEPS}.StepRun is not a step", "kind": "failure"}


def test_a_step_that_is_killed_leaves_its_code_and_its_last_words(workers: Workers, tmp_path: Path) -> None:
    assert workers.run(job(tmp_path, "misbehave", how="killed"), lambda: None).code == -signal.SIGKILL
    assert not (tmp_path / "result.json").exists()
    assert (tmp_path / "log.txt").read_text() == "the last words\n"


@pytest.mark.conformance("a slow machine that cannot be told from a busy one", equation="tasks.engine.worker:main")
def test_what_a_step_spends_on_processors_counts_its_own_processes_and_no_waiting(
    workers: Workers, tmp_path: Path
) -> None:
    """.1 s by itself, .2 s in a process that it forks, .4 s asleep: .3 s and what starting costs."""
    spent = workers.run(job(tmp_path, "spend", own=0.1, forked=0.2, asleep=0.4), lambda: None).processor_seconds
    assert 0.3 <= spent < 0.6


def test_two_steps_run_at_the_same_time_and_each_gets_its_own_result(workers: Workers, tmp_path: Path) -> None:
    codes: dict[str, int] = {}

    def run(name: str, folder: Path) -> None:
        codes[name] = workers.run(folder, lambda: None).code

    slow = place(tmp_path / "slow", seconds=1.0)
    threads = [
        threading.Thread(target=run, args=("slow", slow)),
        threading.Thread(target=run, args=("wrong", job(tmp_path / "wrong", "misbehave", how="failure"))),
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    threads[1].join()
    assert is_alive(os.getpid())
    assert "slow" not in codes, f"the slow step ended after {time.monotonic() - started:.1f} s"
    threads[0].join()
    assert codes == {"slow": 0, "wrong": 1}


def test_stopping_a_job_ends_its_process(workers: Workers, tmp_path: Path) -> None:
    folder = place(tmp_path, seconds=60)

    def interrupt_once_it_runs() -> None:
        if (tmp_path / "progress.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.run(folder, interrupt_once_it_runs)
    pid = where(tmp_path)["pid"]
    wait_for(lambda: not is_alive(pid), "the end of the stopped step", 30)
    assert workers.run(place(tmp_path / "next"), lambda: None).code == 0, "the worker serves on"


@pytest.mark.slow
def test_stopping_a_job_at_once_ends_it_too(workers: Workers, tmp_path: Path) -> None:
    """Whenever the stop comes, also before the step's process has set itself up: it never gets to its end."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    for number in range(15):
        with pytest.raises(KeyboardInterrupt):
            workers.run(place(tmp_path / str(number), seconds=1.5), interrupt)
    assert workers.run(place(tmp_path / "last", seconds=2), lambda: None).code == 0
    ended = [number for number in range(15) if (tmp_path / str(number) / "result.json").exists()]
    assert ended == []


def test_stopping_all_jobs_ends_those_that_other_threads_wait_for(tmp_path: Path) -> None:
    """Only the main thread gets a Ctrl-C; a training that another thread waits for must end with it."""
    workers = Workers()
    ended: list[type[BaseException]] = []

    def wait() -> None:
        try:
            workers.run(place(tmp_path, seconds=60), lambda: None)
        except BaseException as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_for((tmp_path / "progress.json").exists, "the step's start")
    workers.stop()
    thread.join(120)
    assert ended == [KeyboardInterrupt]
    pid = where(tmp_path)["pid"]
    wait_for(lambda: not is_alive(pid), "the end of the stopped step", 30)
    with pytest.raises(KeyboardInterrupt):
        workers.run(place(tmp_path / "late", seconds=60), lambda: None)
    workers.close()


@pytest.mark.slow
def test_the_death_of_the_worker_is_reported_and_ends_its_steps(workers: Workers, tmp_path: Path) -> None:
    folder = place(tmp_path, seconds=60)

    def kill_the_worker() -> None:
        if (tmp_path / "progress.json").exists():
            os.kill(where(tmp_path)["parent"], signal.SIGKILL)

    with pytest.raises(WorkerDiedError, match="ended with code -9"):
        workers.run(folder, kill_the_worker)
    pid = where(tmp_path)["pid"]
    wait_for(lambda: not is_alive(pid), "the end of the orphaned step", 30)
    assert workers.run(place(tmp_path / "next"), lambda: None).code == 0, "the next job starts a new worker"


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pydantic").mkdir()
    (tmp_path / "pydantic" / "__init__.py").write_text("raise ImportError('this pydantic is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = Workers()
    with pytest.raises(WorkerDiedError, match="this pydantic is broken"):
        broken.run(place(tmp_path / "job"), lambda: None)
    broken.close()


def test_a_step_ends_when_its_flow_is_killed(tmp_path: Path) -> None:
    """No training goes on that nobody waits for."""
    folder = place(tmp_path / "job", seconds=60)
    imports = "from tasks.engine.processes import Workers; from pathlib import Path"
    program = f"{imports}; Workers().run(Path({str(folder)!r}), int)"
    flow = subprocess.Popen([sys.executable, "-c", program])
    wait_for((folder / "progress.json").exists, "the step's start")
    pids = [where(folder)["pid"], where(folder)["parent"]]
    assert all(map(is_alive, pids))
    flow.kill()
    flow.wait()
    wait_for(lambda: not any(map(is_alive, pids)), "the end of step and worker", 30)
