"""A step that a flow on another machine has sent to this one's work pool: the flow run that its worker starts.

It needs no store and no config here: the bucket with the store's objects, reached by this machine's own credentials,
and the same code.
"""

import re
import socket
from contextlib import suppress

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from data_store.commands import speak_of
from data_store.content.object_places import objects_of
from data_store.errors import InputError
from data_store.places import Places
from flows.energy import EnergyMeter
from flows.session import home
from tasks.engine.remote.line import FlowGoneError
from tasks.engine.remote.messages import FLOW, Order, read

_PREFIX = re.compile(r"steps/[0-9a-f]{32}/[0-9a-f]{32}/")
_STORE = re.compile(r"[A-Za-z0-9-]{1,64}")


@flow(name=FLOW, description="A step of a run whose flow is at work on another machine.")
def remote_step(objects: str, store: str, run: str, order: str) -> State[None]:
    """Do the step of a run.

    Args:
        objects: Where the objects of its store lie, s3://BUCKET/PREFIX
        store: Which store this is
        run: The name of the run
        order: Where it lies under the prefix
    """
    from data_store.content.bucket_objects import BucketObjects
    from tasks.engine.remote.received import carry_out, prepared

    if not _PREFIX.fullmatch(order) or not _STORE.fullmatch(store):
        raise InputError("order and store are what a flow of halter gives: start this from none but it")
    speak_of(run)
    logger = get_run_logger()
    root = prepared(home() / ".remote" / store)
    place = objects_of(root, Places(objects=objects, store=store))
    if not isinstance(place, BucketObjects):
        raise InputError(f"{objects} is no bucket")
    place.check()
    reader = place.bucket.read(f"{order}order")
    if reader is None:
        return Cancelled(message="the flow that this step was for has ended, was cancelled, or does it elsewhere")
    wanted = read(Order, reader, reader.size)
    place.limit = None if wanted.cache_gb is None else int(wanted.cache_gb * 1e9)
    meter = EnergyMeter(wanted.energy_country)

    def tell(text: str) -> None:
        # rich ends a program whose terminal is gone, as it is when the worker alone was killed
        with suppress(SystemExit):
            logger.info("%s", text)

    try:
        came = carry_out(wanted, place, order, root, socket.gethostname(), meter, tell)
    except FlowGoneError as error:
        return Cancelled(message=str(error))
    finally:
        meter.close()
    return Failed(message=came) if came.startswith("failed") else Completed(message=came)
