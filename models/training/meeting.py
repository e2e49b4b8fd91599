"""How the nodes of a training meet, and hear of each other's end.

The first one listens; the others hear where from whoever started them (`Place.meeting`), and join. torch's TCPStore
carries what they say, as it does under torchrun, and the training processes (models/training/processes.py) find each
other by it, too. Each training has a secret under which its words stand: two of them cannot meet by mistake.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import distributed

from models.training.node_state import share_state
from models.training.nodes import Endpoint, Failure, NodeLostError, Place

_SECONDS_TO_SAY = 10.0  # so long a node that still lives needs at the most to say that it has failed, too
_SECONDS_TO_END = 60.0
_SECONDS_TO_KNOCK = 10.0
_SECONDS_BETWEEN_LOOKS = 0.2
_PATIENCE = timedelta(seconds=60)
_NO_TICKET = 1 << 60


class Alone:
    """The one node of a training; use as a context."""

    def __init__(self) -> None:
        self.node, self.nodes, self.address = 0, 1, "127.0.0.1"
        self.endpoint = Endpoint(self.address, 0, "alone")
        self._server: Any = None

    def __enter__(self) -> "Alone":
        self._server, port = _listening(self.endpoint.address)
        self.endpoint = Endpoint(self.endpoint.address, port, self.endpoint.secret)
        return self

    def __exit__(self, _kind: object = None, error: BaseException | None = None, _trace: object = None) -> None:
        self._server = None  # an error keeps frames: its thread must not be collected in a process forked later

    def look(self) -> None:
        """Raises what has ended another node."""

    def cause(self, ticket: int, error: BaseException) -> BaseException:
        """Of all that fail at once what failed first, after a process of this node has failed with `error`."""
        return error

    def finish(self) -> None:
        """All processes of this node are done. Returns when those of the others are, as `look` does."""


class Together(Alone):
    """One of several nodes; as a context it is entered when all have come. Raises RuntimeError where that takes too
    long, NodeLostError where the first one cannot be reached, ValueError for an address that is none of this machine.
    """

    def __init__(self, place: Place, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.node, self.nodes, self.address = place.node, place.nodes, place.address
        self._place, self._tell = place, tell
        self._store: Any = None
        self._has_said = False
        self._gone: list[int] = []

    def __enter__(self) -> "Together":
        place = self._place
        deadline = time.monotonic() + place.wait_seconds
        if self.node == 0:
            try:
                self._server, port = _listening(place.address)
            except OSError as error:
                raise ValueError(f"{place.address}, where the other nodes shall find this one: {error}") from None
            self.endpoint = Endpoint(place.address, port, secrets.token_hex(16))
            self._store = distributed.PrefixStore(self.endpoint.secret, self._server)  # type: ignore[attr-defined]
            place.meeting.tell(self.endpoint)
        else:
            self.endpoint = self._found(deadline)
            self._store = _reached(self.endpoint, _PATIENCE)
        try:
            self._wait_for_all(deadline)
        except BaseException as error:
            self.__exit__(None, error)
            raise
        return self

    def __exit__(self, _kind: object = None, error: BaseException | None = None, _trace: object = None) -> None:
        with suppress(NodeLostError):
            if error is not None and not self._has_said:
                self._say(None, error)
            with self._speaking():
                self._store.set(f"left/{self.node}", b"")
                if self.node == 0:  # whoever listens is the last to go
                    self._silent("left", _SECONDS_TO_SAY)
        self._store = None
        super().__exit__()

    def _found(self, deadline: float) -> Endpoint:
        while (endpoint := self._place.meeting.ask()) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"node 1 of {self.nodes} has not said within {self._place.wait_seconds:g} s where it listens"
                )
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return endpoint

    def _wait_for_all(self, deadline: float) -> None:
        with self._speaking():
            self._store.set(f"here/{self.node}", b"")
            while missing := [node for node in range(self.nodes) if not self._has("here", node)]:
                if time.monotonic() > deadline:
                    raise RuntimeError(_came(self.nodes, missing, self._place.wait_seconds))
                self._tell(f"{self.nodes - len(missing)} of {self.nodes} nodes are here, the others are waited for")
                self.look()
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def share_state(self, work: Path) -> None:
        """Bring what belongs to the newest checkpoint of all nodes into the folder `work` of each; all must call it."""
        with self._speaking():
            share_state(self._store, self.node, self.nodes, work)

    def look(self) -> None:
        with self._speaking():
            failures = self._failures()
        if failures:
            node, first = min(failures.items(), key=lambda entry: entry[1].ticket)
            raise first.error(node)

    def cause(self, ticket: int, error: BaseException) -> BaseException:
        try:
            silent = self._say(ticket, error)
            with self._speaking():
                failures = self._failures()
        except NodeLostError as lost:
            return error if ticket == 0 else lost
        if silent and ticket:
            return NodeLostError(f"node {silent[0] + 1} of {self.nodes} is gone")
        node, first = min(failures.items(), key=lambda entry: entry[1].ticket, default=(-1, None))
        return error if first is None or ticket <= first.ticket else first.error(node)

    def _say(self, ticket: int | None, error: BaseException) -> list[int]:
        """Tell the others what ended this node, and wait until they end as well: gives those that have not, which are
        gone. Without a ticket it takes the next one."""
        self._has_said = True
        with self._speaking():
            number = int(self._store.add("tickets", 1)) if ticket is None else ticket
            self._store.set(f"failed/{self.node}", json.dumps(vars(Failure.of(number, error))))
            self._gone = self._silent("failed", _SECONDS_TO_SAY)
        return self._gone

    def _silent(self, word: str, seconds: float) -> list[int]:
        """Which of the others that have come do not say so within so many seconds, nor that they are done."""
        came = [each for each in self._others() if self._has("here", each) and each not in self._gone]
        deadline = time.monotonic() + seconds
        while silent := [each for each in came if not (self._has(word, each) or self._has("done", each))]:
            if time.monotonic() > deadline:
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return silent

    def finish(self) -> None:
        with self._speaking():
            self._store.set(f"done/{self.node}", b"")
            if self.node == 0:
                self._silent("failed", _SECONDS_TO_END)
                self.look()

    def _others(self) -> list[int]:
        return [node for node in range(self.nodes) if node != self.node]

    def _has(self, what: str, node: int) -> bool:
        return bool(self._store.check([f"{what}/{node}"]))

    def _failures(self) -> dict[int, Failure]:
        """Of the other nodes."""
        return {
            node: Failure(**json.loads(self._store.get(f"failed/{node}")))
            for node in self._others()
            if self._has("failed", node)
        }

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Raises NodeLostError where the store, which the first node holds, is gone, or what another one is to say does
        not come."""
        try:
            yield
        except distributed.DistError as error:
            whose = "another node" if self.node == 0 else f"node 1 of {self.nodes}"
            raise NodeLostError(f"{whose} is gone: {str(error).splitlines()[0]}") from None


