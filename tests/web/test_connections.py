"""Connections that say nothing, or too slowly: on a real server, by real sockets, with short limits."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from urllib.parse import urlsplit

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.data_store.annotation.pairs import Desk
from tests.web.served import Person, running
from web.app import create_app
from web.connections import BoundedProtocol, Limits

PATIENCE = 60.0  # seconds in which what was to be cut off must have been; without limits it never would be


class Hasty(BoundedProtocol):
    limits = Limits(head_seconds=0.6, body_seconds=0.6, read_seconds=0.6, end_seconds=0.6, connections=1000)


class Few(BoundedProtocol):
    limits = Limits(head_seconds=1000, body_seconds=1000, connections=10)


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    with running(create_app(desk.book), Hasty) as url:
        yield url


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        yield connection


def is_cut_off(connection: socket.socket, trickle: bytes) -> bool:
    """Whether the server ends the connection while it gets one byte of `trickle` after the other; endless."""
    deadline = time.monotonic() + PATIENCE
    connection.settimeout(0.1)
    position = 0
    while time.monotonic() < deadline:
        try:
            if trickle:
                connection.sendall(trickle[position % len(trickle)].to_bytes())
                position += 1
            if connection.recv(1 << 16) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def head(url: str, *lines: str, method: str = "GET", path: str = "/login") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"", b"GET /login HTTP/1.1\r\nX: " + b"a" * 10_000),
        (b"GET /login HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n"),
        (b"GET /login HTTP/1.1\r\n", b""),
    ],
)
def test_a_head_that_does_not_arrive_is_not_waited_for(address: str, sent: bytes, trickle: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        assert is_cut_off(connection, trickle)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_that_does_not_arrive_is_not_waited_for(address: str, method: str) -> None:
    with connected(address) as connection:
        connection.sendall(head(address, f"Origin: {address}", "Content-Length: 60000", method=method))
        assert is_cut_off(connection, b"a")


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(head(address))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        assert is_cut_off(connection, b"GET /login HTTP/1.1\r\nX: " + b"a" * 10_000)


@pytest.mark.slow
def test_whoever_does_not_read_is_not_waited_for() -> None:
    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"x" * (64 << 20))(scope, receive, send)

    with running(large, Hasty) as url, connected(url) as connection:
        connection.sendall(head(url))
        time.sleep(3)
        got = 0
        try:
            while chunk := connection.recv(1 << 20):
                got += len(chunk)
        except ConnectionError:
            pass
        assert got < 64 << 20, "all of it was kept for a reader who did not read"


@pytest.mark.slow
def test_a_page_that_takes_its_time_is_not_cut_off() -> None:
    import asyncio

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(2)
        await Response("at last")(scope, receive, send)

    with running(slow, Hasty) as url, connected(url) as connection:
        connection.sendall(head(url))
        assert b"at last" in connection.recv(1 << 16) + connection.recv(1 << 16)


@pytest.mark.slow
def test_people_come_in_where_strangers_hold_all_connections(desk: Desk) -> None:
    """Ten are allowed, thirty wait without a word, some in the middle of a head; a person is served all the same."""
    desk.add("anna")
    with running(create_app(desk.book), Few) as url, ExitStack() as stack:
        strangers = [stack.enter_context(connected(url)) for _ in range(30)]
        for number, stranger in enumerate(strangers):
            if number % 2:
                try:
                    stranger.sendall(b"GET / HTTP/1.1\r\n")
                except OSError:
                    continue  # it had to make room already
        anna = Person(url, desk.tokens["anna"])
        assert anna.get("/").status_code == 200
        ended = 0
        for stranger in strangers:
            stranger.settimeout(0.2)
            try:
                ended += stranger.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended += 1
        assert ended >= 20, "no more than ten are kept"


@pytest.mark.slow
def test_a_right_token_is_taken_while_wrong_ones_pour_in_from_the_same_address(desk: Desk, url: str) -> None:
    desk.add("anna")

    def guess() -> None:
        stranger = Person(url)
        for number in range(8):
            assert stranger.post("/login", "", token=f"guess {number}").status_code in (403, 429)

    guessing = [Thread(target=guess) for _ in range(2)]
    for thread in guessing:
        thread.start()
    while any(thread.is_alive() for thread in guessing):
        assert Person(url).post("/login", "", token=desk.tokens["anna"]).status_code == 303
        time.sleep(0.5)
