"""How long the annotation page takes to answer while many people judge at once.

    python benchmarks/annotation_page.py [--people 50] [--seconds 20] [--pause 0] [--pairs 5000]

Starts a server process on a new book and as many clients as people, each of them judging one pair after another with a
pause between of up to twice the given seconds (0: as fast as they can). Prints the count of requests and the median,
p95 and p99 of their times, for pages and for judgements, and ends with 1 where a judgement is lost or doubled, or a
pair is seen by more than three. Clients and server share the machine, so the figures are an upper bound.
"""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from data_store.annotation.batches import BatchSpec, ItemDraft, open_batch
from data_store.annotation.book import Book
from data_store.annotation.export import judgements
from data_store.annotation.people import add_annotator
from tests.ports import free_port

EACH = 3
SERVER = """
import sys, uvicorn
from pathlib import Path
from data_store.annotation.book import Book
from web.app import create_app
app = create_app(Book.open(Path(sys.argv[1])))
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


class Client(threading.Thread):
    """One person, who judges until told to stop."""

    def __init__(self, url: str, token: str, pause: float, stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.http = httpx.Client(base_url=url, headers={"Origin": url}, timeout=60, verify=False)
        self.token, self.pause, self.stop, self.rng = token, pause, stop, random.Random(seed)
        self.pages: list[float] = []
        self.posts: list[float] = []

    def run(self) -> None:
        self.http.post("/login", data={"token": self.token})
        while not self.stop.wait(self.rng.uniform(0, 2 * self.pause)):  # people do not move in step
            begun = time.perf_counter()
            page = self.http.get("/batches/bench").text
            self.pages.append(time.perf_counter() - begun)
            fields = dict(re.findall(r'<input type="hidden" name="(csrf|form_key|axis)" value="([^"]*)"', page))
            if "form_key" not in fields:
                continue
            sent = {name: unescape(value) for name, value in fields.items()} | {"verdict": "a:better"}
            begun = time.perf_counter()
            answer = self.http.post("/batches/bench/judge", data=sent)
            if answer.status_code == 303:
                self.posts.append(time.perf_counter() - begun)


def _tell(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    figures = ", ".join(f"{label} {1000 * cuts[at]:.0f} ms" for label, at in (("median", 49), ("p95", 94), ("p99", 98)))
    print(f"{name}: {len(seconds)} requests, {figures}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--pairs", type=int, default=5000)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        book = Book.open(Path(folder))
        tokens = [add_annotator(book, f"annotator-{number}") for number in range(given.people)]
        question = [{"role": "user", "content": "How do a llama and an alpaca differ? " * 5}]
        items = [
            ItemDraft(f"{number}", f"{number}", "helpfulness", question, "They do. " * 60, "They do not. " * 50)
            for number in range(given.pairs)
        ]
        open_batch(book, BatchSpec("bench", "V1", "benchmark", given.pairs, people_per_item=EACH), items)
        port = free_port()
        server = subprocess.Popen([sys.executable, "-c", SERVER, folder, str(port)], env={**os.environ})
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        stop = threading.Event()
        clients = [Client(url, token, given.pause, stop, seed) for seed, token in enumerate(tokens)]
        for client in clients:
            client.start()
        time.sleep(given.seconds)
        stop.set()
        for client in clients:
            client.join()
        server.send_signal(signal.SIGINT)
        server.wait(30)
        found = [(one.item_id, one.annotator) for one in judgements(book, "bench")]
    print(f"{given.people} people, {given.pause:g} s between their pairs, {given.pairs} pairs, {os.cpu_count()} cores")
    _tell("pages", [seconds for client in clients for seconds in client.pages])
    _tell("judgements", [seconds for client in clients for seconds in client.posts])
    acknowledged = sum(len(client.posts) for client in clients)
    most = max(Counter(item for item, _ in found).values())
    sound = len(found) == len(set(found)) == acknowledged and most <= EACH
    print(f"{acknowledged} judgements acknowledged, {len(found)} in the book, at most {most} of one pair")
    return 0 if sound else 1


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/login", verify=False)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the server did not come up")


if __name__ == "__main__":
    sys.exit(main())
