"""A step that trains on several nodes, as one part of it is told of the others.

The first one's process says by the bucket where it listens (models/training/meeting.py), under the prefix of its own
sending, so that no other training hears of it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from data_store.errors import InputError
from tasks.engine.remote.messages import Message, read

if TYPE_CHECKING:
    from data_store.content.bucket import Bucket
    from models.training.nodes import Endpoint

ADDRESS = "HALTER_NODE_ADDRESS"
_ANYWHERE = ("192.0.2.1", 9)  # of nobody (RFC 5737): no packet is sent, the system says which way it would go


class Among(Message):
    """Which of how many parts this one is, from 0; how long those that have come wait for the others; and where the
    order of the step lies."""

    part: int
    nodes: int
    wait_seconds: float
    objects: str
    order: str


class Listening(Message):
    """Where the first node listens, as `Endpoint`."""

    address: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:_-]{1,255}$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    secret: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class ByBucket:
    """How the nodes hear where the first one listens."""

    def __init__(self, bucket: "Bucket", prefix: str) -> None:
        self._bucket, self._key = bucket, f"{prefix}meeting"

    def tell(self, endpoint: "Endpoint") -> None:
        """Of the first one, once."""
        self._bucket.create(self._key, Listening(**vars(endpoint)).model_dump_json().encode())

    def ask(self) -> "Endpoint | None":
        """None while nothing was told. Raises UnreadableError for what no first node tells."""
        from models.training.nodes import Endpoint

        reader = self._bucket.read(self._key)
        return None if reader is None else Endpoint(**dict(read(Listening, reader, reader.size)))


def own_address() -> str:
    """By which address other machines reach this one: what HALTER_NODE_ADDRESS says, else that of the interface on
    which the default route is. Raises InputError where there is neither."""
    if told := os.environ.get(ADDRESS):
        return told
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect(_ANYWHERE)
            address: str = asked.getsockname()[0]
            return address
    except OSError as error:
        raise InputError(
            f"this machine has no route to others ({error.strerror}): set {ADDRESS} to the address by which the other "
            "nodes of a training reach it"
        ) from None


@contextmanager
def among(told: Among) -> Iterator[None]:
    """For the length of a step, whose training is shared with the other parts. All but the first end with it."""
    from data_store.content.bucket import open_bucket
    from models.training.nodes import Place, TookPartError, standing_at

    meeting = ByBucket(open_bucket(told.objects), told.order)
    place = Place(told.part, told.nodes, own_address(), told.wait_seconds, meeting)
    with suppress(TookPartError), standing_at(place):
        yield
