"""The whole recipe on one page."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from pydantic import BeforeValidator, WithJsonSchema

from flows.config import RunConfig, load_config
from flows.foundation import foundation
from flows.gates import StoppedAtGateError
from flows.intakes import take_in
from flows.iteration import iteration
from flows.session import recall, session_of, sole_config
from flows.steps import nothing_new, stopped, up_to_date, waiting
from flows.summary import COLUMNS, judge_of, summary_rows
from flows.up_to_date import in_words, look
from flows.waiting import waits_of


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
            with session.store.one_state():
                rows = summary_rows(session)
            _show(rows, judge_of(config))
            return up_to_date(in_words(standing), rows)
        waits, stop = None, None
        try:
            with tags("iteration:V0"):
                foundation(config)
            for part in session.parts:
                with tags(f"iteration:{part}"):
                    waits = iteration(config, part)
                if waits:
                    break
        except StoppedAtGateError as error:
            stop = error
        rows = summary_rows(session)
        wait = next(iter(waits_of(session.store, session.plan).values()), None) if waits else None
    _show(rows, judge_of(config))
    if stop is not None:
        return stopped(stop)
    return rows if wait is None else waiting(wait, rows)


def _show(rows: list[dict[str, object]], judge: str) -> None:
    create_table_artifact(key="progress-per-iteration", table=rows, description=f"Figures per iteration, {judge}")
    create_markdown_artifact(key="how-to-read", markdown=_guide(judge), description="What the columns mean")


def _guide(judge: str) -> str:
    lines = [f"# Figures per iteration\n\n{judge}\n", "| column | meaning |", "|---|---|"]
    return "\n".join(lines + [f"| {column.title} | {column.meaning} |" for column in COLUMNS])
