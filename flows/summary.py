"""The figures of a run, one row per iteration, as the terminal, the Prefect UI and `halter status` show them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from data_store.names import AssetName
from flows.config import RunConfig
from flows.session import Session

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Column:
    """One figure: where it comes from among the metrics of an evaluation, and how it is written."""

    title: str
    metric: str
    form: Callable[[float], str]
    meaning: str


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


COLUMNS = (
    Column(
        "win help", "win_rate/helpfulness", _plain, "Win rate against SFT on held-out helpfulness prompts, ties half"
    ),
    Column("win safe", "win_rate/safety", _plain, "Win rate against SFT on held-out adversarial prompts, ties half"),
    Column("oracle", "oracle_score", _plain, "Mean score of the annotator on all held-out prompts, 0 to 1"),
    Column("violation %", "violation", _percent, "Unsafe answers to adversarial prompts"),
    Column("false refusal %", "false_refusal", _percent, "Refusals of prompts that only sound dangerous"),
    Column("reward", "reward", _plain, "Mean combined reward under the iteration's own reward models"),
    Column("reward win", "reward_win_rate", _plain, "Win rate against SFT by the reward models that were optimised"),
    Column("gold win", "reward/gold_win_rate", _plain, "The same by a reward model that nothing was optimised against"),
    Column("RM acc help", "accuracy/helpfulness/all", _plain, "Helpfulness reward model on held-out pairs"),
    Column("RM acc safe", "accuracy/safety/all", _plain, "Safety reward model on held-out pairs"),
    Column("KL", "kl_to_sft", _plain, "Nats per response between this policy and SFT"),
    Column("kept turn 4", "instruction/turn_4", _plain, "Answers in turn 4 that follow the instruction of turn 1"),
)


def judge_of(config: RunConfig) -> str:
    """Whose judgement the figures are."""
    if config.annotator is None:
        return "no annotator: judged by the run's own reward models alone"
    return "judged by a simulated annotator"


def summary_rows(session: Session) -> list[dict[str, object]]:
    """One row per evaluated policy; figures that were not measured are «–», seconds are those of the part's
    computing."""
    store, plan = session.store, session.plan
    heads = store.heads()
    metrics: dict[str, Figures] = {run.run.run_id: run.metrics for run in store.runs()}
    seconds: dict[str, float] = {}
    for (part, _), call in plan.items():
        run_ids = {heads[asset].run_id for asset in call.outputs.values() if asset in heads}
        for run_id in run_ids - {None}:
            seconds[part] = seconds.get(part, 0.0) + metrics[str(run_id)].get("seconds", 0.0)
    stage = session.config.final_stage
    rows: list[dict[str, object]] = []
    for part in ("V0", *session.parts):
        after = f"{part} + {stage.upper()}" if (part, stage) in plan else part
        for name, label in (("evaluation-sampled", f"{part} before {stage.upper()}"), ("evaluation", after)):
            head = heads.get(AssetName("report", name, part))
            if head is None or head.run_id is None:
                continue
            figures = metrics[head.run_id]
            row: dict[str, object] = {"policy": label}
            row |= {
                column.title: column.form(figures[column.metric]) if column.metric in figures else "–"
                for column in COLUMNS
            }
            row["seconds"] = f"{seconds.get(part, 0.0):.0f}" if name == "evaluation" else ""
            rows.append(row)
    return rows
