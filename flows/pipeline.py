"""The whole recipe on one page."""

from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.config import RunConfig
from flows.foundation import foundation
from flows.iteration import iteration
from flows.session import remember, session_of
from flows.summary import COLUMNS, judge_of, summary_rows


@flow(
    name="recipe",
    flow_run_name="{config.name}",
    description="The Llama 2-Chat recipe: foundation, then V1 … Vn. Finished steps are taken up again, never redone.",
)
def recipe(config: RunConfig) -> list[dict[str, object]]:
    """Filter → tokenizer → pretrain → SFT → V1 … Vn. Returns one row of figures per iteration."""
    remember(config)
    with session_of(config) as session:
        with tags("iteration:V0"):
            foundation(config)
        for part in config.parts:
            with tags(f"iteration:{part}"):
                iteration(config, part)
        rows = summary_rows(session)
    judge = judge_of(config)
    create_table_artifact(key="progress-per-iteration", table=rows, description=f"Figures per iteration, {judge}")
    create_markdown_artifact(key="how-to-read", markdown=_guide(judge), description="What the columns mean")
    return rows


def _guide(judge: str) -> str:
    lines = [f"# Figures per iteration\n\n{judge}\n", "| column | meaning |", "|---|---|"]
    return "\n".join(lines + [f"| {column.title} | {column.meaning} |" for column in COLUMNS])
