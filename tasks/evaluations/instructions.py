"""Whether an instruction of turn 1 is still kept in later turns (Llama 2, section 3.3 and appendix A.3.5)."""

import random
from collections.abc import Iterable, Mapping
from itertools import compress
from typing import Any

from pydantic import Field

from data_store.estimate import Estimate
from models.seeds import derive_seed
from tasks.engine.step import Input
from tasks.estimates import rate_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Rows, Subject
from tasks.sampling import draw

_GROUPS = {"train": "trained", "heldout": "held_out"}  # split → its name in metrics


class InstructionsConfig(AnsweringConfig):
    """Dialogues of several turns."""

    instruction_dialogues: int = Field(
        default=48, ge=0, description="Dialogues that test whether an instruction is kept"
    )
    instruction_turns: int = Field(default=6, ge=2, description="User turns of those")


class Instructions(Evaluation):
    """By the annotator, for instructions that were trained on and held out."""

    inputs = {"instructions": Input("dataset", "instruction")}
    judged = True

    def metrics(self, config: InstructionsConfig) -> Iterable[Measure]:
        """By turn, and of all turns after the first."""
        turns = [*(f"turn_{turn}" for turn in range(1, config.instruction_turns + 1)), "later_turns"]
        for group in _GROUPS.values():
            for turn in turns:
                yield Measure(f"instruction/{group}/{turn}", "Share of answers there that follow the instruction")
        yield Measure("instruction/turn_4", "Answers in turn 4 that follow the instruction of turn 1", "kept turn 4")

    def measure(self, of: Subject, config: InstructionsConfig) -> Mapping[str, Estimate]:
        """The dialogues are the same in every iteration."""
        instructions = of.run.records("instructions")
        if not instructions or not config.instruction_dialogues:
            return {}
        plans = _plans(instructions, _questions(of.run.records("prompts")), config)
        dialogues: list[list[dict[str, str]]] = [[] for _ in plans]
        kept: dict[tuple[str, int], list[bool]] = {}
        room = of.context_length - config.sampling.max_new_tokens
        for turn in range(config.instruction_turns):
            going_on = [turn < len(asked) for _, _, asked in plans]
            dialogues, plans = list(compress(dialogues, going_on)), list(compress(plans, going_on))
            for dialogue, (_, instruction, asked) in zip(dialogues, plans, strict=True):
                content = f"{instruction} {asked[turn]}" if turn == 0 else asked[turn]
                dialogue.append({"role": "user", "content": content})
            # one whose next answer might not fit into the context ends here
            fits = [len(of.renderer.prompt(dialogue)) <= room for dialogue in dialogues]
            dialogues, plans = list(compress(dialogues, fits)), list(compress(plans, fits))
            if not plans:
                break
            done = 0.5 + 0.4 * turn / config.instruction_turns
            answers = draw(
                of.policy,
                of.renderer,
                dialogues,
                config.sampling,
                temperatures=[config.temperature],
                seed=derive_seed(of.run.seed, "turn", turn),
                on_progress=lambda _, done=done: of.run.progress(done, "keeping instructions"),  # type: ignore[misc]
            )
            for dialogue, (split, instruction, _), (answer,) in zip(dialogues, plans, answers, strict=True):
                dialogue.append({"role": "assistant", "content": answer.text})
                kept.setdefault((split, turn + 1), []).append(of.judge.obeys(instruction, answer.text))
        return _shares(kept, config.instruction_turns, of.judge_name)


def _questions(prompts: Rows) -> list[str]:
    return sorted(
        row["messages"][-1]["content"] for row in prompts if row["split"] == "heldout" and row["axis"] == "helpfulness"
    )


def _plans(instructions: Rows, questions: list[str], config: InstructionsConfig) -> list[tuple[str, str, list[str]]]:
    """(split, instruction, a question for each turn) of each dialogue."""
    rng = random.Random(7)
    plans: list[tuple[str, str, list[str]]] = []
    for split in _GROUPS:
        pool: list[dict[str, Any]] = sorted(
            (row for row in instructions if row["split"] == split), key=lambda row: str(row["instruction_id"])
        )
        rng.shuffle(pool)
        plans += [
            (split, pool[i % len(pool)]["text"], rng.sample(questions, min(config.instruction_turns, len(questions))))
            for i in range(config.instruction_dialogues // 2)
            if pool
        ]
    return plans


def _shares(kept: Mapping[tuple[str, int], list[bool]], turns: int, judge: str) -> dict[str, Estimate]:
    """A turn that no dialogue has room for has no figure."""
    found: dict[str, list[bool]] = {}
    for split, name in _GROUPS.items():
        for turn in range(1, turns + 1):
            found[f"instruction/{name}/turn_{turn}"] = kept.get((split, turn), [])
        later = [value for turn in range(2, turns + 1) for value in kept.get((split, turn), [])]
        found[f"instruction/{name}/later_turns"] = later
    fourth = min(4, turns)
    found["instruction/turn_4"] = [value for split in _GROUPS for value in kept.get((split, fourth), [])]
    return {name: rate_of(values, judge) for name, values in found.items() if values}
