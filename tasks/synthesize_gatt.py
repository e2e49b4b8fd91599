"""Ghost Attention (Llama 2, section 3.3): dialogues in which one instruction of the first turn holds in every
answer."""

import random
from collections.abc import Mapping
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
    version=3,
    config=GattConfig,
    inputs={
        "policy": Input("model"),
        "helpfulness_reward": Input("model"),
        "instructions": Input("dataset", "instruction"),
        "prompts": Input("dataset", "prompt"),
        "base": BASE,
    },
    outputs={"dialogues": Output("dataset", "dialogue")},
    metrics=("dialogues", "turns"),
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
    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)
    reward = load_reward(run.path("helpfulness_reward"), base, dtype=config.sampling.dtype)
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
        }
        for _ in range(config.dialogues)
    ]
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
            [answered(m, r.text) for m, responses in zip(asked, answers, strict=True) for r in responses],
            config.sampling,
        )
        for i, (plan, responses) in enumerate(zip(active, answers, strict=True)):
            own = scores[i * config.samples : (i + 1) * config.samples]
            best = max(range(config.samples), key=lambda k: (own[k], -k))
            plan["messages"].append({"role": "assistant", "content": responses[best].text})
        run.progress((turn + 1) / config.max_turns, f"turn {turn + 1} of {config.max_turns}")
    rows = []
    for number, plan in enumerate(plans):
        text = plan["instruction"]["short" if plan["short"] else "text"]
        rows.append(
            {
                "dialogue_id": row_id(run.part, "gatt", number),
                "source": f"synthesize_gatt@{run.part}",
                "kind": "gatt",
                "messages": place_instruction(plan["messages"], text, "first"),
            }
        )
    run.write_rows("dialogues", rows)
    run.table("examples", [{"dialogue": _readable(row["messages"])} for row in rows[:5]])
    return {"dialogues": float(len(rows)), "turns": sum(len(plan["questions"]) for plan in plans) / len(plans)}


def _readable(messages: Any) -> str:
    return " / ".join(f"{message['role']}: {message['content']}" for message in messages)
