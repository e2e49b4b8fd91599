"""Asking an endpoint that speaks OpenAI's chat completions: bounded retries, timeouts, a limit of requests at the same
time. The key is read from the environment when a request is made, and stands in nothing that is written."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import httpx

from data_store.errors import InputError
from data_store.incoming.answers import EndpointAnswer, Key
from models.bounded_http import TooMuchError, exchange
from tasks.judging.endpoint import EndpointConfig, key_of

LONGEST_WAIT = 60.0
_AGAIN = (408, 409, 429)
_OF_THE_QUESTION = (400, 413, 422)
_SHOWN = 200


class EndpointError(RuntimeError):
    """The endpoint cannot be used, or does not answer any more."""


class ChatClient:
    """One endpoint. Use as a context; it may be asked from several threads."""

    def __init__(self, config: EndpointConfig, section: str) -> None:
        """`section` names the endpoint in the config. Raises InputError as `key_of` does."""
        self.config, self.section = config, section
        self._stopped = threading.Event()
        key = key_of(config, section)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=config.concurrency)
        self._client = httpx.Client(headers=headers, timeout=config.timeout_seconds, limits=limits)

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._client.close()

    def ask_all(self, questions: Iterable[tuple[Key, str]], keep: Callable[[EndpointAnswer], None]) -> None:
        """Ask everything, several at a time; `keep` gets each answer in this thread as soon as it is there.

        Raises EndpointError or InputError at the first question that cannot be asked; what was answered was kept.
        """
        waiting: Iterator[tuple[Key, str]] = iter(questions)
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            running: list[Future[EndpointAnswer]] = []
            try:
                while True:
                    room = 2 * self.config.concurrency - len(running)
                    running += [pool.submit(self.ask, key, text) for key, text in islice(waiting, room)]
                    if not running:
                        return
                    keep(running.pop(0).result())
            except BaseException:
                self._stopped.set()
                for each in running:
                    each.cancel()
                raise

    def ask(self, key: Key, question: str) -> EndpointAnswer:
        """One answer; where the endpoint refuses the question itself (400, 413, 422), the reason instead."""
        content = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }
        if self._stopped.is_set():
            raise EndpointError(f"{self.config.url} is not asked any more")
        url, wait, trouble = f"{self.config.url}/chat/completions", self.config.backoff_seconds, ""
        for attempt in range(self.config.retries + 1):
            if attempt and self._stopped.wait(min(wait, LONGEST_WAIT)):
                break
            wait = self.config.backoff_seconds * 2**attempt
            try:
                reply, body = exchange(self._client, "POST", url, content, seconds=self.config.timeout_seconds)
            except TooMuchError as error:
                self._stopped.set()
                raise EndpointError(f"{self.config.url} answers with {error}, and is not asked any more") from None
            except httpx.TransportError as error:
                trouble = type(error).__name__
                continue
            if reply.status_code in _OF_THE_QUESTION:
                return EndpointAnswer(*key, None, f"endpoint_refused_{reply.status_code}")
            if reply.status_code in _AGAIN or reply.status_code >= 500:
                trouble = f"status {reply.status_code}"
                wait = max(wait, _seconds(reply.headers.get("retry-after")))
                continue
            if reply.status_code != httpx.codes.OK:
                self._stopped.set()
                raise self._unusable(reply.status_code, body)
            return self._answer(key, body)
        self._stopped.set()
        raise EndpointError(
            f"{self.config.url} gave no answer in {self.config.retries + 1} attempts, at last {trouble}; what was "
            "answered is kept, the same command goes on from there"
        )

    def _answer(self, key: Key, body: bytes) -> EndpointAnswer:
        try:
            choice = json.loads(body)["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._stopped.set()
            raise EndpointError(f"{self.config.url} does not speak OpenAI's chat completions") from None
        if reason == "content_filter":
            return EndpointAnswer(*key, None, "content_filter")
        if not isinstance(text, str):
            return EndpointAnswer(*key, None, "no_text")
        return EndpointAnswer(*key, text, None)

    def _unusable(self, status: int, body: bytes) -> InputError:
        """The key is the one thing that some servers repeat in their message, so that is not shown for 401 and 403."""
        said: Any = ""
        if status not in (401, 403):
            said = f": {self._without_key(body.decode(errors='replace'))[:_SHOWN]}"
        return InputError(
            f"{self.section}: {self.config.url} answers with status {status}{said}; check url, model and the key"
        )

    def _without_key(self, text: str) -> str:
        key = self._client.headers.get("Authorization", "").removeprefix("Bearer ")
        return text.replace(key, "…") if key else text


def _seconds(header: str | None) -> float:
    """Of a Retry-After header that gives seconds; 0 for any other."""
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
