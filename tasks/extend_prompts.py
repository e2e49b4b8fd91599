"""The prompts of an iteration: those of the foundation and, among the safety prompts, what red teams have written
against earlier policies (Llama 2, section 4.3)."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pydantic import Field

from data_store.reading.row_import import prompt_id_of
from data_store.rows import VIOLATIONS
from models.config import TEMPLATE_DATE, Config
from tasks.answers import open_renderer
from tasks.engine.step import Input, Output, StepRun, step
from tasks.held_out import plain


class RedTeamConfig(Config):
    """Which prompts of closed red-team sessions join the safety prompts of later iterations."""

    attacks: Literal["violations", "all"] = Field(
        default="violations", description="violations: what a policy failed at; all: also what it withstood"
    )


class ExtendConfig(RedTeamConfig):
    """The same, with the room that the other sections of the config leave for a prompt."""

    prompt_tokens: int
    template_date: date = TEMPLATE_DATE


@step(
    version=3,
    config=ExtendConfig,
    inputs={
        "prompts": Input("dataset", "prompt"),
        "tokenizer": Input("tokenizer"),
        "attacks": Input("dataset", "attack", many=True),
        "reward_tests": Input("dataset", "test_pair", optional=True),
    },
    outputs={"prompts": Output("dataset", "prompt")},
    metrics=("prompts", "prompts/red_team"),
    headline="prompts/red_team",
    about="Adds the prompts of red teams to the prompts of an iteration.",
    tags=("data",),
)
def extend_prompts(run: StepRun, config: ExtendConfig) -> Mapping[str, float]:
    """All prompts of the foundation, and each prompt of a red team once: what is there already, in whatever case and
    spacing, is left out, also where it is held out, and so is what tests reward models. They serve for training;
    evaluation keeps its own."""
    renderer = open_renderer(run.path("tokenizer"), config.template_date)
    rows = run.records("prompts")
    seen = {plain(row["messages"]) for row in [*rows, *run.records("reward_tests")]}
    outcomes: dict[str, Counter[str]] = {}
    added: list[dict[str, Any]] = []
    for attack in sorted(run.records("attacks"), key=lambda row: (int(row["iteration"][1:]), row["attack_id"])):
        counts = outcomes.setdefault(f"red team of {attack['iteration']}", Counter())
        violates, text = attack["severity"] in VIOLATIONS, plain(attack["messages"])
        counts.update({"attacks": 1, "violations": int(violates)})
        if config.attacks == "violations" and not violates:
            counts["withstood"] += 1
        elif text in seen:
            counts["known already"] += 1
        elif len(renderer.prompt(attack["messages"])) > config.prompt_tokens:
            counts["too long"] += 1
        else:
            seen.add(text)
            counts["new prompts"] += 1
            added.append(_prompt(attack))
    run.write_rows("prompts", [*rows, *added])
    columns = ("attacks", "violations", "new prompts", "known already", "too long", "withstood")
    run.table(
        "red-team",
        [{"from": source, **{name: counts[name] for name in columns}} for source, counts in outcomes.items()],
    )
    run.table("examples", [{"prompt": row["messages"][-1]["content"], "from": row["source"]} for row in added[-8:]])
    return {"prompts": float(len(rows) + len(added)), "prompts/red_team": float(len(added))}


def _prompt(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_id": prompt_id_of(attack["messages"]),
        "source": f"red-team@{attack['iteration']}",
        "kind": attack["risk"],
        "axis": "safety",
        "split": "train",
        "messages": attack["messages"],
    }
