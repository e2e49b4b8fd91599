"""The whole recipe on one page."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from pydantic import BeforeValidator, WithJsonSchema

from flows.data_look import look_into_files
from flows.ends import done, nothing_new, result_of, stopped, up_to_date, waiting
from flows.foundation import foundation
from flows.gates import StoppedAtGateError
from flows.intakes import take_in
from flows.iteration import iteration
from flows.recipe.config import RunConfig, load_config
from flows.resources import check_ready
from flows.samplers import check_servers
from flows.server.cancellation import cancellable
from flows.session import recall, session_of, sole_config
from flows.shown.artifact_index import publish_index
from flows.shown.dry_run import computed, foresee
from flows.shown.status import stale_keys
from flows.shown.summary import summary_rows
from flows.up_to_date import in_words, look
from tasks.incoming.judged import waits_of


def _opened(config: object) -> object:
    """What deployments give: the path of a config file, or nothing for the last run."""
    if isinstance(config, str):
        return load_config(Path(config)) if config else recall()
    return config


@flow(
    name="recipe",
    flow_run_name="{config.name}",
    description="The Llama 2-Chat recipe: foundation, then V1 … Vn. Finished steps are taken up again, never redone.",
)
@cancellable
def recipe(
    config: Annotated[
        RunConfig, BeforeValidator(_opened), WithJsonSchema({"type": "string", "examples": ["configs/demo.yaml"]})
    ],
) -> list[dict[str, object]] | State[Any]:
    """Filter → tokenizer → pretrain → SFT → V1 … Vn. Returns one row of figures per iteration. Where people have to
    judge first it ends in the state «Waiting», and where a gate of the config does not hold in the state «Stopped at a
    gate»; start it again when they have, or when you have changed the bound or redone the step. Where the config's
    `schedule` has it take in new preferences, and none have come, it ends at once in the state «Nothing new», and where
    every step is finished, in the state «Up to date».

    Args:
        config: A YAML file, such as configs/demo.yaml; empty for the config of the last run
    """
    with sole_config(config), session_of(config) as session:
        session.remember()
        start = take_in(session)
        session.taken_in = start.text if start else ""
        if start is not None:
            create_markdown_artifact(key="taken-in", markdown=start.text, description="What this run has taken in")
        if start is not None and start.idle:
            return nothing_new(start.text, summary_rows(session))
        session.adopt()
        standing = look(session)
        if standing.nothing_to_do:
            rows, where = publish_index(session)
            return up_to_date(f"{in_words(standing)}; {where}", rows)
        look_into_files(session, stale_keys(standing.cells))
        places = computed(foresee(session.store, session.plan, config.gates, standing.cells))
        session.check(places)
        check_ready(session, places)
        check_servers(session, places)
        waits, stop, ended = None, None, list[State[Any]]()
        try:
            with tags("iteration:V0"):
                ended.append(foundation(config, return_state=True))
                result_of(ended[-1])
            for part in session.parts:
                with tags(f"iteration:{part}"):
                    ended.append(iteration(config, part, return_state=True))
                    waits = result_of(ended[-1])
                if waits:
                    break
        except StoppedAtGateError as error:
            stop = error
        wait = next(iter(waits_of(session.store, session.plan).values()), None)
        rows, where = publish_index(session, [str(state.state_details.flow_run_id) for state in ended])
    if stop is not None:
        return stopped(stop)
    return done(where, rows) if wait is None else waiting(wait, rows)
