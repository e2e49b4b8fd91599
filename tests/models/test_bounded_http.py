"""How long and how far a server is heard."""

import gzip
import time

import httpx
import pytest

from models.bounded_http import TooMuchError, exchange
from tests.models.samplers.wrong_server import Asked, answering, drips, says


def test_a_body_is_heard_up_to_its_bound_and_no_further() -> None:
    with answering({"/x": says(b"a" * 100)}) as (url, _), httpx.Client(base_url=url) as http:
        reply, body = exchange(http, "POST", "/x", {"a": 1}, seconds=10, most=100)
        assert (reply.status_code, body) == (200, b"a" * 100)
        with pytest.raises(TooMuchError, match="more than 99 bytes"):
            exchange(http, "POST", "/x", {"a": 1}, seconds=10, most=99)


def test_a_body_that_comes_in_pieces_and_never_ends_is_given_up_after_the_time_of_one_request() -> None:
    began = time.monotonic()
    with (
        answering({"/x": drips}) as (url, _),
        httpx.Client(base_url=url, timeout=10) as http,
        pytest.raises(httpx.ReadTimeout, match="takes too long"),
    ):
        exchange(http, "GET", "/x", None, seconds=0.2)
    assert time.monotonic() - began < 1.5


def test_what_was_compressed_although_nobody_asked_for_it_is_not_unpacked() -> None:
    """A hundredth of the bound on the way would be ten times the bound in memory."""
    packed = gzip.compress(b"a" * 100_000)

    def packs(request: Asked) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(packed)))
        request.end_headers()
        request.wfile.write(packed)

    with answering({"/x": packs}) as (url, _), httpx.Client(base_url=url) as http:
        assert exchange(http, "GET", "/x", None, seconds=10, most=1000)[1] == packed
