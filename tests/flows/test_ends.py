"""What the dashboard counts when a run waits or fails: flows of these names, a real server."""

import json
import subprocess
import sys

import pytest

from tests.flows.recipe_runs import ROOT, Home, ask

RUNS = """
import json, os
from prefect import flow, task
from data_store.errors import InputError
from flows.ends import part_of_a_run, result_of, waiting
from flows.gates import Stop, StoppedAtGateError
from tasks.engine.reading import Wait
from flows.recipe.watch_config import GateConfig

wait = Wait("V1", "collect_preferences", "v1-0123456789ab", 3, 48, None, None)
errors = {
    "wrong-input": InputError("pairs.jsonl, row 3: rating: is not one of the four"),
    "gated": StoppedAtGateError([Stop("V2", "ppo", GateConfig(step="ppo", metric="kl", at_most=15), 21.3)]),
}

@task(retries=0)
def step(how):
    raise errors[how]

@flow(name="ends-iteration", flow_run_name="{how} inner")
@part_of_a_run
def iteration(how: str):
    '''One part.'''
    if how == "waits":
        return waiting(wait, str(wait))
    if how in errors:
        step(how)
    return how

@flow(name="ends-recipe", flow_run_name="{how}")
def recipe(how: str):
    given = result_of(iteration(how, return_state=True))
    return waiting(wait, [given]) if how == "waits" else given

told = {}
for how in ("well", "waits", "wrong-input", "gated"):
    try:
        told[how] = [result_of(recipe(how, return_state=True)), ""]
    except Exception as error:
        told[how] = [type(error).__name__, str(error)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def ended(server: str) -> tuple[dict[str, list[str]], dict[str, dict[str, str]]]:
    """What each call gave or raised, and the flow runs that the server knows, by name."""
    environment = {**Home(ROOT).environment, "PREFECT_API_URL": f"{server}/api"}
    done = subprocess.run(
        [sys.executable, "-c", RUNS], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    flows = {"name": {"any_": ["ends-iteration", "ends-recipe"]}}
    runs = ask(server, "flow_runs/filter", flows=flows)
    return json.loads(done.stdout), {run["name"]: run for run in runs}


@pytest.mark.slow
def test_a_run_that_waits_for_people_is_neither_green_nor_red_and_gives_what_it_has(
    ended: tuple[dict[str, list[str]], dict[str, dict[str, str]]],
) -> None:
    told, runs = ended
    for name in ("waits", "waits inner"):
        assert (runs[name]["state_type"], runs[name]["state_name"]) == ("CANCELLED", "Waiting")
        assert runs[name]["end_time"], "it is over: nothing goes on with it, and it is vacuumed like others"
    assert told["waits"] == [["3 of 48 judgements in batch v1-0123456789ab"], ""]
    assert told["well"] == ["well", ""]
    assert runs["well"]["state_type"] == runs["well inner"]["state_type"] == "COMPLETED"


@pytest.mark.parametrize(("how", "error"), [("wrong-input", "InputError"), ("gated", "StoppedAtGateError")])
def test_what_goes_wrong_in_a_part_counts_once_as_failed_and_is_raised_as_what_it_is(
    ended: tuple[dict[str, list[str]], dict[str, dict[str, str]]], how: str, error: str
) -> None:
    told, runs = ended
    failed = [name for name, run in runs.items() if run["state_type"] == "FAILED" and name.startswith(how)]
    assert failed == [how]
    inner = runs[f"{how} inner"]
    assert (inner["state_type"], inner["state_name"]) == ("CANCELLED", "Cut short")
    assert told[how][0] == error
    assert told[how][1] in inner["state"]["message"]  # type: ignore[index]
    assert told[how][1] in runs[how]["state"]["message"]  # type: ignore[index]
