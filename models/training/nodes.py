"""One training on several machines, its nodes: where this process stands among them, and how a node ends."""

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

_GET_ADDRESS = 0x8915  # SIOCGIFADDR


class TookPartError(Exception):
    """The training has ended, and another node has what was made: nothing is left to do on this one."""


class NodeLostError(ChildProcessError):
    """A node or its training processes are gone; the training can be done again."""


@dataclass(frozen=True)
class Endpoint:
    """Where the first node listens, and under which secret."""

    address: str
    port: int
    secret: str


class Meeting(Protocol):
    """How the nodes hear where the first one listens."""

    def tell(self, endpoint: Endpoint) -> None:
        """Of the first one, once."""

    def ask(self) -> Endpoint | None:
        """None while nothing was told."""


@dataclass(frozen=True)
class Place:
    """Which of the nodes this process is, from 0, and by which of its addresses the others reach it. Those that have
    come wait `wait_seconds` for the others."""

    node: int
    nodes: int
    address: str
    wait_seconds: float
    meeting: Meeting


@dataclass(frozen=True)
class Failure:
    """What ended a node: `ticket` orders those of all nodes, and 0 is a process that was killed; `kind` is «died» for
    what may go well another time, «input» for what is refused, else «failure»."""

    ticket: int
    kind: str
    message: str

    @classmethod
    def of(cls, ticket: int, error: BaseException) -> "Failure":
        """Of an error of a training process."""
        kind = "died" if isinstance(error, ChildProcessError) else "input" if isinstance(error, ValueError) else ""
        message = f"{error}" if kind else f"{type(error).__name__}: {error}"
        return cls(ticket, kind or "failure", message[:5000])

    def error(self, node: int) -> Exception:
        """The same as this node raises it, of another one."""
        kinds: dict[str, type[Exception]] = {"died": NodeLostError, "input": ValueError}
        return kinds.get(self.kind, RuntimeError)(f"{self.message} (on node {node + 1})")


_here: Place | None = None


def here() -> Place | None:
    """The place of this process; None where its machine trains alone."""
    return _here


@contextmanager
def standing_at(place: Place) -> Iterator[None]:
    """For the length of a block."""
    global _here
    before, _here = _here, place
    try:
        yield
    finally:
        _here = before


def reached_through(address: str) -> str | None:
    """The name of the interface whose first IPv4 address this is; None where there is none, or the system does not
    tell."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asked.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no such address
                continue
            if socket.inet_ntoa(told[20:24]) == address:
                return name
    return None