def ticket_of(endpoint: Endpoint) -> int:
    """The number of a failure among those of all nodes, from 1; _NO_TICKET where the first node is gone."""
    with suppress(distributed.DistError, NodeLostError):
        return int(_reached(endpoint, timedelta(seconds=5)).add("tickets", 1))
    return _NO_TICKET


def _listening(address: str) -> tuple[Any, int]:
    """A store that listens on this address alone, where torch's would on all, and its port."""
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        listening.bind((address, 0))
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    port: int = listening.getsockname()[1]
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=True, wait_for_workers=False, timeout=_PATIENCE, master_listen_fd=listening.detach()
    )
    return store, port


def _reached(endpoint: Endpoint, patience: timedelta) -> Any:
    """Raises NodeLostError where nobody listens."""
    try:
        socket.create_connection(
            (endpoint.address, endpoint.port), _SECONDS_TO_KNOCK
        ).close()  # torch would go on asking
        store = distributed.TCPStore(  # type: ignore[attr-defined]
            endpoint.address, endpoint.port, is_master=False, wait_for_workers=False, timeout=patience
        )
    except (OSError, distributed.DistError) as error:
        raise NodeLostError(
            f"the first node cannot be reached at {endpoint.address}, port {endpoint.port} "
            f"({str(error).splitlines()[0]}): the nodes must reach each other on all ports, and HALTER_NODE_ADDRESS "
            "says by which address"
        ) from None
    return distributed.PrefixStore(endpoint.secret, store)  # type: ignore[attr-defined]


def _came(nodes: int, missing: list[int], seconds: float) -> str:
    names = ", ".join(str(node + 1) for node in missing)
    return (
        f"{nodes - len(missing)} of {nodes} nodes came within {seconds:g} s, missing: {names}. Each needs a worker "
        "that is free at the same time; wait_minutes says how long they are waited for"
    )
