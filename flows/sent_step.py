"""A step that a flow on another machine has sent here, done. It needs no store and no config: the bucket with the
store's objects, reached by this machine's own credentials, and the same code.

`python -m flows.sent_step` is what a worker of Ray starts (tasks/engine/on_ray): it reads one order as a line of JSON
from standard input, answers with one line, and ends at once, with the step, when that input closes.
"""

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable

from data_store.commands import speak_of
from data_store.content.object_places import objects_of
from data_store.errors import InputError, StoreError
from data_store.places import Places
from flows.energy import EnergyMeter
from flows.session import home
from tasks.engine.remote.line import FlowGoneError
from tasks.engine.remote.messages import Came, Message, Order, read

_PREFIX = re.compile(r"steps/[0-9a-f]{32}/[0-9a-f]{32}/")
_STORE = re.compile(r"[A-Za-z0-9-]{1,64}")


class Sending(Message):
    """Where an order lies: under `order` in the bucket of a store; and which part of it is to be done."""

    objects: str
    store: str
    run: str
    order: str
    part: int = 0


def do_sent(sending: Sending, tell: Callable[[str], None]) -> Came:
    """Do the step. `tell` hears of its log. Raises InputError for what no flow of halter gives, StoreError where the
    bucket is out of reach."""
    from data_store.content.bucket_objects import BucketObjects
    from tasks.engine.remote.received import carry_out, prepared

    if not _PREFIX.fullmatch(sending.order) or not _STORE.fullmatch(sending.store):
        raise InputError("order and store are what a flow of halter gives: start this from none but it")
    speak_of(sending.run)
    root = prepared(home() / ".remote" / sending.store)
    place = objects_of(root, Places(objects=sending.objects, store=sending.store))
    if not isinstance(place, BucketObjects):
        raise InputError(f"{sending.objects} is no bucket")
    place.check()
    reader = place.bucket.read(f"{sending.order}order")
    if reader is None:
        gone = "the flow that this step was for has ended, was cancelled, or does it elsewhere"
        return Came(state="CANCELLED", message=gone)
    wanted = read(Order, reader, reader.size)
    place.limit = None if wanted.cache_gb is None else int(wanted.cache_gb * 1e9)
    if not 0 <= sending.part < wanted.nodes:
        raise InputError(f"part {sending.part} of an order of {wanted.nodes}")
    meter = EnergyMeter(wanted.energy_country)
    try:
        came = carry_out(wanted, place, sending.order, root, socket.gethostname(), meter, tell, sending.part)
    except FlowGoneError as error:
        return Came(state="CANCELLED", message=str(error))
    finally:
        meter.close()
    return Came(state="FAILED" if came.startswith("failed") else "COMPLETED", message=came[:20_000])


def main() -> None:
    """One order."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    sending = Sending.model_validate_json(sys.stdin.readline())

    def watch() -> None:
        sys.stdin.read()  # until whoever started this is gone
        os._exit(1)  # its worker ends with it, and every child of that

    threading.Thread(target=watch, daemon=True).start()
    try:
        came = do_sent(sending, print)
    except (InputError, StoreError) as error:
        came = Came(state="FAILED", message=f"{error}"[:20_000])
    out.write(json.dumps(came.model_dump()) + "\n")
    out.flush()
    os._exit(0)  # the thread that watches would be waited for


if __name__ == "__main__":
    main()
