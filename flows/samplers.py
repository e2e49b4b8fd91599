"""Whether the server can be reached, or started, that draws in the steps to come."""

import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from data_store.errors import InputError
from flows.recipe.samplers import sampling_of
from flows.resources import resource_of
from models.samplers.client import RefusedError, VllmError
from models.samplers.config import version_of
from models.samplers.replies import check_reached

if TYPE_CHECKING:
    from flows.session import Session


def check_servers(session: "Session", computed: Iterable[tuple[str, str]]) -> None:
    """Raises InputError, before anything is computed, where a server that steps of this machine are to draw by is not
    there, is another version, or cannot be started."""
    calls = (session.plan[place] for place in computed)
    here = (call for call in calls if resource_of(session.config.resources, call).is_here)
    call = next((call for call in here if call.vllm is not None), None)
    if call is None or call.vllm is None:
        return
    if call.vllm.url is None:
        if shutil.which(call.vllm.command[0]) is None:
            raise InputError(f"vllm.command: there is no program {call.vllm.command[0]} to start: install vLLM there")
        return
    sampling = sampling_of(call.config)
    try:
        check_reached(call.vllm, (sampling and version_of(sampling)) or "")
    except (VllmError, RefusedError, ValueError) as error:
        raise InputError(f"vllm.url {call.vllm.url}: {error}") from None
