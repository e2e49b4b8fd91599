"""Fifty people at once over HTTP, and a server that is killed under them."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from data_store.annotation.book import Book
from data_store.annotation.export import judgements
from flows.recipe.config import load_config
from flows.session import remember, store_root
from tests.data_store.annotation.pairs import Desk, pair
from tests.ports import free_port
from tests.web.served import TLS, Person, serving

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, PAIRS, EACH = 50, 60, 3


@pytest.mark.slow
def test_fifty_people_at_once_judge_every_pair_exactly_three_times(
    desk: Desk, record_property: Callable[[str, object], None]
) -> None:
    names = [f"annotator-{number}" for number in range(PEOPLE)]
    desk.add(*names)
    desk.open(
        *(pair(number, "safety" if number % 3 == 0 else "helpfulness") for number in range(PAIRS)), people_per_item=EACH
    )
    acknowledged: list[str] = []
    seconds: list[float] = []
    failures: list[BaseException] = []
    with serving(desk.book) as url:
        people = {name: Person(url, desk.tokens[name]) for name in names}
        for person in people.values():
            person.client.event_hooks["response"].append(
                lambda response: response.read() and seconds.append(response.elapsed.total_seconds())
            )

        def work(name: str) -> None:
            try:
                while people[name].judge(verdict=f"{'ab'[len(acknowledged) % 2]}:better"):
                    acknowledged.append(name)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    found = [(one.item_id, one.annotator) for one in judgements(desk.book, "v1")]
    assert len(found) == len(set(found)) == PAIRS * EACH
    assert Counter(item for item, _ in found) == dict.fromkeys(range(1, PAIRS + 1), EACH)
    assert Counter(name for _, name in found) == Counter(acknowledged)
    p95 = statistics.quantiles(seconds, n=20)[-1]
    record_property("p95_ms", round(1000 * p95))
    print(f"p95 of {len(seconds)} requests of {PEOPLE} people at once: {1000 * p95:.0f} ms")


@contextmanager
def annotate(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`halter annotate` in a process of its own, and its address."""
    with httpx.Client(verify=TLS) as probe:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "annotate", "--port", str(port)],
            env={**os.environ, "HALTER_HOME": str(home), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                probe.get(f"{url}/login")
                break
            except httpx.TransportError:
                assert process.poll() is None
                time.sleep(0.1)
        try:
            yield process, url
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_has_every_judgement_it_acknowledged_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path))
    config = load_config(ROOT / "configs" / "smoke.yaml")
    remember(config)
    desk = Desk(Book.open(store_root(config.name)), [])
    names = [f"annotator-{number}" for number in range(4)]
    desk.add(*names)
    desk.open(*(pair(number) for number in range(300)))
    acknowledged: Counter[str] = Counter()

    with annotate(tmp_path) as (process, url):
        people = {name: Person(url, desk.tokens[name]) for name in names}

        def work(name: str) -> None:
            try:
                while people[name].judge():
                    acknowledged[name] += 1
            except httpx.TransportError:
                return  # the server is gone

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        while acknowledged.total() < 20:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    found = Counter(one.annotator for one in judgements(desk.book, "v1"))
    assert 20 <= acknowledged.total() < 300
    for name in names:  # the last one of each may have been written and not yet told
        assert found[name] - acknowledged[name] in (0, 1)

    with annotate(tmp_path) as (_, url):
        again = Person(url)
        again.client.cookies = people[names[0]].client.cookies  # sessions outlive the server
        assert again.judge()
    assert judgements(desk.book, "v1")[-1].annotator == names[0]
