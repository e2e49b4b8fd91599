"""What every request must pass before the pages see it, and the headers that every answer carries."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 * 1024
_BODY_SECONDS = 20.0

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: under it browsers send `Origin: null` with our own forms, and the check below could not pass.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: the Host must be one of ours (so no foreign name can be pointed at this address), a POST must
    come from our own page, a body must be small. What fails is answered here.

    hosts: the host names, without port, under which the page is reached. https: people reach it by https. fetches: a
    script of the page may ask the page itself for more.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], https: bool, fetches: bool = False) -> None:
        self.app, self.hosts, self.https = app, hosts, https
        self.headers = dict(HEADERS)
        if fetches:
            self.headers["Content-Security-Policy"] += "; connect-src 'self'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
                if self.https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope)
        body = b""
        if refusal is None and scope["method"] == "POST":
            try:
                found = await asyncio.wait_for(_read_body(Headers(scope=scope), receive), _BODY_SECONDS)
            except TimeoutError:
                found, refusal = None, PlainTextResponse("the request did not arrive in time", 408)
            if found is None:
                refusal = refusal or PlainTextResponse("the request is too large", 413)
            else:
                body = found
        if refusal is not None:
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send_with_headers)
            return
        given = False

        async def receive_body() -> Message:
            nonlocal given
            if scope["method"] != "POST" or given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_body, send_with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _host_name(host) not in self.hosts:
            return PlainTextResponse("this address is not served here", 421)
        if scope["method"] == "POST":
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            ours = f"{'https' if self.https else scope['scheme']}://{host}".lower()
            # Browsers send at least one of the two; what they send must say that the form was ours.
            if (origin is None and site is None) or origin not in (None, ours) or site not in (None, "same-origin"):
                return PlainTextResponse("this request does not come from our own page", 403)
        return None


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    return None if parts.path or parts.query or parts.fragment or "@" in host else parts.hostname


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body, or None when it is larger than allowed."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length[:12]) > BODY_BYTES:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body
