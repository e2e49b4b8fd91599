"""The filter as the worker runs it, in a step's process that has torch loaded: its processes work there, and go."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.corpus.registry import FilterConfig
from data_store.rows import row_kind
from tasks.engine.code import code_files
from tasks.engine.processes import Workers
from tasks.filter_corpus import filter_corpus
from tests.tasks.bench import wait_for, written
from world.content import World
from world.documents import make_documents

pytestmark = pytest.mark.slow
STEP = "tasks.filter_corpus"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    opened = Workers([STEP, "models.shards"])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the little world, 3.5 MB of characters."""
    folder = tmp_path_factory.mktemp("documents")
    rows = make_documents(World(0), 20_000, seed=0)
    pq.write_table(pa.Table.from_pylist(rows, row_kind("document").schema), folder / "rows.parquet")
    return folder


def job(folder: Path, documents: Path, processes: int) -> Path:
    """Laid out as tasks/engine/jobs.py does it."""
    folder.mkdir()
    config = FilterConfig(memory_mb=64).model_dump(mode="json")
    content = {
        "module": STEP,
        "function": "filter_corpus",
        "version": filter_corpus.version,
        "code": dict(code_files(STEP)),
        "part": "base",
        "seed": 7,
        "config": config,
        "understood": config,
        "inputs": {"documents": [{"asset": "dataset/raw@base", "version_id": "v", "path": str(documents)}]},
        "run": "pocket",
        "withdrawn": [],
        "vllm": None,
        "among": None,
        "processes": processes,
        "shards": None,
        "outputs": {role: {"kind": of.kind, "rows": of.rows} for role, of in filter_corpus.outputs.items()},
    }
    (folder / "job.json").write_text(json.dumps(content))
    return folder


def made(folder: Path) -> dict[str, Any]:
    """Rows of all outputs, tables and metrics."""
    result = json.loads((folder / "result.json").read_text())
    assert "error" not in result, result
    tables = {path.stem: path.read_text() for path in (folder / "tables").iterdir()}
    return {**{role: written(folder, role) for role in filter_corpus.outputs}, **tables, "metrics": result["metrics"]}


def judging(workers: Workers) -> list[psutil.Process]:
    """The processes that the step has started."""
    if workers._process is None:
        return []
    steps = psutil.Process(workers._process.pid).children()
    return [each for step in steps for each in step.children()]


def test_three_processes_of_a_step_make_what_one_makes_and_tell_how_far_they_are(
    workers: Workers, documents: Path, tmp_path: Path
) -> None:
    alone, together = (job(tmp_path / str(processes), documents, processes) for processes in (1, 3))
    seen: list[int] = []
    assert workers.run(alone, lambda: seen.append(len(judging(workers)))).code == 0
    assert set(seen) <= {0}
    assert workers.run(together, lambda: seen.append(len(judging(workers)))).code == 0
    assert made(together) == made(alone)
    assert max(seen) == 3, "where nobody shares the work nothing is shown"
    count = f"{len(pq.read_table(documents / 'rows.parquet')):,}"
    assert json.loads((together / "progress.json").read_text())["text"] == f"{count} of {count} documents"


def test_a_killed_process_ends_the_step_with_its_name(workers: Workers, documents: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "killed", documents, 3)
    killed: list[int] = []

    def kill_one() -> None:
        if not killed and len(found := judging(workers)) == 3:
            killed.append(found[1].pid)
            os.kill(found[1].pid, signal.SIGKILL)

    assert workers.run(folder, kill_one).code == 1
    (pid,) = killed
    error = json.loads((folder / "result.json").read_text())
    assert error["kind"] == "failure"
    assert f"process 2 of 3 that judged documents (pid {pid}) was ended by SIGKILL" in error["error"]
    assert judging(workers) == []


def test_a_step_that_is_stopped_takes_its_processes_along_and_leaves_files_in_its_own_folder_alone(
    workers: Workers, documents: Path, tmp_path: Path
) -> None:
    folder = job(tmp_path / "stopped", documents, 3)
    met: list[psutil.Process] = []

    def stop() -> None:
        met.extend(judging(workers))
        if len(met) >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.run(folder, stop)
    wait_for(lambda: not any(each.is_running() for each in met), "the end of all of them", 20)
    assert list((folder / "work").glob("halter-filter-*")), "they go with the folder"
