"""Ghost Attention (Llama 2, section 3.3): dialogues in which one instruction of the first turn holds in every
answer.

What is learned is the last answer alone. Of the answers drawn at a turn those come first that the model ended; where
all of them were cut the best one goes on as context, and a dialogue whose last answer was cut is left out.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from models.config import Config, SamplingConfig
from models.seeds import derive_seed
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.sampling import answered, draw, open_renderer, row_id, score


class GattConfig(Config):
    """How many dialogues, how long, and from which iteration on."""

    first_iteration: int = Field(default=3, ge=1, description="Ghost Attention starts with this iteration")
    dialogues: int = Field(default=140, ge=1, description="Dialogues of each iteration")
    min_turns: int = Field(default=2, ge=1, description="User turns of a dialogue")
    max_turns: int = Field(default=6, ge=1, description="And at the most so many")
    samples: int = Field(default=2, ge=1, description="Answers drawn per turn; the helpfulness model takes the best")
    short_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of dialogues that learn the shortened instruction"
    )
    temperature: float = Field(default=0.7, gt=0, description="At which the answers are drawn")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the answers are drawn")


@step(
    version=4,
    config=GattConfig,
    inputs={
        "policy": Input("model"),
        "helpfulness_reward": Input("model"),
        "instructions": Input("dataset", "instruction"),
        "prompts": Input("dataset", "prompt"),
        "base": BASE,
    },
    outputs={"dialogues": Output("dataset", "dialogue")},
    metrics=("dialogues", "turns", "finished", "left_out/cut"),
    headline="dialogues",
    about="Makes the Ghost Attention dialogues.",
    tags=("data",),
)
def synthesize_gatt(run: StepRun, config: GattConfig) -> Mapping[str, float]:
    """Sample with the instruction in every user turn; keep it in the first turn only."""
    from models.algorithms.gatt import place_instruction
    from models.checkpoint import load_policy, load_reward

    base = run.optional_path("base")
    renderer = open_renderer(run.path("policy"))
    policy = load_policy(run.path("policy"), base)
    reward = load_reward(run.path("helpfulness_reward"), base)
    rng = random.Random(run.seed)
    instructions = [row for row in run.records("instructions") if row["split"] == "train"]
    questions = [
        row["messages"][-1]["content"]
        for row in run.records("prompts")
        if row["split"] == "train" and row["axis"] == "helpfulness"
    ]
    if not instructions:
        raise ValueError("there is no instruction to train on: give data.instructions, or set gatt: null")
    plans: list[dict[str, Any]] = [
        {
            "instruction": rng.choice(instructions),
            "questions": rng.sample(questions, rng.randint(config.min_turns, config.max_turns)),
            "short": rng.random() < config.short_share,
            "messages": [],
            "last": None,
        }
        for _ in range(config.dialogues)
    ]
    drawn: list[bool] = []
    for turn in range(config.max_turns):
        active = [plan for plan in plans if turn < len(plan["questions"])]
        for plan in active:
            plan["messages"].append({"role": "user", "content": plan["questions"][turn]})
        asked = [place_instruction(plan["messages"], plan["instruction"]["text"], "every") for plan in active]
        answers = draw(
            policy,
            renderer,
            asked,
            config.sampling,
            temperature=config.temperature,
            num_samples=config.samples,
            seed=derive_seed(run.seed, "turn", turn),
        )
        scores = score(
            [reward],
            renderer,
            [(m, response) for m, responses in zip(asked, answers, strict=True) for response in responses],
            config.sampling,
        )
        drawn += [response.finished for responses in answers for response in responses]
        for i, (plan, responses) in enumerate(zip(active, answers, strict=True)):
            own = scores[i * config.samples : (i + 1) * config.samples]
            plan["last"] = responses[best_finished([r.finished for r in responses], [value for (value,) in own])]
            plan["messages"] = answered(plan["messages"], plan["last"].text)
        run.progress((turn + 1) / config.max_turns, f"turn {turn + 1} of {config.max_turns}")
    rows = _rows(run, plans)
    if not rows:
        raise ValueError(
            f"no last answer of {len(plans)} dialogues ended within {config.sampling.max_new_tokens} tokens: raise "
            "gatt.sampling.max_new_tokens or gatt.samples, or set gatt: null"
        )
    run.write_rows("dialogues", rows)
    run.table("examples", [{"dialogue": _readable(row["messages"])} for row in rows[:5]])
    return {
        "dialogues": float(len(rows)),
        "turns": sum(len(plan["questions"]) for plan in plans) / len(plans),
        "finished": sum(drawn) / len(drawn),
        "left_out/cut": float(len(plans) - len(rows)),
    }


def _rows(run: StepRun, plans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The dialogues to learn, the instruction in the first turn only: those whose last answer is finished."""
    from models.algorithms.gatt import place_instruction

    return [
        {
            "dialogue_id": row_id(run.part, "gatt", number),
            "source": f"synthesize_gatt@{run.part}",
            "kind": "gatt",
            "messages": place_instruction(
                plan["messages"], plan["instruction"]["short" if plan["short"] else "text"], "first"
            ),
            **plan["last"].columns(),
        }
        for number, plan in enumerate(plans)
        if plan["last"].finished
    ]


def best_finished(finished: Sequence[bool], scores: Sequence[float]) -> int:
    """The place of the highest score among the finished answers, among all where none is; of equals the first."""
    return max(range(len(scores)), key=lambda k: (finished[k], scores[k], -k))


def _readable(messages: Any) -> str:
    return " / ".join(f"{message['role']}: {message['content']}" for message in messages)
