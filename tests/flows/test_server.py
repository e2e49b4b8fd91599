import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows import server
from flows.server import ServerFailedError, prefect_server, reserved_port
from tests.flows.recipe_runs import ROOT
from tests.tasks.bench import children_of, is_alive, wait_for


def test_two_runs_that_start_at_once_get_two_ports() -> None:
    """Before either server listens: else the later run would take the earlier one's server for its own."""
    with reserved_port() as first, reserved_port() as second:
        assert first != second
    with reserved_port() as again:
        assert again > 1023


def test_a_port_that_something_listens_on_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(server, "DEFAULT_PORT", taken.getsockname()[1])
        with reserved_port() as port:
            assert port != taken.getsockname()[1]


def test_the_users_own_server_is_used_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api/")
    with prefect_server(tmp_path / "prefect") as url:
        assert url == "http://prefect.example:4200"
    assert os.environ["PREFECT_API_URL"] == "http://prefect.example:4200/api/"
    assert not (tmp_path / "prefect").exists()


def test_a_server_that_cannot_start_is_reported_at_once_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "nonsense://")
    with pytest.raises(ServerFailedError, match=r"server\.log ends with:"), prefect_server(tmp_path / "prefect"):
        pass


@pytest.mark.parametrize(("origin", "allowed"), [("http://elsewhere.example", False), ("{url}", True)])
def test_a_page_of_another_site_cannot_read_the_api(server: str, origin: str, allowed: bool) -> None:
    """Else any page in a browser on this machine could look up a deployment and start it."""
    origin = origin.format(url=server)
    request = urllib.request.Request(
        f"{server}/api/deployments/filter", b"{}", {"Origin": origin, "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == (origin if allowed else None)


@pytest.mark.parametrize("killed", ["run", "supervisor"])
def test_the_server_stops_when_the_run_or_what_watches_over_it_is_killed(
    server: str, tmp_path: Path, killed: str
) -> None:
    """Started as by a run that then dies, or loses its supervisor, without a word."""
    program = (
        "import pathlib, sys, time\n"
        "from flows.server import prefect_server\n"
        "with prefect_server(pathlib.Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    run = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "prefect"],
        env=kept,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    url = run.stdout.readline().strip()
    assert url
    assert url != server
    assert answers(url)
    supervisor = children_of(run.pid)[0]
    (prefect,) = children_of(supervisor)
    os.kill(run.pid if killed == "run" else supervisor, signal.SIGKILL)
    wait_for(lambda: not (is_alive(prefect) or is_alive(supervisor)), "the end of the server", 60)
    assert not answers(url)
    assert run.wait(60) != 0
    assert answers(server)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=20) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
