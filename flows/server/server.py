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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from data_store.commands import halter
from data_store.errors import InputError
from flows.server import prefect_database
from flows.server.command_logs import cut, end_of, log_file

START_SECONDS = 180.0
SECONDS_TO_STOP = 30.0
DEFAULT_PORT = 4200
PORT = "PREFECT_SERVER_API_PORT"
_ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"

CONSOLE = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
FLOWS = {  # on every server, the user's own too
    CONSOLE: "CRITICAL",  # the UI has the logs; the terminal shows progress
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; flows/server/crashes.py goes by it
}
# what goes wrong in a service of the server, or in the worker, is in its log, however silent the terminal
LOGGED = {CONSOLE: "WARNING", "PREFECT_LOGGING_SERVER_LEVEL": "WARNING"}
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
}


class ServerFailedError(RuntimeError):
    """The local Prefect server did not come up in time, or ended while it was needed."""


@contextmanager
def prefect_server(folder: Path, command: str = "run") -> Iterator[str]:
    """The URL of the UI of a Prefect server that this process uses. Import nothing of Prefect before.

    `PREFECT_API_URL` in the environment names the user's own server. Else a server is started with its database in
    `folder`, or in `PREFECT_HOME`, on loopback, and stopped at the end, also when this process is killed. `command`
    names its log. Raises InputError where nobody answers at the user's address, and where settings of the user's
    cannot be followed.
    """
    for name, value in FLOWS.items():
        os.environ.setdefault(name, value)
    given = os.environ.get("PREFECT_API_URL")
    if given:
        _check_answers(given)
        yield given.removesuffix("/").removesuffix("/api")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with _kept_environment(), reserved_port() as port:
        database = _home(folder)
        prefect_database.furnish(database)
        yield from _served(log_file(folder, command, "server"), database, port)


def _home(folder: Path) -> Path:
    """Where Prefect has its database; made where it is not there yet."""
    home = Path(os.environ.setdefault("PREFECT_HOME", str(folder))).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"PREFECT_HOME={home}: cannot be made a folder ({error.strerror}); name another") from None
    if not os.access(home, os.W_OK):
        raise InputError(f"PREFECT_HOME={home}: nothing can be written there; name another folder")
    return home


def _check_answers(url: str) -> None:
    """Else each request of the flow would try for minutes, with a traceback of its own."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise InputError(
            f"PREFECT_API_URL={url}: no Prefect server answers there ({str(error) or type(error).__name__}); "
            "start it, or unset the variable for one that Halter starts"
        )


@contextmanager
def _kept_environment() -> Iterator[None]:
    """What is set for one server must not be taken for the user's wish by the next one of this process."""
    before = {name: os.environ.get(name) for name in ("PREFECT_HOME", "PREFECT_API_URL")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The same for `halter serve`, which must be alone with its server. Raises InputError where it is not."""
    if os.environ.get("PREFECT_API_URL"):
        raise InputError(
            f"PREFECT_API_URL names a server of your own: `{halter('deploy', 'CONFIG')}` lays out there what can be "
            "started; then start `prefect worker start --pool halter`; "
            "or unset it for a server on this machine"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "serve.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"`halter serve` is at work in {folder.parent} already") from None
        with prefect_server(folder, "serve") as url:
            yield url


def _served(log: Path, database: Path, port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    settings = {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        PORT: str(port),  # with --port alone the UI would call another port
        # by default any page that is open in a browser on this machine may read the API, and so start runs
        _ORIGINS: os.environ.get(_ORIGINS, f"{url},http://localhost:{port}"),
    }
    with supervised(["server", "start"], log, settings) as process:
        importlib.import_module("prefect.artifacts")  # seconds, which the server needs as well
        _wait_until_healthy(process, f"{url}/api/health", log)
        lost, over = threading.Event(), threading.Event()
        threading.Thread(target=_watch, args=(process, log, lost, over), daemon=True).start()
        try:
            with _at_work(database, f"{url}/api"):
                yield url
            _send_last_logs()
        except BaseException:
            if not lost.is_set():
                _send_last_logs()
                raise
            raise ServerFailedError(f"{_LOST}; its log is {log}") from None
        finally:
            over.set()


@contextmanager
def _at_work(database: Path, api: str) -> Iterator[None]:
    """Hold a place at the database for as long as this process uses it, by the server at `api`. Who finds all places
    empty knows that whatever Prefect takes for running there is not."""
    lock = os.open(database / "halter-at-work.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            if not prefect_database.is_elsewhere():
                from flows.server.crashes import bury_all

                bury_all(api)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


@contextmanager
def supervised(
    command: list[str], log: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator["subprocess.Popen[bytes]"]:
    """A `prefect` command beside this process, its warnings and errors in `log`; it is stopped at the end, also when
    this process is killed, or what watches over it (flows/server/supervision.py)."""
    environment = {**os.environ, **settings}
    for name, value in LOGGED.items():
        if environment.get(name, FLOWS.get(name)) == FLOWS.get(name):
            environment[name] = value
    with log.open("ab") as output:  # `cut` asks for append mode
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server.supervision", *command],
            env=environment,
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


def _watch(server: "subprocess.Popen[bytes]", log: Path, lost: threading.Event, over: threading.Event) -> None:
    """End this process when its server has ended: without it a flow waits and tries for minutes, to no end."""
    while server.poll() is None:
        cut(log)
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
    """The port that the user's `PREFECT_SERVER_API_PORT` names, and no other; without it 4200 where that is free, so
    that the address is the one people know, else any free port. Raises InputError where the user's is taken.

    Between the look and the server's own bind other runs look too; a lock keeps them off, for else the later one would
    take the earlier one's server for its own, and lose it when that run ends.
    """
    given = os.environ.get(PORT)
    for wanted in (DEFAULT_PORT, *([0] * 20)) if given is None else (_port(given),):
        if (held := _hold(wanted)) is None:
            continue
        port, lock = held
        try:
            yield port
        finally:
            os.close(lock)
        return
    if given is not None:
        raise InputError(
            f"{PORT}={given}: this port is taken, perhaps by another halter; end that, or name another port, or unset "
            "the variable for any that is free"
        )
    raise ServerFailedError("no free port on the loopback interface")


def _port(given: str) -> int:
    if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
        raise InputError(f"{PORT}={given}: give the number of a port, such as 4201")
    return int(given)


def _hold(wanted: int) -> tuple[int, int] | None:
    """A port and the lock on it; None where something listens there or another run is about to."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return None
        port = int(probe.getsockname()[1])
    try:
        lock = os.open(Path(tempfile.gettempdir()) / f"halter-port-{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:  # another user's
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return port, lock


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
    raise ServerFailedError(f"the Prefect server did not come up; its log {log} ends with:\n{end_of(log)}")
