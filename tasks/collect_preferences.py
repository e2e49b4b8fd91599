"""Preference collection (Llama 2, section 3.2.1): people, the simulated annotator or a language model judge the pairs
that were drawn, or judged pairs come from a file."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from data_store.rows import SAFETY_LABELS
from models.config import Config
from tasks.answers import row_id
from tasks.draw_pairs import DrawConfig
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.extend_prompts import RedTeamConfig
from tasks.held_out import is_held_out, plain, texts
from tasks.judging.annotators import AnnotatorConfig
from tasks.judging.judge import Judging
from tasks.judging.people import PeopleConfig
from tasks.judging.registry import JUDGES, LMJudgeConfig
from tasks.judging.shares import SharesConfig
from tasks.pair_strategy import PairStrategyConfig


class JudgeConfig(Config):
    """What becomes of the judgements."""

    heldout_percent: int = Field(
        default=15, ge=0, le=90, description="Share of the prompts whose pairs test the reward models"
    )


class CollectConfig(DrawConfig, JudgeConfig):
    """Which prompts, how the two responses are drawn, and who judges."""

    strategy: PairStrategyConfig | None = Field(
        default=None, description="Which of the drawn pairs are shown; empty: all of them, as in the paper"
    )
    red_team: RedTeamConfig | None = Field(
        default=None, description="Prompts of red teams against earlier policies join the safety prompts; empty: none"
    )
    people: PeopleConfig | None = Field(default=None, description="Empty: the annotator judges, or pairs are imported")
    judge: LMJudgeConfig | None = Field(default=None, description="A language model that judges")
    sources: SharesConfig | None = Field(
        default=None, description="Who judges which share of the pairs; empty: the judge if there is one, all of them"
    )

    @property
    def shares(self) -> SharesConfig:
        """Who judges which share of the pairs, where people do not."""
        return self.sources or SharesConfig(**{"simulated" if self.judge is None else "lm": 1.0})

    def judging(self, annotator: AnnotatorConfig | None) -> Judging:
        """Who is to judge the pairs."""
        return Judging(annotator, self.people, self.judge, self.shares)


class CollectStepConfig(JudgeConfig):
    """The same for this step, with the run's annotator."""

    annotator: AnnotatorConfig | None = Field(default=None, description="Empty where it judges nothing")
    shares: SharesConfig = Field(default=SharesConfig(simulated=1), description="The annotator's share of the pairs")
    iterations: int = Field(default=1, ge=1, description="Imported pairs are dealt out over this many iterations")


def _judges(config: CollectStepConfig, _sources: Files, what: str, name: str) -> bool:
    return what == "annotator" and config.annotator is not None and config.annotator.name == name


# what others have judged: its rows become the batch as they are
JUDGED = ("imported", *dict.fromkeys(each.role for each in JUDGES if each.role))


@step(
    version=2,
    config=CollectStepConfig,
    inputs={
        "prompts": Input("dataset", "prompt"),
        "pairs": Input("dataset", "pair", optional=True),
        **{role: Input("dataset", "preference", optional=True) for role in JUDGED},
    },
    outputs={"preferences": Output("dataset", "preference", passes_on=JUDGED)},
    metrics=("pairs", "pairs/safety", "pairs/heldout", *(f"share/{label}" for label in SAFETY_LABELS)),
    takes_in=_judges,
    headline="pairs",
    about="Has the pairs judged by the annotator, or reads what people or a language model judged.",
    tags=("data",),
)
def collect_preferences(run: StepRun, config: CollectStepConfig) -> Mapping[str, float]:
    """One batch of judged pairs: judged by people, by the annotator and a language model, or the next part of an
    imported set."""
    rows = _imported(run, config) if run.all_inputs("imported") else _judgements(run, config)
    if not rows:
        raise ValueError(
            "no pair was judged, or whoever judged them is withdrawn: raise collect.ordinary_prompts, or import more "
            "preferences"
        )
    held_out = texts(run.records("prompts"))
    rows = [{**row, "split": _split(row, held_out, config.heldout_percent)} for row in rows]
    run.write_rows("preferences", rows)
    ratings: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["annotator"], row["axis"], row["rating"])
        ratings[key] = ratings.get(key, 0) + 1
    run.table(
        "ratings",
        [
            {"judged by": annotator, "axis": axis, "rating": rating, "pairs": count}
            for (annotator, axis, rating), count in sorted(ratings.items())
        ],
    )
    by = Counter(row["annotator"] for row in rows)
    run.table("sources", [{"judged by": who, "pairs": n, "share": n / len(rows)} for who, n in sorted(by.items())])
    run.table("examples", [_example(row) for row in rows[:8]])
    labels = [row["safety_label"] for row in rows if row["safety_label"]]
    return {
        "pairs": float(len(rows)),
        "pairs/safety": float(sum(row["axis"] == "safety" for row in rows)),
        "pairs/heldout": float(sum(row["split"] == "heldout" for row in rows)),
        **{f"share/{label}": labels.count(label) / len(labels) for label in sorted(set(labels))},
    }


def _split(row: Mapping[str, Any], held_out: frozenset[str], percent: int) -> str:
    """Pairs on a prompt that serves for evaluation train nothing. Of the others a file's own split is obeyed, and where
    it says none, the text decides."""
    if plain(row["messages"]) in held_out:
        return "heldout"
    return row.get("split") or ("heldout" if is_held_out(row["messages"], percent, "pairs") else "train")


def _judgements(run: StepRun, config: CollectStepConfig) -> list[dict[str, Any]]:
    """Of everybody who judges; several models bring theirs under one role."""
    by_role = {each.role: each for each in JUDGES}
    return [row for each in by_role.values() for row in each.rows(run, config)]


def _imported(run: StepRun, config: CollectStepConfig) -> list[dict[str, Any]]:
    number = int(run.part.removeprefix("V"))
    return [
        {**row, "iteration": run.part}
        for row in run.each_row("imported")
        if int(row_id(row["preference_id"]), 16) % config.iterations == (number - 1) % config.iterations
    ]


def _example(row: dict[str, Any]) -> dict[str, Any]:
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    return {
        "prompt": row["messages"][-1]["content"],
        "chosen": row[f"response_{better}"],
        "rejected": row[f"response_{worse}"],
        "rating": row["rating"],
        "judged by": row["annotator"],
    }
