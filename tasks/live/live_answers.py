"""The page's side of the policies that answer live: a process of their own, few places in line, a limit on the time of
each answer, and a new process where one has died. Loads no torch."""

import itertools
import json
import logging
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_store.annotation.batches import Message
from data_store.annotation.live import AnswerError, BusyError, LiveResponse, TooLongError, TooSlowError
from data_store.errors import InputError, StoreError
from data_store.figures import figure
from models.seeds import derive_seed

_log = logging.getLogger(__name__)
PLACES = 8  # people in line, the one who is answered included; more would wait longer than anybody does
POLICIES = 8  # loaded at once
_SECONDS_BETWEEN_STARTS = 10.0  # where it does not come up


@dataclass(frozen=True)
class LiveModel:
    """A version of a policy and where it lies; an adapter needs its base."""

    version: str
    folder: Path
    base: Path | None


@dataclass(frozen=True)
class LiveConfig:
    """How answers are drawn. variants: the versions whose responses people compare, one or two of them, or none where
    versions are asked alone. temperatures: two of them for each pair; reply_temperature: for a version asked alone.
    prompt_tokens: the longest dialogue that leaves room for an answer, in the context and in what is trained on it.
    """

    variants: tuple[str, ...]
    temperatures: tuple[float, ...]
    reply_temperature: float
    max_new_tokens: int
    prompt_tokens: int
    seed: int
    seconds: float = 60.0


