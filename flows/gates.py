"""Gates: where a metric of a step is outside the bounds of the config, the run stops there.

The step's result stays published, and a gate is no part of any fingerprint: another bound makes nothing stale. Knows no
Prefect.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_store.errors import InputError
from data_store.filters import REASONS
from data_store.rows import SAFETY_LABELS
from flows.plan import FIRST, FOUNDATION, Plan
from flows.watch_config import GateConfig
from models.algorithms.pair_choice import KEPT_BECAUSE
from tasks.draw_pairs import DrawStepConfig
from tasks.evaluate import EvaluateStepConfig
from tasks.step import StepCall

_RATINGS = ("all", "significantly_better", "better", "slightly_better", "negligibly_better")
_REWARD = ("loss", "pairs", "steps", *(f"accuracy/{rating}" for rating in _RATINGS))
_BASE_METRICS: Mapping[str, tuple[str, ...]] = {
    "import_data": tuple(
        f"rows/{rows}" for rows in ("documents", "demonstrations", "prompts", "instructions", "preferences")
    ),
    "filter_corpus": ("documents", "kept", *(f"dropped/{reason}" for reason in REASONS)),
    "train_tokenizer": ("vocab_size", "characters_per_token"),
    "fit_context": (
        "dropped",
        *(f"{rows}/{fate}" for rows in ("prompts", "demonstrations", "preferences") for fate in ("kept", "too_long")),
    ),
    "pretrain": ("loss", "parameters", "corpus_tokens", "trained_tokens"),
    "sft": ("loss", "dialogues", "steps"),
    "draw_pairs": ("pairs", "pairs/safety", "equal_answers"),
    "collect_preferences": ("pairs", "pairs/safety", *(f"share/{label}" for label in SAFETY_LABELS)),
    "judge_pairs": ("pairs", "orders_disagree", "judged"),
    "extend_prompts": ("prompts", "prompts/red_team"),
    "train_safety_reward": _REWARD,
    "train_helpfulness_reward": _REWARD,
    "train_gold_reward": _REWARD,
    "rejection_sample": (
        "candidates",
        "pool",
        "picks",
        "picks/from_earlier_iterations",
        "reward/max_minus_median",
        "reward/picks",
        "reward/mean",
    ),
    "synthesize_gatt": ("dialogues", "turns"),
    "fine_tune": ("loss", "dialogues", "steps", "picks", "replay", "gatt", "too_long"),
    "ppo": (
        *("kl", "kl_k3", "approx_kl", "reward", "safety_reward", "entropy", "length", "finished"),
        *("clip_fraction", "ratio_mean", "ratio_max", "policy_loss", "policy_grad_norm"),
        *("value_loss", "value_grad_norm", "explained_variance"),
        *("iterations", "best_iteration", "best_validation_reward", "weights_mb"),
    ),
    "dpo": (
        "loss",
        "pairs",
        "validation_pairs",
        "steps",
        "best_step",
        *(
            f"best_validation_{name}"
            for name in ("loss", "kl", "dpo_loss", "nll", "accuracy", "margin", "chosen_logprob", "rejected_logprob")
        ),
    ),
}
_JUDGED = (
    "oracle_score",
    "oracle_score/helpfulness",
    "oracle_score/safety",
    "win_rate",
    "win_rate/helpfulness",
    "win_rate/safety",
    "violation",
    "false_refusal",
    "ordinary_refusal",
)
_BY_REWARD_MODELS = (
    "reward",
    "reward_win_rate",
    "reward_unsafe",
    *(f"accuracy/{axis}/{rating}" for axis in ("safety", "helpfulness") for rating in _RATINGS),
    "threshold/precision",
    "threshold/recall",
)


@dataclass(frozen=True)
class Stop:
    """A gate that does not hold. `value` is None where the step did not measure the metric: what a gate asks for and
    nobody has seen does not pass."""

    part: str
    step: str
    gate: GateConfig
    value: float | None

    @property
    def found(self) -> str:
        """Metric, value and bound."""
        if self.value is None:
            return f"{self.gate.metric} was not measured, and must be {self.gate.bounds}"
        chance = " (near chance)" if "accuracy" in self.gate.metric and abs(self.value - 0.5) <= 0.05 else ""
        return f"{self.gate.metric} is {self.value:.4g}{chance}, and must be {self.gate.bounds}"

    def __str__(self) -> str:
        return f"{self.part} {self.step}: {self.found}"


class StoppedAtGateError(RuntimeError):
    """A gate does not hold. The message names gate, value, bound, and what to do."""

    def __init__(self, stops: Sequence[Stop]) -> None:
        part, step = stops[0].part, stops[0].step.replace("_", "-")
        super().__init__(
            f"stopped at a gate: {'; '.join(map(str, stops))}. The result is kept. Redo the step with other values "
            f"(halter rerun {part} {step} --set KEY=VALUE), or change the bound under `gates` in the config; then the "
            "same command goes on"
        )


def metrics_of(call: StepCall) -> tuple[str, ...]:
    """The metrics that a step can measure, as the plan wires it."""
    if isinstance(call.config, DrawStepConfig):
        scales = (f"scale/{role.removesuffix('_reward')}" for role in call.inputs if role.endswith("_reward"))
        kept = (f"kept/{reason}" for reason in KEPT_BECAUSE)
        return (*_BASE_METRICS["draw_pairs"], "drawn", *kept, *scales, "seconds")
    if not isinstance(call.config, EvaluateStepConfig):
        return (*_BASE_METRICS[call.step.name], "seconds")
    names = ["finished", "response_tokens"]
    if call.config.annotator is not None:
        names += _JUDGED
        if call.inputs.get("instructions"):
            turns = [f"turn_{turn}" for turn in range(1, call.config.instruction_turns + 1)]
            names += [f"instruction/{group}/{n}" for group in ("trained", "held_out") for n in (*turns, "later_turns")]
            names.append("instruction/turn_4")
    if "safety_reward" in call.inputs:
        names += _BY_REWARD_MODELS
    if "gold_reward" in call.inputs:
        names += ["reward/gold", "reward/gold_win_rate"]
    if "reference" in call.inputs:
        names.append("kl_to_sft")
    return (*names, "seconds")


def check_gates(gates: Iterable[GateConfig], plan: Plan) -> None:
    """Raises InputError for a gate on a step, an iteration or a metric that the plan does not have; it suggests the
    right one."""
    for number, gate in enumerate(gates, start=1):
        where = f"gates, entry {number}"
        parts = [part for part, step in plan if step == gate.step]
        if not parts:
            steps = list(dict.fromkeys(step for _, step in plan))
            raise InputError(f"{where}: this run has no step {gate.step!r}; {_near(gate.step, steps)}")
        for part in gate.iterations:
            if part not in parts:
                raise InputError(f"{where}: {gate.step} is not in {part!r}; it is in {', '.join(parts)}")
        for part in _parts(gate, plan):
            known = metrics_of(plan[part, gate.step])
            if gate.metric not in known:
                raise InputError(
                    f"{where}: {gate.step} of {part} measures no {gate.metric!r}; {_near(gate.metric, known)}"
                )


def stops_of(gates: Iterable[GateConfig], plan: Plan, part: str, step: str, metrics: Mapping[str, float]) -> list[Stop]:
    """The gates of this step that its metrics do not pass."""
    return [
        Stop(part, step, gate, metrics.get(gate.metric))
        for gate in gates
        if gate.step == step
        and part in _parts(gate, plan)
        and (gate.metric not in metrics or not gate.holds(metrics[gate.metric]))
    ]


def _parts(gate: GateConfig, plan: Plan) -> Sequence[str]:
    """Where the gate stands."""
    if gate.iterations:
        return gate.iterations
    parts = [part for part, step in plan if step == gate.step]
    return [part for part in parts if part not in (FOUNDATION, FIRST)] or parts


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [one for one in known if name in one][:1]
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
