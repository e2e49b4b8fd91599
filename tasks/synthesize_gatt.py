"""Ghost Attention (Llama 2, section 3.3): dialogues in which one instruction of the first turn holds in every
answer.

What is learned is the last answer alone. Of the answers drawn at a turn those come first that the model ended; where
all of them were cut the best one goes on as context, and a dialogue whose last answer was cut is left out.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, Literal

from pydantic import Field

from data_store.errors import InputError
from models.config import Config, SamplingConfig
from models.seeds import derive_seed
from tasks.answers import answered, open_renderer, row_id
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.sampling import draw, score

Rows = list[dict[str, Any]]


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
    combined_share: float = Field(
        default=0.25, ge=0, le=1, description="Share of dialogues with two instructions of different kinds at once"
    )
    unfinished: Literal["leave_out", "score"] = Field(
        default="leave_out",
        description="Dialogues whose last answer was cut at max_new_tokens. leave_out: not learned; score: learned, "
        "without an end",
    )
    temperature: float = Field(default=0.7, gt=0, description="At which the answers are drawn")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the answers are drawn")


class GattStepConfig(GattConfig):
    """The same, with the room that the other sections of the config leave for a dialogue."""

    dialogue_tokens: int = Field(description="A dialogue ends where the next answer might not fit")


@step(
    version=8,
    config=GattStepConfig,
    inputs={
        "policy": Input("model"),
        "helpfulness_reward": Input("model"),
        "instructions": Input("dataset", "instruction"),
        "prompts": Input("dataset", "prompt"),
        "base": BASE,
    },
    outputs={"dialogues": Output("dataset", "dialogue")},
    metrics=("dialogues", "turns", "combined", "finished", "ended_early", "left_out/cut"),
    headline="dialogues",
    about="Makes the Ghost Attention dialogues.",
    tags=("data",),
    spreads=True,
)
def synthesize_gatt(run: StepRun, config: GattStepConfig) -> Mapping[str, float]:
    """Sample with the instruction in every user turn; keep it in the first turn only. A dialogue that has no room for
    another answer ends; one with fewer than `min_turns` is left out."""
    from models.algorithms.gatt import place_instruction
    from models.checkpoint import load_policy, load_reward

    base = run.optional_path("base")
    renderer = open_renderer(run.path("policy"))
    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)
    reward = load_reward(run.path("helpfulness_reward"), base, dtype=config.sampling.dtype)
    rng = random.Random(run.seed)
    instructions, questions = trained_on(run.records("instructions"), run.records("prompts"))
    plans = [_plan(config, instructions, questions, rng) for _ in range(config.dialogues)]
    active, room = plans, config.dialogue_tokens - config.sampling.max_new_tokens
    drawn: list[bool] = []
    for turn in range(config.max_turns):
        active = [plan for plan in active if turn < len(plan["questions"])]
        for plan in active:
            plan["asked"] = [*plan["messages"], {"role": "user", "content": plan["questions"][turn]}]
        before = [place_instruction(plan["asked"], plan["text"], "every") for plan in active]
        fits = [len(renderer.prompt(messages)) <= room for messages in before]
        active, asked = list(compress(active, fits)), list(compress(before, fits))
        if not active:
            break
        answers = draw(
            policy,
            renderer,
            asked,
            config.sampling,
            temperatures=[config.temperature] * config.samples,
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
            plan["messages"] = answered(plan["asked"], plan["last"].text)
        run.progress((turn + 1) / config.max_turns, f"turn {turn + 1} of {config.max_turns}")
    long_enough = [plan for plan in plans if len(plan["messages"]) >= 2 * config.min_turns]
    if not long_enough:
        raise InputError(
            f"no dialogue has room for gatt.min_turns {config.min_turns}: lower it or gatt.sampling.max_new_tokens, or "
            "raise fine_tune.training.sequence_length"
        )
    finished = [plan for plan in long_enough if plan["last"].finished or config.unfinished == "score"]
    if not finished:
        raise ValueError(
            f"no last answer of {len(plans)} dialogues ended within {config.sampling.max_new_tokens} tokens: raise "
            "gatt.sampling.max_new_tokens or gatt.samples, or set gatt.unfinished: score to learn cut answers"
        )
    rows = [
        {
            "dialogue_id": row_id(run.part, "gatt", number),
            "source": f"synthesize_gatt@{run.part}",
            "kind": "gatt",
            "messages": place_instruction(plan["messages"], plan["learned"], "first"),
            **plan["last"].columns(),
        }
        for number, plan in enumerate(finished)
    ]
    run.write_rows("dialogues", rows)
    run.table("examples", [{"dialogue": _readable(row["messages"])} for row in rows[:5]])
    return {
        "dialogues": float(len(rows)),
        "turns": sum(len(plan["messages"]) // 2 for plan in finished) / len(rows),
        "combined": float(sum(plan["combined"] for plan in finished)),
        "finished": sum(drawn) / len(drawn),
        "left_out/cut": float(len(long_enough) - len(finished)),
        "ended_early": float(sum(len(plan["messages"]) < 2 * len(plan["questions"]) for plan in plans)),
    }


def trained_on(instructions: Rows, prompts: Rows) -> tuple[Rows, list[str]]:
    """The instructions, and the ordinary questions, that may be trained on. Raises InputError where there is none."""
    instructions = [row for row in instructions if row["split"] == "train"]
    questions = [
        row["messages"][-1]["content"] for row in prompts if row["split"] == "train" and row["axis"] == "helpfulness"
    ]
    if not instructions:
        raise InputError("there is no instruction to train on: give more data.instructions, or set gatt: null")
    if not questions:
        raise InputError("there is no ordinary prompt to ask in Ghost Attention: give more, or set gatt: null")
    return instructions, questions


def _plan(config: GattConfig, instructions: Rows, questions: list[str], rng: random.Random) -> dict[str, Any]:
    """One dialogue to be: what is asked in each turn, what stands before every question, and what is learned in its
    place."""
    chosen = [rng.choice(instructions)]
    others = [row for row in instructions if row["kind"] != chosen[0]["kind"]]
    if others and rng.random() < config.combined_share:
        chosen.append(rng.choice(others))
    short = rng.random() < config.short_share
    turns = min(rng.randint(config.min_turns, config.max_turns), len(questions))
    return {
        "text": " ".join(row["text"] for row in chosen),
        "learned": " ".join(row["short" if short else "text"] for row in chosen),
        "combined": len(chosen) > 1,
        "questions": rng.sample(questions, turns),
        "messages": [],
        "last": None,
    }


def best_finished(finished: Sequence[bool], scores: Sequence[float]) -> int:
    """The place of the highest score among the finished answers, among all where none is; of equals the first."""
    return max(range(len(scores)), key=lambda k: (finished[k], scores[k], -k))


def _readable(messages: Any) -> str:
    return " / ".join(f"{message['role']}: {message['content']}" for message in messages)
