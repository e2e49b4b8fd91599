import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from data_store.annotation.book import Book
from data_store.annotation.people import log_in
from flows.cli import app
from flows.recipe.config import load_config
from flows.session import remember, store_root
from tests.data_store.annotation.pairs import Desk, pair
from tests.ports import free_port

Halter = Callable[..., Result]


@pytest.fixture
def halter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halter:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path))
    remember(load_config(Path(__file__).resolve().parents[3] / "configs" / "smoke.yaml"))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_people_are_added_listed_and_disabled(halter: Halter) -> None:
    told = halter("annotators", "add", "anna")
    token = told.output.split()[-1]
    book = Book.open(store_root("smoke"))
    assert log_in(book, token) is not None
    added = json.loads(halter("annotators", "add", "judith", "--adjudicator", "--json").output)
    assert (added["annotator"], added["adjudicator"]) == ("judith", True)

    desk = Desk(book, [])
    desk.open(pair(1), pair(2))
    desk.judge("anna")
    listed = halter("annotators", "list", "--json").output
    assert added["token"] not in listed
    content = json.loads(listed)
    assert [(row["name"], row["role"], row["judged"]) for row in content["annotators"]] == [
        ("anna", "annotator", 1),
        ("judith", "adjudicator", 0),
    ]
    assert content["agreement"] == [
        {"batch_id": "v1", "axis": "helpfulness", "measure": "preference", "pairs": 0, "ac2": None}
    ]
    table = halter("annotators", "list").output
    assert "anna" in table
    assert "no pair was judged twice" in table

    assert halter("annotators", "disable", "anna").exit_code == 0
    assert log_in(book, token) is None
    assert "disabled" in halter("annotators", "list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["annotators", "add", "Anna B"], "no name of an annotator"),
        (["annotators", "disable", "nobody"], "no annotator 'nobody'"),
        (["annotators", "list", "--run", "other"], "no run 'other'"),
        (["annotate", "--host", "0.0.0.0"], "--public-url"),
        (["annotate", "--public-url", "judge.example.org"], "write it like"),
        (["annotate", "--public-url", "https://judge.example.org/sub"], "without a path"),
        (["annotate", "--certificate", __file__], "go together"),
    ],
)
def test_wrong_input_ends_with_2_and_says_what_to_do(halter: Halter, arguments: list[str], message: str) -> None:
    result = halter(*arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.slow
def test_the_command_serves_people_and_cuts_off_unfinished_requests(halter: Halter, tmp_path: Path) -> None:
    token = halter("annotators", "add", "anna").output.split()[-1]
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "annotate", "--port", str(port)]
    page = subprocess.Popen(command, env={**os.environ, "HALTER_HOME": str(tmp_path)})
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        with stranger:
            stranger.sendall(b"GET /login HTTP/1.1\r\n")
            form = {"token": token}
            headers = {"Origin": f"http://127.0.0.1:{port}"}
            assert httpx.post(f"http://127.0.0.1:{port}/login", data=form, headers=headers).status_code == 303
            assert stranger.recv(1) == b"", "after ten seconds it is cut off"
    finally:
        page.terminate()
        page.wait(60)
