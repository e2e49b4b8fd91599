"""A real Ray cluster for tests, of which `make test-cluster` installs what it needs: two nodes on loopback, as two
groups of processes, each with a home and an empty working folder of its own, as machines have."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.flows.recipe_runs import _heed_interrupts
from tests.ports import free_ports
from tests.s3_server import ROOT

FOLDER = ROOT / "build" / "cluster"
MISSING = "Ray is not here: make test-cluster installs it"
_SECONDS_TO_START = 60.0
# `ray start` exchanges 127.0.0.1 for the machine's outer address, and would then listen on all
_START = """
from ray._private import ray_constants, services
ray_constants.ENABLE_RAY_CLUSTER = True
services.resolve_ip_for_localhost = lambda host: host
from ray.scripts.scripts import main
main()
"""


class Node:
    """One machine of the cluster, as far as processes of this one can be one."""

    def __init__(self, folder: Path, cpus: int, join: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._variables = variables
        self._command = [
            *(sys.executable, "-c", _START, "start", *join, "--block", "--disable-usage-stats"),
            *("--node-ip-address", "127.0.0.1", "--num-cpus", str(cpus), "--num-gpus", "0"),
            *("--object-store-memory", "100000000"),
            *("--min-worker-port", "0", "--max-worker-port", "0"),  # else ports that other servers of tests may have
        ]

    @property
    def home(self) -> Path:
        """What HALTER_HOME names there."""
        return self.folder / "home"

    def begin(self) -> None:
        """Start it, again where it was killed; returns when it has joined."""
        (self.folder / "cwd").mkdir(parents=True, exist_ok=True)
        (self.folder / "log").unlink(missing_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env={**kept, **environment(), "HALTER_HOME": str(self.home), **self._variables},
                cwd=self.folder / "cwd",
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while "Ray runtime started" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of all that it is, our processes included: as when its power fails."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        while found := self.processes():
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)

    def processes(self, *words: str) -> list[int]:
        """What runs on it, of which the command line has all these words."""
        mark = f"HALTER_HOME={self.home}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                ours = mark in (entry / "environ").read_bytes().split(b"\0")
                if ours and all(word in line for word in words) and "\nState:\tZ" not in (entry / "status").read_text():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]


class RayCluster:
    """A head with one processor, and a second node with two, so that what asks for two is done there."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        port, other = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._session = Path(f"/tmp/ray-{port}")  # a socket's path has at most 107 bytes
        head = ("--head", "--port", str(port), "--include-dashboard=false", "--temp-dir", str(self._session))
        head += ("--ray-client-server-port", str(other))
        self.head = Node(folder / "head", 1, head, variables)
        self.second = Node(folder / "second", 2, ("--address", self.address), variables)

    @property
    def nodes(self) -> tuple[Node, Node]:
        """Both."""
        return self.head, self.second

    def start(self) -> None:
        """Returns when both have joined."""
        self.head.begin()
        self.join()

    def join(self) -> None:
        """Start the second node, again where it was killed; returns when it has joined."""
        self.second.begin()

    def stop(self) -> None:
        """By its own processes alone: `ray stop` would end any other on the machine."""
        for node in self.nodes[::-1]:
            node.kill()
        shutil.rmtree(self._session, ignore_errors=True)


def environment() -> dict[str, str]:
    """What a command needs to find Ray, and to keep it on loopback."""
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a driver looks for the node of this machine at 127.0.0.1
        "RAY_AUTH_MODE": "token",  # said, for a token in the home of whoever tests would be asked for by the head alone
        "RAY_AUTH_TOKEN": "of-the-tests-of-halter",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
    }
