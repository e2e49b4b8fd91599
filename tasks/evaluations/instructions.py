"""Whether an instruction of turn 1 is still kept in later turns (Llama 2, section 3.3, table 30 in appendix A.3.5).

What is kept is seen in the answer: by the instruction's own check where the file of instructions gives one, by the
simulated annotator where there is one. An instruction of which neither can tell is asked of nobody, and counted.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Any

from pydantic import Field

from data_store.estimate import Estimate
from data_store.reading.instruction_checks import InstructionCheck
from models.seeds import derive_seed
from tasks.engine.step import Input
from tasks.estimates import rate_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Rows, Subject
from tasks.sampling import draw

_GROUPS = {"train": "trained", "heldout": "held_out"}  # split → its name in metrics
CHECKS = "checks of data.instructions"
"""Who says what is kept, where the instructions themselves tell."""


class InstructionsConfig(AnsweringConfig):
    """Dialogues of several turns."""

    instruction_dialogues: int = Field(
        default=48, ge=0, description="Dialogues that test whether an instruction is kept"
    )
    instruction_turns: int = Field(
        default=6, ge=2, le=64, description="User turns of those; the paper's table 30 goes to 20"
    )
    instruction_reminded: bool = Field(
        default=False,
        description="Also with the instruction before every user turn: what is kept where nothing has to be "
        "remembered; it costs as much again",
    )


@dataclass(frozen=True)
class Asked:
    """A dialogue to be: the split of its instruction, what stands in front of the first question, a question for each
    turn, and who tells whether an answer keeps the instruction, by name and in deed."""

    split: str
    instruction: str
    questions: Sequence[str]
    judge: str
    is_kept: Callable[[str], bool]


@dataclass(frozen=True)
class Kept:
    """One answer: its dialogue and turn (from 1), and whether it keeps the instruction."""

    asked: Asked
    turn: int
    kept: bool


class Instructions(Evaluation):
    """For instructions that were trained on and held out."""

    inputs = {"instructions": Input("dataset", "instruction")}

    def metrics(self, config: InstructionsConfig) -> Iterable[Measure]:
        """By turn, and of all turns after the first."""
        turns = [*(f"turn_{turn}" for turn in range(1, config.instruction_turns + 1)), "later_turns"]
        for group in _GROUPS.values():
            for turn in turns:
                yield Measure(f"instruction/{group}/{turn}", "Share of answers there that follow the instruction")
            if config.instruction_reminded:
                for turn in turns:
                    meaning = "The same where the instruction stands before every question"
                    yield Measure(f"instruction/{group}/reminded/{turn}", meaning)
        yield Measure("instruction/turn_4", "Answers in turn 4 that follow the instruction of turn 1", "kept turn 4")
        yield Measure("instruction/unchecked", "Instructions of which nobody can tell whether they are kept")

    def measure(self, of: Subject, config: InstructionsConfig) -> Mapping[str, float | Estimate]:
        """The dialogues are the same in every iteration."""
        instructions = of.run.records("instructions")
        if not instructions or not config.instruction_dialogues:
            return {}
        judged = [(row, judge) for row in instructions if (judge := _judge_of(row, of)) is not None]
        plans = _plans(judged, _questions(of.run.records("prompts")), config)
        kept = _answered(of, plans, config, "first")
        found: dict[str, float | Estimate] = {
            **_shares(kept, config.instruction_turns, ""),
            **_fourth(kept, config.instruction_turns),
            "instruction/unchecked": float(len(instructions) - len(judged)),
        }
        if config.instruction_reminded:
            found |= _shares(_answered(of, plans, config, "every"), config.instruction_turns, "reminded/")
        return found


def _judge_of(row: Mapping[str, Any], of: Subject) -> tuple[str, Callable[[str], bool]] | None:
    """Who tells whether an answer keeps an instruction, by name and in deed; None where nobody can."""
    if row.get("check"):  # rows of before there were checks have none
        return CHECKS, InstructionCheck.model_validate_json(row["check"]).kept_by
    if of.annotator is not None:
        return of.judge_name, partial(of.judge.obeys, row["text"])
    return None


def _questions(prompts: Rows) -> list[str]:
    return sorted(
        row["messages"][-1]["content"] for row in prompts if row["split"] == "heldout" and row["axis"] == "helpfulness"
    )


def _plans(
    judged: Sequence[tuple[Mapping[str, Any], tuple[str, Callable[[str], bool]]]],
    questions: Sequence[str],
    config: InstructionsConfig,
) -> list[Asked]:
    """Half of the dialogues for each split."""
    rng = random.Random(7)
    plans: list[Asked] = []
    for split in _GROUPS:
        pool = sorted(
            (each for each in judged if each[0]["split"] == split), key=lambda each: str(each[0]["instruction_id"])
        )
        rng.shuffle(pool)
        for number in range(config.instruction_dialogues // 2 if pool else 0):
            row, (judge, is_kept) = pool[number % len(pool)]
            asked = rng.sample(questions, min(config.instruction_turns, len(questions)))
            plans.append(Asked(split, row["text"], asked, judge, is_kept))
    return plans


def _answered(of: Subject, plans: Sequence[Asked], config: InstructionsConfig, where: str) -> list[Kept]:
    """Every answer, turn by turn; the instruction stands before the first question, or before every one. A dialogue
    whose next answer might not fit into the context ends."""
    found: list[Kept] = []
    dialogues: list[list[dict[str, str]]] = [[] for _ in plans]
    room = of.context_length - config.sampling.max_new_tokens
    for turn in range(config.instruction_turns):
        going_on = [turn < len(plan.questions) for plan in plans]
        dialogues, plans = list(compress(dialogues, going_on)), list(compress(plans, going_on))
        for dialogue, plan in zip(dialogues, plans, strict=True):
            question = plan.questions[turn]
            content = f"{plan.instruction} {question}" if turn == 0 or where == "every" else question
            dialogue.append({"role": "user", "content": content})
        fits = [len(of.renderer.prompt(dialogue)) <= room for dialogue in dialogues]
        dialogues, plans = list(compress(dialogues, fits)), list(compress(plans, fits))
        if not plans:
            break
        done = 0.5 + 0.4 * turn / config.instruction_turns
        answers = draw(
            of.policy if of.speaker is None else of.speaker,
            of.renderer,
            dialogues,
            config.sampling,
            temperatures=[config.temperature],
            seed=derive_seed(of.run.seed, "turn", turn),
            on_progress=lambda _, done=done: of.run.progress(done, "keeping instructions"),  # type: ignore[misc]
        )
        for dialogue, plan, (answer,) in zip(dialogues, plans, answers, strict=True):
            dialogue.append({"role": "assistant", "content": answer.text})
            found.append(Kept(plan, turn + 1, plan.is_kept(answer.text)))
    return found


def _shares(kept: Sequence[Kept], turns: int, condition: str) -> dict[str, Estimate]:
    """By group and turn; a turn that no dialogue has room for has no figure."""
    found: dict[str, list[Kept]] = {}
    for split, name in _GROUPS.items():
        mine = [each for each in kept if each.asked.split == split]
        for turn in range(1, turns + 1):
            found[f"instruction/{name}/{condition}turn_{turn}"] = [each for each in mine if each.turn == turn]
        found[f"instruction/{name}/{condition}later_turns"] = [each for each in mine if each.turn > 1]
    return {name: _share(mine) for name, mine in found.items() if mine}


def _fourth(kept: Sequence[Kept], turns: int) -> dict[str, Estimate]:
    mine = [each for each in kept if each.turn == min(4, turns)]
    return {"instruction/turn_4": _share(mine)} if mine else {}


def _share(kept: Sequence[Kept]) -> Estimate:
    judges = dict.fromkeys(each.asked.judge for each in kept)
    return rate_of([each.kept for each in kept], " and ".join(judges))
