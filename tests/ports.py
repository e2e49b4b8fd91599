"""Ports for servers that tests start: of those that the kernel gives to no outgoing connection."""

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15000


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens at. One from port 0 may be taken by any connection before the server is up,
    and by the one that a server under test makes between its death and its return."""
    ends = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32768
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(range(_LOWEST, max(ends, _LOWEST + 1000)), 1000):
            each = stack.enter_context(socket.socket())
            with suppress(OSError):
                each.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports between {_LOWEST} and {ends}")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
