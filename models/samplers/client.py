"""Requests to a server, with bounds on time, size and how often; what it says is taken for what a stranger says."""

import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from models.bounded_http import MOST_BYTES, TooMuchError, exchange
from models.samplers.config import VllmConfig

LONGEST_WAIT = 60.0
_AGAIN = (408, 429)
_SHOWN = 300
_CONNECT_SECONDS = 10.0


class VllmError(RuntimeError):
    """The server cannot be used, or does not answer any more, or answers what cannot be."""


class RefusedError(ValueError):
    """The server refuses a request."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"vLLM answers with status {status}: {said}")
        self.status = status


class Client:
    """One server, asked from several threads. `require_alive` raises where it is known to have ended."""

    def __init__(self, http: httpx.Client, config: VllmConfig, require_alive: Callable[[], None]) -> None:
        self._http, self._config, self.require_alive = http, config, require_alive

    def get(self, path: str) -> bytes:
        """What lies there. Raises as `ask` does."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, content: Any = None, most: int = MOST_BYTES) -> bytes:
        """The body of an answer of at most `most` bytes. Raises RefusedError for a status of 4xx, VllmError where there
        is no answer after all attempts, or one that is too long."""
        config, trouble = self._config, ""
        for attempt in range(config.retries + 1):
            if attempt:
                time.sleep(min(config.backoff_seconds * 2 ** (attempt - 1), LONGEST_WAIT))
            self.require_alive()
            try:
                reply, body = exchange(self._http, method, path, content, seconds=config.timeout_seconds, most=most)
            except TooMuchError as error:
                raise VllmError(f"vLLM answers {path} with {error}, and is not heard any more") from None
            except httpx.TransportError as error:
                trouble = type(error).__name__
                continue
            status = reply.status_code
            if status == httpx.codes.OK:
                return body
            if status not in _AGAIN and status < 500:
                said = "check the key" if status in (401, 403) else body[:_SHOWN].decode(errors="replace")
                raise RefusedError(status, said)
            trouble = f"status {status}"
        self.require_alive()
        raise VllmError(
            f"vLLM gave no answer to {path} in {config.retries + 1} attempts, at last {trouble}: look at the server; "
            "the same command does this step again"
        )


def http_client(config: VllmConfig, *, socket: str | None = None, connections: int = 1) -> httpx.Client:
    """To the server behind a unix socket of ours, or to the one that the config names. Raises ValueError where the
    environment lacks the key that it names."""
    limits, headers = httpx.Limits(max_connections=connections), dict[str, str]()
    timeout = httpx.Timeout(config.timeout_seconds, connect=min(_CONNECT_SECONDS, config.timeout_seconds))
    if socket is not None:
        transport = httpx.HTTPTransport(uds=socket, limits=limits)
        return httpx.Client(transport=transport, base_url="http://vllm", headers=headers, timeout=timeout)
    if config.key_variable is not None:
        key = os.environ.get(config.key_variable, "").strip()
        if not key:
            raise ValueError(f"key_variable: the environment has no {config.key_variable}: export it before the run")
        headers["Authorization"] = f"Bearer {key}"
    return httpx.Client(base_url=config.url or "", headers=headers, timeout=timeout, limits=limits)
