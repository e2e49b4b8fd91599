"""The names of what an evaluation measures, as the plan wires it."""

from collections.abc import Iterator
from typing import Any

from data_store.rows import AXES, RATINGS
from tasks.call import StepCall


def evaluation_metrics(call: StepCall) -> Iterator[str]:
    """What needs a judge, reward models, a gold one or a reference is there where the call is given one."""
    yield from ("finished", "response_tokens")
    config: Any = call.config  # an EvaluateStepConfig
    if config.annotator is not None:
        of = ("", *(f"/{axis}" for axis in AXES))
        yield from (f"{name}{axis}" for name in ("oracle_score", "win_rate") for axis in of)
        yield from ("violation", "false_refusal", "ordinary_refusal")
        if call.inputs.get("instructions"):
            turns = [*(f"turn_{turn}" for turn in range(1, config.instruction_turns + 1)), "later_turns"]
            yield from (f"instruction/{group}/{name}" for group in ("trained", "held_out") for name in turns)
            yield "instruction/turn_4"
    if "safety_reward" in call.inputs:
        yield from ("reward", "reward_win_rate", "reward_unsafe", "threshold/precision", "threshold/recall")
        yield from (f"accuracy/{axis}/{rating}" for axis in AXES for rating in ("all", *RATINGS))
    if "gold_reward" in call.inputs:
        yield from ("reward/gold", "reward/gold_win_rate")
    if "reference" in call.inputs:
        yield "kl_to_sft"
