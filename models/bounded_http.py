"""An answer of a server, heard for so long and so far and no further: whoever it is, it may be anybody."""

import time
from typing import Any

import httpx

MOST_BYTES = 1 << 20
"""Of an answer from which no more is expected than a text."""


class TooMuchError(ValueError):
    """The server says more than is wanted."""


def exchange(
    http: httpx.Client, method: str, url: str, content: Any, *, seconds: float, most: int = MOST_BYTES
) -> tuple[httpx.Response, bytes]:
    """The answer to a request whose body is `content` as JSON: its status and headers, and its body. httpx bounds the
    wait for each piece alone, this one all of them together. Raises TooMuchError beyond `most` bytes, and what httpx
    raises where there is no answer, or not all of it in time."""
    deadline, body = time.monotonic() + seconds, b""
    # what is compressed has no bound on what comes of it
    with http.stream(method, url, json=content, headers={"Accept-Encoding": "identity"}) as reply:
        for piece in reply.iter_raw():
            body += piece
            if len(body) > most:
                raise TooMuchError(f"more than {most} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer takes too long")
    return reply, body
