"""A local Prefect server for the length of a run, unless the user's own settings point to one."""

import fcntl
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_store.errors import InputError
from flows import prefect_database

START_SECONDS = 180.0
SECONDS_TO_STOP = 30.0
DEFAULT_PORT = 4200

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the UI has the logs; the terminal shows progress
}


class ServerFailedError(RuntimeError):
    """The local Prefect server did not come up in time, or ended while it was needed."""


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """The URL of the UI of a Prefect server that this process uses. Import nothing of Prefect before.

    `PREFECT_API_URL` in the environment names the user's own server. Else a server is started with its database in
    `folder`, on loopback, and stopped at the end, also when this process is killed.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        yield given.removesuffix("/").removesuffix("/api")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    prefect_database.furnish(Path(os.environ.setdefault("PREFECT_HOME", str(folder))))
    with reserved_port() as port:
        yield from _served(folder, port)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The same for `halter serve`, which must be alone with its server. Raises InputError where it is not."""
    if os.environ.get("PREFECT_API_URL"):
        raise InputError(
            "PREFECT_API_URL names a server of your own: `halter deploy` lays out there what can be "
            "started; then start `prefect worker start --pool halter`; "
            "or unset it for a server on this machine"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "serve.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"`halter serve` is at work in {folder.parent} already") from None
        with prefect_server(folder) as url:
            yield url


def _served(folder: Path, port: int) -> Iterator[str]:
    os.environ["PREFECT_SERVER_API_HOST"] = "127.0.0.1"
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # with --port alone the UI would call another port
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    # by default any page that is open in a browser on this machine may read the API, and so start runs
    os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", f"{url},http://localhost:{port}")
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    try:
        with supervised(["server", "start"], log) as process:
            importlib.import_module("prefect.artifacts")  # seconds, which the server needs as well
            _wait_until_healthy(process, f"{url}/api/health", log)
            lost, over = threading.Event(), threading.Event()
            threading.Thread(target=_watch, args=(process, lost, over), daemon=True).start()
            try:
                yield url
                _send_last_logs()
            except BaseException:
                if not lost.is_set():
                    _send_last_logs()
                    raise
                raise ServerFailedError(f"{_LOST}; its log is {log}") from None
            finally:
                over.set()
    finally:
        os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def supervised(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A `prefect` command beside this process; it is stopped at the end, and also when this process is killed, or what
    watches over it (flows/supervision.py)."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.supervision", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


_LOST = (
    "the Prefect server ended in the middle of the run; what is done is kept, and the same command goes on from here"
)


def _watch(server: "subprocess.Popen[bytes]", lost: threading.Event, over: threading.Event) -> None:
    """End this process when its server has ended: without it a flow waits and tries for minutes, to no end."""
    while server.poll() is None:
        if over.wait(0.5):
            return
    if over.is_set():
        return
    lost.set()
    os.kill(os.getpid(), signal.SIGINT)
    if not over.wait(SECONDS_TO_STOP):
        sys.stderr.write(f"failed: {_LOST}\n")
        sys.stderr.flush()
        os._exit(1)  # still asking a server that is gone


def _send_last_logs() -> None:
    """What Prefect still has in its queues must reach the server before it stops."""
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)


@contextmanager
def reserved_port() -> Iterator[int]:
    """4200 where it is free, so that the address is the one people know; else any free port.

    Between the look and the server's own bind other runs look too; a lock keeps them off, for else the later one would
    take the earlier one's server for its own, and lose it when that run ends.
    """
    for wanted in (DEFAULT_PORT, *([0] * 20)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
        try:
            lock = os.open(Path(tempfile.gettempdir()) / f"halter-port-{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield port
        finally:
            os.close(lock)
        return
    raise ServerFailedError("no free port on the loopback interface")


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  (our own loopback address)
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    tail = log.read_text(errors="replace")[-1500:]
    raise ServerFailedError(f"the Prefect server did not come up; its log {log} ends with:\n{tail}")
