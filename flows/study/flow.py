"""All variants of a study, one after the other, each a flow run of the recipe under the study's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed

from data_store.layout import MARKER
from data_store.store import Store
from flows.ends import WAITING, done, result_of
from flows.pipeline import recipe
from flows.recipe.config import RunConfig
from flows.server.cancellation import RunCancelledError, cancellable
from flows.session import Listener, session_of, store_root
from flows.shown.artifact_index import index_key
from flows.study.config import Study, StudyConfig, open_study
from flows.study.picture import data_url
from flows.study.results import Row, interval_in_words, rows_of, saved_in_words, tables
from flows.study.scaling_picture import picture_of

INCOMPLETE = "Incomplete"
_CELL = str.maketrans({"|": "\\|", "<": "&lt;", "\n": " "})


@dataclass(frozen=True)
class Audience:
    """Who hears of the steps of all runs of this process's study, and of each run when it begins."""

    on_step: Listener
    on_run: Callable[[str], None]


_audience: list[Audience] = []


@contextmanager
def heard_by(audience: Audience) -> Iterator[None]:
    """Let somebody hear for the length of the block."""
    _audience.append(audience)
    try:
        yield
    finally:
        _audience.remove(audience)


def kin_of(study: Study, run: RunConfig) -> tuple[Store, ...]:
    """The stores whose finished steps a run of the study takes over: that of the config as it is, which is only read,
    and those of the other runs of the study."""
    names = [study.base.name, *(each.name for _, each in study.runs)]
    roots = [store_root(name) for name in dict.fromkeys(names) if name != run.name]
    return tuple(Store.open(root) for root in roots if (root / MARKER).exists())


@flow(
    name="study",
    flow_run_name="study {config.name}",
    description="Runs of the recipe that differ in a few values. What two of them have in common is computed once.",
)
@cancellable
def study(config: StudyConfig) -> State[Any]:
    """Each variant with each seed, one after the other; what is finished is taken up again. A run that fails does not
    keep the others from being done; the study then ends in the state «Incomplete», of type Failed, which says why."""
    opened = open_study(config)
    lacking: dict[str, str] = {}
    for number, (variant, run) in enumerate(opened.runs, start=1):
        told = f"run {number} of {len(opened.runs)}: {variant.label}, seed {run.seed} ({run.name})"
        get_run_logger().info(told)
        for each in _audience:
            each.on_run(told)
        why = _one(opened, run)
        if why:
            lacking[run.name] = why
    rows = rows_of(opened)
    publish(opened, rows)
    if lacking:
        told = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        count = f"{len(lacking)} of {len(opened.runs)} runs did not come to their end"
        return Failed(name=INCOMPLETE, message=f"{count}: {told}")
    return done(saved_in_words(rows), len(opened.runs))


def _one(opened: Study, run: RunConfig) -> str:
    """Bring one run up to date; gives why it did not come to its end."""
    heard = [each.on_step for each in _audience]
    with session_of(run) as session:
        session.kin = kin_of(opened, run)
        session.listeners += heard
        try:
            ended = recipe(run, return_state=True)
            result_of(ended)
        except RunCancelledError:
            raise  # whoever cancels one run of a study has had enough of it
        except Exception as error:
            return str(error) or type(error).__name__
        finally:
            session.listeners = [each for each in session.listeners if each not in heard]
        return str(ended.message) if ended.name == WAITING else ""


def publish(opened: Study, rows: Sequence[Row]) -> None:
    """The tables and the picture of a study, as artifacts of its flow run."""
    key, name = index_key(opened.config.name).removeprefix("index-"), opened.config.name
    words = interval_in_words(rows)
    for what, table in zip(("figures", "further", "costs"), tables(rows), strict=True):
        if table:
            told = f"{name}: {saved_in_words(rows) if what == 'costs' else words}"
            create_table_artifact(key=f"study-{what}-{key}", table=table, description=told)
    svg = picture_of(opened.config, rows)
    if svg is not None:
        create_image_artifact(key=f"study-picture-{key}", image_url=data_url(svg), description=f"{name}: {words}")
    lines = [f"# Study {name}", "", opened.config.description, "", "| variant | run | index |", "|---|---|---|"]
    lines += [
        f"| {variant.label.translate(_CELL)} | `{run.name}` | [{run.name}](/artifacts/key/{index_key(run.name)}) |"
        for variant, run in opened.runs
    ]
    create_markdown_artifact(key=f"study-{key}", markdown="\n".join(lines), description=f"The runs of study {name}")
