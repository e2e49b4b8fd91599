"""`halter annotate --answer` as a person meets it: the command, a browserless visitor, a real policy."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from data_store.annotation.batches import BatchSpec, open_batch
from data_store.annotation.book import Book
from data_store.annotation.people import add_annotator
from data_store.annotation.red_team import RedTeamSpec, open_red_team
from data_store.names import AssetName
from data_store.store import Store
from flows.recipe.config import load_config
from flows.session import remember, store_root
from tests.data_store.store_bench import Bench
from tests.tasks.bench import children_of, is_alive, wait_for
from tests.tasks.little_policy import little_policy
from tests.web.served import Person

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_command_loads_a_policy_which_answers_on_the_page_and_one_for_a_red_team_that_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(load_config(ROOT / "configs" / "smoke.yaml"))
    bench = Bench(Store.open(store_root("smoke")), tmp_path / "work")
    policy, later = (bench.store.publish("model", little_policy(tmp_path / f"made {seed}", seed)) for seed in (5, 6))
    bench.run("sft", {"model/policy@V0": policy})
    bench.run("fine_tune", {"model/policy@V1": later})
    book = Book.open(store_root("smoke"))
    token = add_annotator(book, "anna")
    open_batch(book, BatchSpec("v1", "V1", "test", 2, written_prompts=True), [])
    command = [sys.executable, "-u", "-m", "flows.cli", "annotate", "--port", "4399", "--answer", "model/policy@V0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        told = []
        while not told or "Ctrl-C" not in told[-1]:
            line = (process.stdout or pytest.fail("no output")).readline()
            assert line, told
            told.append(line)
        children = children_of(process.pid)
        wait_for(_is_served, "the page")
        anna = Person("http://127.0.0.1:4399", token)
        page = anna.get("/batches/v1/write").text
        answered = anna.post("/batches/v1/write", page, axis="helpfulness", prompt="who eats grass")
        assert answered.status_code == 303, answered.text
        assert "who eats grass" in anna.get("/batches/v1").text

        open_red_team(book, RedTeamSpec("s1", AssetName("model", "policy", "V1"), later.version_id))
        page = anna.get("/red-team/s1").text

        def is_answered() -> bool:  # 503 while the policy is being loaded
            return anna.post("/red-team/s1", page, prompt="how do I spit").status_code == 303

        wait_for(is_answered, "an answer of the policy that is attacked", 120)
        assert "how do I spit" in anna.get("/red-team/s1").text
    finally:
        os.kill(process.pid, signal.SIGINT)
        code = process.wait(30)
    assert code in (0, 130)
    assert children
    assert not any(is_alive(child) for child in children)
    with book.reading() as connection:
        row = connection.execute("SELECT policy_version_a, policy_version_b FROM item").fetchone()
    assert set(row) == {policy.version_id}


def _is_served() -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", 4399)) == 0
