import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.nights import lay_out, recipe
from data_store.errors import InputError
from flows.server import server
from flows.server.server import ServerFailedError, prefect_server, reserved_port
from tests.flows.prefect_bench import bench
from tests.flows.recipe_runs import POCKET, ROOT, Finished, Home
from tests.ports import free_port
from tests.tasks.bench import children_of, is_alive, wait_for


@pytest.fixture(autouse=True)
def _no_port_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_PORT", raising=False)


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


def test_the_users_own_port_is_taken_or_the_command_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(port))
    with reserved_port() as mine:
        assert mine == port
        message = rf"PREFECT_SERVER_API_PORT={port}: .*another halter.*name another port"
        with pytest.raises(InputError, match=message), reserved_port():
            pass  # the other command's server is about to listen there
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(InputError, match="another port"), reserved_port():
            pass


@pytest.mark.parametrize("port", ["", "0", "65536", "four", "-1", "４２００"])
def test_a_port_that_is_none_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", port)
    with pytest.raises(InputError, match="give the number of a port"), reserved_port():
        pass


@pytest.mark.slow
def test_the_users_own_server_is_used_and_left_alone(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{server}/api/")
    with prefect_server(tmp_path / "prefect") as url:
        assert url == server
    assert os.environ["PREFECT_API_URL"] == f"{server}/api/"
    assert answers(server)
    assert not (tmp_path / "prefect").exists()


@pytest.mark.slow
def test_a_home_for_prefect_that_does_not_exist_yet_is_made_and_the_port_is_the_users(tmp_path: Path) -> None:
    """Both are settings of Prefect's own; nothing is written elsewhere."""
    port = str(free_port())
    home = tmp_path / "not" / "there" / "yet"
    with bench(tmp_path / "prefect", PREFECT_HOME=str(home), PREFECT_SERVER_API_PORT=port) as found:
        assert found.url == f"http://127.0.0.1:{port}"
        assert (home / "prefect.db").exists()
        assert [path.name for path in (tmp_path / "prefect").iterdir()] == ["logs"]


def test_a_home_for_prefect_that_cannot_be_made_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(InputError, match=r"PREFECT_HOME=.*/file/home: cannot be made"), prefect_server(tmp_path):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "rerun"])
def test_an_address_at_which_no_server_answers_ends_the_command_with_one_line(
    first_run: tuple[Home, Finished], pocket_file: Path, command: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words = [pocket_file] if command == "run" else ["V1", "safety-reward"]
    finished = talkative(replace(first_run[0], server=url)).halter(command, *words, "--json")
    assert finished.code == 2
    told = [line for line in finished.err.splitlines() if "steps are finished" not in line and line]
    assert len(told) == 1, finished.err
    assert told[0].startswith(f"error: PREFECT_API_URL={url}/api: no Prefect server answers there")


@pytest.mark.slow
def test_a_wrong_input_that_a_flow_finds_on_the_users_own_server_is_told_in_one_line(
    server: str, tmp_path: Path
) -> None:
    config = recipe(tmp_path, POCKET)
    lay_out(tmp_path / "pairs", 0, 1)
    (broken,) = (tmp_path / "pairs").iterdir()
    broken.write_text('{"prompt": "a", "response_a": "b"}\n')
    finished = talkative(Home(tmp_path / "home", server)).halter("run", config)
    assert finished.code == 2
    lines = finished.err.splitlines()
    assert [line for line in lines if line.startswith("error:")] == [lines[-1]]
    assert str(broken.name) in lines[-1]
    assert len(lines) <= 3, finished.err


def talkative(home: Home) -> Home:
    """As people have it: nothing in the environment says that Prefect should be quiet."""

    class Talkative(Home):
        @property
        def environment(self) -> Mapping[str, str]:
            found = dict(super().environment)
            del found["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"]
            return found

    return Talkative(home.folder, home.server, home.name)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["run", "supervisor"])
def test_the_server_stops_when_the_run_or_what_watches_over_it_is_killed(
    server: str, tmp_path: Path, killed: str
) -> None:
    """Started as by a run that then dies, or loses its supervisor, without a word."""
    program = (
        "import pathlib, sys, time\n"
        "from flows.server.server import prefect_server\n"
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
