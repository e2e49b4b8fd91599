"""Failures and gates reach a webhook: a real Prefect server, a real listener."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from flows.recipe.watch_config import NotifyConfig
from flows.server.server import prefect_server
from tests.flows.recipe_runs import ROOT
from tests.tasks.bench import wait_for

SECRET = "b7d1-nobody-may-read-this"

# What `halter serve` sets up, twice, then runs under the names of its flows: one fails in a subflow, one is stopped by
# a gate, one is well.
SENDERS = """
import sys
from prefect import flow
from prefect.client.orchestration import get_client
from flows.gates import Stop, StoppedAtGateError
from flows.server.notify import set_up_notification
from flows.ends import stopped
from flows.recipe.watch_config import GateConfig

@flow(name="iteration", flow_run_name="inner")
def iteration():
    raise RuntimeError("the loss is «not a number»")

@flow(name="recipe", flow_run_name="{how}")
def recipe(how):
    if how == "fails":
        iteration()
    if how == "gated":
        gate = GateConfig(step="ppo", metric="kl", at_most=15)
        return stopped(StoppedAtGateError([Stop("V2", "ppo", gate, 21.3)]))

address = sys.argv[1]
with get_client(sync_client=True) as client:
    for _ in range(2):
        set_up_notification(client, address)
    names = sorted(each.name for each in client.read_automations())
    assert names == ["halter: a run failed", "halter: a run stopped at a gate"], names
for how in ("well", "fails", "gated"):
    recipe(how, return_state=True)
print(input())
with get_client(sync_client=True) as client:
    set_up_notification(client, None)
    set_up_notification(client, None)
    assert client.read_automations() == []
"""


class Listener(ThreadingHTTPServer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Listener)
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path, content))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        return


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.slow
def test_a_failure_and_a_gate_are_told_once_each_and_the_address_is_written_nowhere(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    with prefect_server(tmp_path / "prefect") as url:
        environment = {**os.environ, "PREFECT_API_URL": f"{url}/api", "PYTHONPATH": str(ROOT)}
        address = f"http://127.0.0.1:{listener.server_port}/hooks/{SECRET}"
        senders = subprocess.Popen(
            [sys.executable, "-c", SENDERS, address],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_for(lambda: len(listener.told) >= 2 or senders.poll() is not None, "two messages", 240)
        finally:
            said, _ = senders.communicate("goodbye\n", timeout=120)
        assert senders.returncode == 0, said
    assert {path for path, _ in listener.told} == {f"/hooks/{SECRET}"}
    told = {content["run"]: content for _, content in listener.told}
    assert len(told) == len(listener.told) == 2, "one message a run; none of the subflow, none of what went well"
    assert told["fails"]["state"] == "Failed"
    assert "the loss is «not a number»" in told["fails"]["text"]
    assert told["gated"]["state"] == "Stopped at a gate"
    assert "gated is Stopped at a gate: stopped at a gate: V2 ppo: kl is 21.3" in told["gated"]["text"]
    assert SECRET not in said
    for path in (tmp_path / "prefect").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize("found", [None, "", "hooks.example.org/" + SECRET])
def test_an_address_that_is_missing_or_none_is_refused_without_repeating_it(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HALTER_HOOK", raising=False)
    if found is not None:
        monkeypatch.setenv("HALTER_HOOK", found)
    with pytest.raises(InputError, match="HALTER_HOOK") as refused:
        NotifyConfig(webhook_url_env="HALTER_HOOK").take_address()
    assert SECRET not in str(refused.value)


def test_the_address_leaves_the_environment_so_that_no_training_inherits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOOK", "https://hooks.example.org/" + SECRET)
    assert NotifyConfig(webhook_url_env="HALTER_HOOK").take_address().endswith(SECRET)
    assert "HALTER_HOOK" not in os.environ
