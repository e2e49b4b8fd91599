"""The other side's line to the flow: what is said on it, and whether anybody still listens."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from data_store.content.bucket import Bucket
from data_store.errors import StoreError
from data_store.records import Metric
from tasks.engine.remote.messages import LEASE_SECONDS, Number, Said, said

_SECONDS_BETWEEN_MESSAGES = 1.0
_SECONDS_OF_SILENCE = 15.0  # then it says that it is there
_SECONDS_BETWEEN_LOOKS = 2.0
_LOG_BYTES = 200_000  # of one message; four of UTF-8 are one character at the most


class FlowGoneError(RuntimeError):
    """Nobody waits for the step any more: its flow has ended, was cancelled, or sends it elsewhere."""


class Line:
    """Use as a context. Progress, points and the log go every second, together; `say` goes at once. `tell` hears of the
    log as well. `part` of the step speaks."""

    def __init__(self, bucket: Bucket, prefix: str, tell: Callable[[str], None], part: int = 0) -> None:
        self._bucket, self._prefix, self._tell, self._part = bucket, prefix, tell, part
        self._log: Path | None = None
        self._read = 0
        self._waiting, self._sending = threading.Lock(), threading.Lock()
        self._progress: tuple[float, str] | None = None
        self._points: list[Number] = []
        self._count, self._spoke = 0, time.monotonic()
        self._touched, self._heard = 0.0, time.monotonic()
        self._fault: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Line":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if isinstance(self._fault, FlowGoneError):  # the flow may have cleared before the last words
            with suppress(StoreError):
                self._bucket.delete([key for key, _ in self._bucket.listed(self._prefix)])

    def follow(self, log: Path) -> None:
        """Pass on the lines that are written to this file from now on."""
        with self._waiting:
            self._log, self._read = log, log.stat().st_size if log.exists() else 0

    def look(self) -> None:
        """Raises FlowGoneError where nobody listens any more, and StoreError where the bucket is out of reach."""
        if self._fault is not None:
            raise self._fault

    check = look

    def named(self, text: str) -> str:
        """As it is."""
        return text

    def progress(self, fraction: float, text: str) -> None:
        """How far the step is."""
        with self._waiting:
            self._progress = (min(max(fraction, 0.0), 1.0), text[:1000])

    def points(self, points: Sequence[Metric]) -> None:
        """Some more points of its curves."""
        with self._waiting:
            self._points += [Number(**vars(each)) for each in points]

    def say(self, what: Said) -> None:
        """Something at once, after what waits."""
        self._flush()
        self._send(what)

    def _serve(self) -> None:
        looked = 0.0
        while not self._over.wait(_SECONDS_BETWEEN_MESSAGES) and self._fault is None:
            try:
                self._flush()
                if time.monotonic() - self._spoke > _SECONDS_OF_SILENCE:
                    self._send(Said())
                if time.monotonic() - looked > _SECONDS_BETWEEN_LOOKS:
                    self._look_for_the_flow()
                    looked = time.monotonic()
            except (FlowGoneError, StoreError) as error:
                self._fault = error

    def _look_for_the_flow(self) -> None:
        held = self._bucket.look(f"{self._prefix}alive")
        if held is None:
            raise FlowGoneError("the flow that this step was for has ended, was cancelled, or does it elsewhere")
        if held.modified != self._touched:
            self._touched, self._heard = held.modified, time.monotonic()
        elif time.monotonic() - self._heard > LEASE_SECONDS:
            raise FlowGoneError(f"the flow that this step is for has not been heard of for {LEASE_SECONDS:g} s")

    def _flush(self) -> None:
        with self._waiting:
            progress, self._progress = self._progress, None
            points, self._points = self._points, []
            log = self._new_lines()
        if log:
            self._tell(log)
        if progress or points or log:
            self._send(Said(progress=progress, points=tuple(points), log=log))

    def _new_lines(self) -> str:
        if self._log is None:
            return ""
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                content = file.read(_LOG_BYTES)
        except FileNotFoundError:
            return ""
        whole = content[: content.rfind(b"\n") + 1] if len(content) < _LOG_BYTES else content
        self._read += len(whole)
        return whole.decode(errors="replace")

    def _send(self, what: Said) -> None:
        with self._sending:
            self._count += 1
            self._bucket.create(f"{self._prefix}{said(self._count, self._part)}", what.model_dump_json().encode())
            self._spoke = time.monotonic()
