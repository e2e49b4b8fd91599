"""A step that a flow on another machine has sent to this one's work pool: the flow run that its worker starts."""

from contextlib import suppress

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.sent_step import Sending, do_sent
from tasks.engine.remote.messages import FLOW

_STATES = {"COMPLETED": Completed, "FAILED": Failed, "CANCELLED": Cancelled}


@flow(name=FLOW, description="A step of a run whose flow is at work on another machine.")
def remote_step(objects: str, store: str, run: str, order: str, part: int = 0) -> State[None]:
    """Do the step of a run.

    Args:
        objects: Where the objects of its store lie, s3://BUCKET/PREFIX
        store: Which store this is
        run: The name of the run
        order: Where it lies under the prefix
        part: Of a step that trains on several machines, which of them this is, from 0
    """
    logger = get_run_logger()

    def tell(text: str) -> None:
        # rich ends a program whose terminal is gone, as it is when the worker alone was killed
        with suppress(SystemExit):
            logger.info("%s", text)

    came = do_sent(Sending(objects=objects, store=store, run=run, order=order, part=part), tell)
    return _STATES[came.state](message=came.message)
