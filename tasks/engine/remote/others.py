"""The parts of a step that train for its first one, on nodes of their own, as its flow sees them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from data_store.content.bucket import Bucket
from tasks.engine.call import StepCall
from tasks.engine.jobs import StepFailedError
from tasks.engine.remote.dispatch import OVER, CancelledError, Dispatch, StepLostError, error_of
from tasks.engine.remote.messages import SILENT_SECONDS, Number, Said, UnreadableError, read, said

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_QUESTIONS = 5.0
_SECONDS_TO_END = 15.0


@dataclass
class _Part:
    number: int
    run: str
    heard: float
    next: int = 1
    asked: float = 0.0
    host: str | None = None
    state: tuple[str, str] = ("", "")
    is_over: bool = False
    processor_seconds: float = 0.0
    energy: tuple[Number, ...] = field(default=())


class OtherParts:
    """All but the first; none of a step that is done whole. What they make is not kept: they say how they ended."""

    def __init__(self, bucket: Bucket, prefix: str, dispatch: Dispatch, what: str) -> None:
        self._bucket, self._prefix, self._dispatch, self._what = bucket, prefix, dispatch, what
        self._parts: list[_Part] = []
        self._looked = 0.0

    def begin(self, call: StepCall) -> None:
        """Have them started."""
        for number in range(1, self._dispatch.nodes):
            run = self._dispatch.start(call, self._prefix, number)
            self._parts.append(_Part(number, run, time.monotonic()))

    def look(self) -> None:
        """Raises what has ended one of them, StepLostError for one that is gone."""
        if time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        for part in self._parts:
            if not part.is_over:
                self._listen(part)

    def finish(self) -> None:
        """The first one has made what was wanted: they come to their ends, or are ended."""
        deadline = time.monotonic() + _SECONDS_TO_END
        while not all(part.is_over for part in self._parts) and time.monotonic() < deadline:
            try:
                self.look()
            except StepFailedError:  # it has done its part
                break
            time.sleep(0.1)

    def end(self) -> None:
        """Nobody needs them any more."""
        for part in self._parts:
            if not part.is_over and part.state[0] not in OVER:
                self._dispatch.end(part.run)

    @property
    def processor_seconds(self) -> float:
        """Of all of them."""
        return sum(part.processor_seconds for part in self._parts)

    def with_energy(self, of_first: Iterable[Number]) -> list[Number]:
        """What was drawn by the first one and all of them."""
        drawn = [number for part in self._parts for number in part.energy]
        return [
            each.model_copy(
                update={"value": each.value + sum(other.value for other in drawn if other.name == each.name)}
            )
            for each in of_first
        ]

    def notes(self, first: str) -> list[str]:
        """Where it was done, for a person, where that was on more than one node."""
        if not self._parts:
            return []
        hosts = [first, *(part.host or "?" for part in self._parts)]
        twice = sorted({host for host in hosts if hosts.count(host) > 1})
        beside = f"; {', '.join(twice)} did several of these beside each other" if twice else ""
        return [f"trained on {len(hosts)} nodes: {', '.join(hosts)}{beside}"]

    def _listen(self, part: _Part) -> None:
        was_over = part.state[0] in OVER
        while not part.is_over and (heard := self._next(part)) is not None:
            part.heard = time.monotonic()
            part.host = heard.code.host if heard.code is not None else part.host
            if heard.failed is not None:
                part.is_over = True
                raise error_of(heard.failed, f"node {part.number + 1}, {part.host or self._dispatch.worker}")
            if heard.made is not None:
                part.is_over = True
                part.processor_seconds, part.energy = heard.made.processor_seconds, heard.made.energy
        if part.is_over:
            return
        if was_over:  # and nothing came after its end
            part.is_over = True
            raise self._lost(part)
        if time.monotonic() - part.asked > _SECONDS_BETWEEN_QUESTIONS:
            part.asked = time.monotonic()
            part.state = self._dispatch.state(part.run)
            if part.state[0] == "SCHEDULED":  # nobody has taken it yet
                part.heard = time.monotonic()
        if time.monotonic() - part.heard > SILENT_SECONDS:
            raise StepLostError(f"{self._what}: node {part.number + 1} has said nothing for {SILENT_SECONDS:g} s")

    def _next(self, part: _Part) -> Said | None:
        reader = self._bucket.read(f"{self._prefix}{said(part.next, part.number)}")
        if reader is None:
            return None
        part.next += 1
        try:
            return read(Said, reader, reader.size)
        except UnreadableError as error:
            raise StepFailedError(f"{self._what}: a message of node {part.number + 1}: {error}") from None

    def _lost(self, part: _Part) -> Exception:
        kind, message = part.state
        where = f"node {part.number + 1}, {part.host or self._dispatch.worker}"
        if kind == "CANCELLED":
            return CancelledError(f"{self._what} was cancelled on {where}: {message}")
        return StepLostError(f"{self._what} ended on {where} without a result: {kind.lower()}: {message}")