class LiveAnswerer:
    """Answers with policies that live in a process of their own. Many threads may ask; they are answered in turn.

    `models` are there from the start; `find` tells where a version lies that is wanted later, or None. Start it before
    the first question and close it at the end.
    """

    def __init__(
        self,
        models: Sequence[LiveModel],
        config: LiveConfig,
        find: Callable[[str], LiveModel | None] = lambda _version: None,
    ) -> None:
        self.config = config
        self._models = {model.version: model for model in models}
        self._find = find
        self._loading = threading.RLock()  # over the models and the process that is to load them
        self._places = threading.BoundedSemaphore(PLACES)
        self._turn = threading.Lock()
        self._numbers = itertools.count(1)
        self._closed = False
        self._process: _Process | None = None

    @property
    def answers_prompts(self) -> bool:
        """Whether there are variants whose responses are compared."""
        return bool(self.config.variants)

    def attackable(self, policy_version: str) -> bool:
        """Whether this version can be asked: it is loaded, or will be from now on."""
        with self._loading:
            if policy_version not in self._models:
                self._add(policy_version)
            process, model = self._process, self._models.get(policy_version)
        return model is not None and (process is None or policy_version not in process.failed)

    def _add(self, version: str) -> None:
        if len(self._models) >= POLICIES:
            _log.error("%d policies are loaded already: start the page anew to attack %s", len(self._models), version)
            return
        try:
            model = self._find(version)
        except (InputError, StoreError) as error:
            _log.error("policy %s cannot be loaded: %s", version, error)
            return
        if model is None:
            return
        self._models[version] = model
        if self._process is None:
            self._start()
        else:
            self._process.load(model)

    @property
    def pid(self) -> int | None:
        """Of the process that answers now."""
        return None if self._process is None else self._process.popen.pid

    def start(self) -> None:
        """Load the policies that are there from the start. Raises RuntimeError where that fails."""
        if not self._models:
            return
        process = self._start()
        while not (process.has(self._models) or process.failed or process.ended.wait(0.1)):
            pass
        if not process.has(self._models):
            reason = next(iter(process.failed.values())) if process.failed else process.last_words()
            self.close()
            raise RuntimeError(f"the policies could not be loaded: {reason}")

    def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._process is not None:
            self._process.close()

    def pair(self, messages: Sequence[Message], key: str) -> tuple[LiveResponse, LiveResponse]:
        """One response of each variant, at two temperatures where there are two, drawn with seeds made of `key`."""
        rng = random.Random(derive_seed(self.config.seed, key, "temperatures"))
        several = len(self.config.temperatures) > 1
        temperatures = rng.sample(self.config.temperatures, 2) if several else [self.config.temperatures[0]] * 2
        versions = (self.config.variants[0], self.config.variants[-1])
        asked = [
            self._request(messages, version, temperature, derive_seed(self.config.seed, key, f"side {side}"))
            for side, (version, temperature) in enumerate(zip(versions, temperatures, strict=True))
        ]
        first, second = self._ask(asked)
        return first, second

    def reply(self, messages: Sequence[Message], key: str, policy_version: str) -> LiveResponse:
        """The response of one version, drawn with a seed made of `key`."""
        seed = derive_seed(self.config.seed, key, "reply")
        (response,) = self._ask([self._request(messages, policy_version, self.config.reply_temperature, seed)])
        return response

    def _request(
        self, messages: Sequence[Message], version: str, temperature: float, seed: int
    ) -> Mapping[str, int | str | list[dict[str, str]]]:
        return {
            "id": next(self._numbers),
            "version": version,
            "messages": [dict(message) for message in messages],
            "temperature_milli": round(1000 * temperature),
            "seed": seed,
            "max_new_tokens": self.config.max_new_tokens,
            "prompt_tokens": self.config.prompt_tokens,
        }

    def _ask(self, requests: Sequence[Mapping[str, Any]]) -> list[LiveResponse]:
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{PLACES} people are in line already")
        try:
            if not self._turn.acquire(timeout=self.config.seconds):
                raise BusyError("the line did not move in time")
            try:
                process = self._at_work({request["version"] for request in requests})
                answers = [process.ask(request, self.config.seconds) for request in requests]
            finally:
                self._turn.release()
        finally:
            self._places.release()
        return [self._response(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _response(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> LiveResponse:
        if "tokens" in answer:
            raise TooLongError(answer["tokens"], self.config.prompt_tokens)
        drawn = (request["version"], request["temperature_milli"], request["seed"])
        said = {name: answer[name] for name in ("finished", "token_ids", "tokenizer")}
        return LiveResponse(answer["text"], *drawn, **said)

    def _at_work(self, versions: Collection[str]) -> "_Process":
        process = self._process
        if process is None or self._closed:
            raise AnswerError("the policies are not loaded")
        if process.ended.is_set() and time.monotonic() - process.started >= _SECONDS_BETWEEN_STARTS:
            process = self._start()
        if process.ended.is_set():
            raise AnswerError("the process of the policies has ended")
        for version in versions:
            if version in process.failed:
                raise AnswerError(f"the policy could not be loaded: {process.failed[version]}")
        if not process.has(versions):
            raise BusyError("the policies are being loaded")
        return process

    def _start(self) -> "_Process":
        with self._loading:
            self._process = _Process(list(self._models.values()), self._ended)
            return self._process

    def _ended(self, process: "_Process") -> None:
        """Heard from the process's own thread. One that was at work is replaced at once; one that never came up is not,
        or it would start and end without a pause."""
        if self._closed or process is not self._process:
            return
        _log.error("the process of the policies ended: %s", process.last_words())
        if process.has_loaded:
            self._start()


class _Process:
    """One process of `tasks.live.answer_worker`."""

    def __init__(self, models: Sequence[LiveModel], on_end: Callable[["_Process"], None]) -> None:
        self.ended = threading.Event()
        self.failed: dict[str, str] = {}  # version → why it could not be loaded
        self._loaded: set[str] = set()
        self._sending = threading.Lock()
        self.started = time.monotonic()
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        environment = {
            **os.environ,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
        }
        environment.setdefault("GOMP_SPINCOUNT", "10000")  # as in tasks/engine/processes.py
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tasks.live.answer_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C is the page's; it closes our input
        )
        threading.Thread(target=self._listen, args=(models, on_end), daemon=True).start()

    @property
    def has_loaded(self) -> bool:
        """Whether it came up: at least one policy is loaded."""
        return bool(self._loaded)

    def has(self, versions: Collection[str]) -> bool:
        """Whether all these versions are loaded."""
        return self._loaded.issuperset(versions)

    def load(self, model: LiveModel) -> None:
        """Have it load one more policy; what is asked before that is done comes first."""
        base = None if model.base is None else str(model.base)
        with suppress(OSError):  # it has ended; the next one loads all of them
            self._send({"load": {"version": model.version, "folder": str(model.folder), "base": base}})

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer. Raises TooSlowError, after which this process is gone, and AnswerError where it has ended."""
        deadline = time.monotonic() + seconds
        try:
            self._send(request)
            while True:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
                if answer is None:
                    raise AnswerError("the process of the policies ended while it answered")
                if answer["id"] == request["id"]:
                    return answer
        except queue.Empty:
            self.popen.kill()  # what it is drawing cannot be taken back otherwise
            raise TooSlowError(f"no answer in {figure(seconds)} seconds") from None
        except OSError as error:
            raise AnswerError(f"the process of the policies takes no requests: {error}") from error

    def close(self) -> None:
        """End it."""
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        try:
            self.popen.wait(2)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def last_words(self) -> str:
        """What it wrote to standard error last."""
        self._errors.seek(0)
        text = self._errors.read()[-2000:].decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"it ended with code {self.popen.wait()}"

    def _send(self, message: Mapping[str, Any]) -> None:
        if self.popen.stdin is None or self.popen.stdout is None:
            raise AnswerError("the process of the policies has no pipes")
        with self._sending:
            self.popen.stdin.write(json.dumps(message).encode() + b"\n")
            self.popen.stdin.flush()

    def _listen(self, models: Sequence[LiveModel], on_end: Callable[["_Process"], None]) -> None:
        for model in models:
            self.load(model)
        for line in self.popen.stdout or ():
            answer = json.loads(line)
            if "loaded" not in answer:
                self._answers.put(answer)
            elif "error" in answer:
                self.failed[answer["loaded"]] = answer["error"]
                _log.error("policy %s could not be loaded: %s", answer["loaded"], answer["error"])
            else:
                self._loaded.add(answer["loaded"])
        self.popen.wait()
        self.ended.set()
        self._answers.put(None)
        on_end(self)
