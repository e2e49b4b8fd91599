"""How long a connection may make the page wait, and how many there may be.

Somebody who opens connections and sends nothing, or a byte now and then, costs them nothing and would hold the page's
connections for ever. Here whoever has the next word must say it in time; while the page itself is at work, nobody is
hurried. Where there are too many, those go that have waited the longest to be told something, not those that come: the
right people behind the same address are let in.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True)
class Limits:
    """Seconds for the head of a request, from when the connection was there for it to its last line; for its body; for
    what was sent to be read; for a connection to end. How many connections at once."""

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    read_seconds: float = 60.0
    end_seconds: float = 5.0
    connections: int = 512


class BoundedProtocol(H11Protocol):
    """HTTP for uvicorn, with these limits. What is too slow is cut off without an answer."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.since = 0.0
        self._phase: tuple[str, object] = ("", None)
        self._alarm: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        crowded = len(self.connections) >= self.limits.connections and not self._made_room()
        super().connection_made(transport)
        if crowded:
            transport.abort()
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._look()

    def shutdown(self) -> None:
        super().shutdown()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = _cancelled(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        self._alarm, self._unread = _cancelled(self._alarm), _cancelled(self._unread)
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether the other side has the next word."""
        return self._phase[0] != "work"

    def _look(self) -> None:
        """Give a new phase its time; one that goes on has what is left of it, however many bytes come meanwhile."""
        phase = (self._phase_now(), self.cycle)
        if phase == self._phase:
            return
        self._phase, self.since = phase, self.loop.time()
        self._alarm = _cancelled(self._alarm)
        limits = self.limits
        seconds = {"head": limits.head_seconds, "body": limits.body_seconds, "end": limits.end_seconds}.get(phase[0])
        if seconds is not None:
            self._alarm = self.loop.call_later(seconds, self.transport.abort)

    def _phase_now(self) -> str:
        if self.transport.is_closing():
            return "end"
        return {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(self.conn.their_state, "work")

    def _made_room(self) -> bool:
        """Whether a connection could be cut off in favour of the one that comes."""
        others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.is_waiting]
        if not others:
            return False
        oldest = min(others, key=lambda each: each.since)
        oldest.transport.abort()
        self.connections.discard(oldest)  # its end is heard of a moment later
        return True


def _cancelled(alarm: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if alarm is not None:
        alarm.cancel()
    return None
