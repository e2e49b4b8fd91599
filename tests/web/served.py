"""The annotation page on a real server, and a person at it without a browser."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape

import httpx
import uvicorn
from starlette.types import ASGIApp

from data_store.annotation.book import Book
from data_store.annotation.live import Answerer
from web.app import create_app
from web.connections import BoundedProtocol


@contextmanager
def serving(book: Book, *, answerer: Answerer | None = None) -> Iterator[str]:
    """The address of the page, served by uvicorn in a thread."""
    with running(create_app(book, answerer=answerer)) as url:
        yield url


@contextmanager
def running(app: ASGIApp, protocol: type[BoundedProtocol] = BoundedProtocol) -> Iterator[str]:
    """The address of any application, served by uvicorn in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


TLS = ssl.create_default_context()  # no test uses it, and every client would take long to make its own


class Person:
    """Somebody who fills in the forms of the page."""

    def __init__(self, url: str, token: str | None = None, language: str = "en") -> None:
        headers = {"Origin": url, "Accept-Language": language}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=60, verify=TLS)
        if token is not None:
            assert self.client.post("/login", data={"token": token}).status_code == 303

    def get(self, path: str) -> httpx.Response:
        """A page, redirects not followed."""
        return self.client.get(path)

    def post(self, path: str, page: str, **fields: str) -> httpx.Response:
        """A form of the page: its hidden fields, and the ones given."""
        return self.client.post(path, data={**hidden_fields(page), **fields})

    def judge(self, batch_id: str = "v1", verdict: str = "a:better") -> bool:
        """Judge the next pair; False when there is none."""
        page = self.get(f"/batches/{batch_id}").text
        if 'id="judge"' not in page:
            return False
        label = {"safety_label": "both_safe"} if 'value="safety"' in page else {}
        answer = self.post(f"/batches/{batch_id}/judge", page, verdict=verdict, **label)
        assert answer.status_code == 303, answer.text
        return True


def hidden_fields(page: str) -> dict[str, str]:
    """Name and value of every hidden field; of several with one name the first."""
    found: dict[str, str] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page):
        found.setdefault(name, unescape(value))
    return found
