"""A work pool with a real worker: another machine, as far as a process on this one can be one. It has a home of its
own, an empty working folder, and the bucket."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows.recipe_runs import POCKET, Home, _heed_interrupts, ask
from tests.tasks.bench import wait_for

SENT = ("sft", "train_safety_reward", "train_helpfulness_reward", "rejection_sample", "ppo", "evaluate")


def config_of(folder: Path, pool: str, steps: tuple[str, ...] = SENT, recipe: str = POCKET) -> Path:
    """The pocket recipe, some steps of which are done by a pool."""
    path = folder / "pocket.yaml"
    lines = [f"  {step}: {{work_pool: {pool}}}" for step in steps]
    path.write_text("\n".join([recipe, "resources:", *lines, ""]))
    return path


@dataclass
class Pool:
    """A pool on a Prefect server, with the worker of it that is alive."""

    name: str
    server: str
    folder: Path
    code: Path | None = None
    script: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    worker: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start a worker, in a folder where nothing is; by a script, where one is given."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.name, "--type", "process"]
        cwd = self.folder / "cwd"
        cwd.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                command if self.script is None else ["bash", str(self.script)],
                env={
                    **kept,
                    "PREFECT_API_URL": f"{self.server}/api",
                    "PREFECT_WORKER_QUERY_SECONDS": "1",
                    "HALTER_HOME": str(self.folder / "home"),
                    **({} if self.code is None else {"PYTHONPATH": str(self.code)}),
                    **self.variables,
                },
                cwd=cwd,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )

    def log(self) -> str:
        """What the worker has said."""
        return (self.folder / "worker.log").read_text(errors="replace")

    def kill(self) -> None:
        """kill -9 of the worker and of all that it has started."""
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
            for pid in self.processes():
                _kill(pid)

    def processes(self, *words: str) -> list[int]:
        """What runs for this machine, of which the command line has all these words."""
        mark = f"HALTER_HOME={self.folder / 'home'}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                if mark in (entry / "environ").read_bytes().split(b"\0") and all(word in line for word in words):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def runs(self) -> list[dict[str, str]]:
        """The flow runs of its steps, oldest first."""
        found: list[dict[str, str]] = ask(
            self.server,
            "flow_runs/filter",
            work_pools={"name": {"any_": [self.name]}},
            sort="EXPECTED_START_TIME_ASC",
        )
        return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def a_worker(
    home: Home,
    config: Path,
    folder: Path,
    name: str,
    code: Path | None = None,
    script: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Pool]:
    """What `halter deploy` lays out, and a worker of the pool, which has the code that lies in a folder; started by a
    script with these variables, where they are given."""
    told = home.halter("deploy", config)
    assert told.code == 0, told.err
    assert f"halter-step/{name}" in told.out.split()
    pool = Pool(name, str(home.server), folder, code, script, dict(variables or {}))
    pool.start()
    try:
        yield pool
    finally:
        pool.kill()
        wait_for(lambda: pool.processes() == [], "the end of the other machine", 60)
