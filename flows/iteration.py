"""One RLHF iteration."""

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.ends import part_of_a_run, waiting
from flows.recipe.config import RunConfig
from flows.session import session_of
from flows.steps import bring_up_to_date


@flow(
    name="iteration",
    flow_run_name="RLHF-{part}",
    description="Pairs, preferences → reward models → rejection sampling, GAtt → fine-tuning → PPO or DPO → evaluation",
    task_runner=cast(TaskRunner[Any], ThreadPoolTaskRunner(max_workers=2)),
)
@part_of_a_run
def iteration(config: RunConfig, part: str) -> State[Any] | None:
    """All that the recipe has for this part (flows/recipe/table.py). Where people have not judged the pairs yet, it
    ends there, in the state «Waiting», whose result says what it waits for."""
    with session_of(config) as session:
        wait = bring_up_to_date(session, part)
        return None if wait is None else waiting(wait, str(wait))
