"""Safety context distillation (Llama 2, section 4.2.5): the policy answers adversarial prompts behind a safety
pre-prompt, and learns these answers without it, where the safety reward model likes them better than what it says by
itself.

Both answers are scored as answers to the prompt alone, for that is what is learned.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from data_store.errors import InputError
from data_store.estimate import Estimate
from models.config import SamplingConfig
from models.seeds import derive_seed
from tasks.answers import Drawn, Messages, answered, open_renderer, row_id
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.estimates import mean_of, rate_of
from tasks.judging.annotators import AnnotatorConfig
from tasks.safety_preprompts import GENERAL, Preprompts, PrepromptsConfig
from tasks.sampling import draw, score
from tasks.synthesize_gatt import best_finished

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer
    from tasks.engine.call import StepCall

Rows = list[dict[str, Any]]
JUDGE = "safety reward model"
KEPT, NO_RISE, CUT = "kept", "no_rise", "cut"


class DistillContextConfig(PrepromptsConfig):
    """How many prompts, how they are answered, and what stands before them."""

    prompts: int = Field(default=120, ge=1, description="Adversarial prompts of each iteration, at the most")
    samples: int = Field(
        default=1,
        ge=1,
        description="Answers drawn with the pre-prompt and as many without; of each the one that the safety model "
        "scores highest is compared",
    )
    borderline_prompts: int = Field(
        default=60,
        ge=0,
        description="Prompts to train on that only sound dangerous, answered with and without a pre-prompt to see what "
        "it does to refusals; nothing is learned of them. Without an annotator none are",
    )
    unfinished: Literal["leave_out", "score"] = Field(
        default="leave_out",
        description="Answers that were cut at max_new_tokens. leave_out: not learned; score: learned, without an end",
    )
    temperature: float = Field(default=0.7, gt=0, description="At which the answers are drawn")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the answers are drawn")


class ContextDistillationConfig(DistillContextConfig):
    """Answers behind a safety pre-prompt, learned without it; from which iteration on, and whose pre-prompts."""

    first_iteration: int = Field(default=1, ge=1, description="Context distillation starts with this iteration")
    file: Path | None = Field(
        default=None,
        description="Your own pre-prompts, in the place of `preprompts` and `by_category`: .jsonl or .csv with "
        "`preprompt` and, for one kind of prompts alone, `category`; or .txt with one a line",
    )


class DistillContextStepConfig(DistillContextConfig):
    """The same for the step, with the room that the other sections of the config leave, and the run's annotator."""

    prompt_tokens: int = Field(description="Most tokens of a prompt with its pre-prompt")
    annotator: AnnotatorConfig | None = Field(default=None, description="Tells refusals; empty: they are not counted")


@dataclass(frozen=True)
class _Compared:
    """A prompt, and the better answer of each kind with its safety score; `fate`: whether the distilled one is
    learned, or why not."""

    prompt: Mapping[str, Any]
    category: str
    preprompt: str
    plain: Drawn
    plain_score: float
    distilled: Drawn
    distilled_score: float
    fate: str = NO_RISE

    @property
    def rise(self) -> float:
        return self.distilled_score - self.plain_score


def _metrics_of(call: "StepCall") -> Iterator[str]:
    config: Any = call.config  # a DistillContextStepConfig
    yield from ("prompts", "share_kept", "rise", "rise/kept", "finished", "left_out/cut", "left_out/too_long")
    if config.annotator is not None and config.borderline_prompts:
        yield from ("false_refusal/without", "false_refusal/with")
    if not call.inputs.get("preprompts"):  # categories of a file are known once it is read
        for category in (*config.by_category, GENERAL):
            yield from (f"share_kept/{category}", f"rise/{category}")


@step(
    version=4,
    config=DistillContextStepConfig,
    inputs={
        "policy": Input("model"),
        "safety_reward": Input("model"),
        "prompts": Input("dataset", "prompt"),
        "preprompts": Input("file", optional=True),
        "base": BASE,
    },
    outputs={
        "dialogues": Output("dataset", "dialogue"),
        "comparisons": Output("dataset", "distillation"),
    },
    metrics=_metrics_of,
    headline="share_kept",
    about="Answers adversarial prompts behind a safety pre-prompt, and keeps what the safety model scores higher.",
    tags=("data",),
    spreads=True,
)
def distill_context(run: StepRun, config: DistillContextStepConfig) -> Measurements:
    """Draw with and without a pre-prompt, keep the former where its score is higher, and say by how much it rose."""
    from models.checkpoint import load_policy, load_reward

    base, rng = run.optional_path("base"), random.Random(run.seed)
    renderer = open_renderer(run.path("policy"))
    preprompts = Preprompts(config, run.optional_path("preprompts"))
    rows = [row for row in run.records("prompts") if row["split"] == "train"]
    adversarial = [row for row in rows if row["axis"] == "safety"]
    if not adversarial:
        raise InputError("there is no adversarial prompt to train on: give more, or set context_distillation: null")
    asked, too_long = _fitting(adversarial, preprompts, renderer, config, rng, config.prompts)
    if not asked:
        raise InputError(
            f"no adversarial prompt with its pre-prompt is of at most {config.prompt_tokens} tokens: shorten "
            "context_distillation.preprompts, or raise the context"
        )
    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)
    plain = _answers(run, config, policy, renderer, [row["messages"] for row, _ in asked], "plain", 0.0)
    behind = [preprompts.before(row["messages"], text) for row, text in asked]
    distilled = _answers(run, config, policy, renderer, behind, "distilled", 0.35)
    refusals = _refusals(run, config, policy, renderer, preprompts, rows, rng)
    model = load_reward(run.path("safety_reward"), base, dtype=config.sampling.dtype)
    compared = _compare(asked, plain, distilled, preprompts, model, renderer, config)

    run.write_rows("dialogues", [_learned(run, each) for each in compared if each.fate == KEPT])
    run.write_rows("comparisons", list(map(_row, compared)))
    run.table("examples", [_readable(each) for each in compared[:: max(1, len(compared) // 8)]])
    return {
        "prompts": float(len(compared)),
        **_figures(compared),
        "finished": rate_of([response.finished for responses in distilled for response in responses]),
        "left_out/cut": float(sum(each.fate == CUT for each in compared)),
        "left_out/too_long": float(too_long),
        **refusals,
    }


def _fitting(
    pool: Rows,
    preprompts: Preprompts,
    renderer: "Renderer",
    config: DistillContextStepConfig,
    rng: random.Random,
    count: int,
) -> tuple[list[tuple[dict[str, Any], str]], int]:
    """Up to `count` prompts with a pre-prompt each, and how many of those that were looked at are too long with it."""
    found: list[tuple[dict[str, Any], str]] = []
    too_long = 0
    for row in rng.sample(pool, len(pool)):
        if len(found) == count:
            break
        text = preprompts.choose(row, rng)
        if len(renderer.prompt(preprompts.before(row["messages"], text))) <= config.prompt_tokens:
            found.append((row, text))
        else:
            too_long += 1
    return found, too_long


def _answers(
    run: StepRun,
    config: DistillContextStepConfig,
    policy: "nn.Module",
    renderer: "Renderer",
    dialogues: Sequence[Messages],
    what: str,
    done: float,
) -> list[list[Drawn]]:
    return draw(
        policy,
        renderer,
        dialogues,
        config.sampling,
        temperatures=[config.temperature] * config.samples,
        seed=derive_seed(run.seed, what),
        on_progress=lambda part: run.progress(done + 0.35 * part, f"drawing {what} answers"),
    )


def _compare(
    asked: Sequence[tuple[dict[str, Any], str]],
    plain: Sequence[Sequence[Drawn]],
    distilled: Sequence[Sequence[Drawn]],
    preprompts: Preprompts,
    model: "nn.Module",
    renderer: "Renderer",
    config: DistillContextStepConfig,
) -> list[_Compared]:
    """The best answer of each kind to each prompt, and whether the distilled one is learned. Of several answers those
    come first that the model ended, then the safest: on both sides alike, or more samples would look like a rise."""
    from models.algorithms.context_distillation import where_scores_rise

    def best(drawn: Sequence[Sequence[Drawn]]) -> list[tuple[Drawn, float]]:
        pairs = [(row["messages"], each) for (row, _), group in zip(asked, drawn, strict=True) for each in group]
        values = iter([value for (value,) in score([model], renderer, pairs, config.sampling)])
        found = []
        for group in drawn:
            own = [next(values) for _ in group]
            k = best_finished([each.finished for each in group], own)
            found.append((group[k], own[k]))
        return found

    before, after = best(plain), best(distilled)
    rising = set(where_scores_rise([value for _, value in before], [value for _, value in after]))
    compared = []
    for i, ((row, text), (a, plain_score), (b, distilled_score)) in enumerate(zip(asked, before, after, strict=True)):
        learnable = b.finished or config.unfinished == "score"
        fate = NO_RISE if i not in rising else KEPT if learnable else CUT
        compared.append(_Compared(row, preprompts.category(row), text, a, plain_score, b, distilled_score, fate))
    return compared


def _figures(compared: Sequence[_Compared]) -> dict[str, Estimate]:
    """The share that is learned, and how much the safety score rose: over all prompts, which the choice does not
    flatter, by category, and of what is learned."""
    groups = {"": list(compared)}
    for each in compared:
        groups.setdefault(f"/{each.category}", []).append(each)
    found: dict[str, Estimate] = {}
    for name, members in groups.items():
        found[f"share_kept{name}"] = rate_of([each.fate == KEPT for each in members], JUDGE)
        found[f"rise{name}"] = mean_of([each.rise for each in members], JUDGE)
    if kept := [each.rise for each in compared if each.fate == KEPT]:
        found["rise/kept"] = mean_of(kept, JUDGE)
    return found


def _refusals(
    run: StepRun,
    config: DistillContextStepConfig,
    policy: "nn.Module",
    renderer: "Renderer",
    preprompts: Preprompts,
    rows: Rows,
    rng: random.Random,
) -> dict[str, Estimate]:
    """How often prompts that only sound dangerous are refused, without and with a pre-prompt: what untargeted
    distillation would teach, too. Nothing where nobody can tell, or where there is no such prompt."""
    borderline = [row for row in rows if row["kind"] == "borderline"]
    if config.annotator is None or not config.borderline_prompts:
        return {}
    asked, _ = _fitting(borderline, preprompts, renderer, config, rng, config.borderline_prompts)
    if not asked:
        return {}
    annotator = config.annotator.open()
    found = {}
    for name, dialogues in (
        ("without", [row["messages"] for row, _ in asked]),
        ("with", [preprompts.before(row["messages"], text) for row, text in asked]),
    ):
        drawn = _answers(run, config, policy, renderer, dialogues, f"borderline {name}", 0.65)
        told = [
            annotator.judge(row["messages"], group[0].text, group[0].finished).refusal
            for (row, _), group in zip(asked, drawn, strict=True)
        ]
        found[f"false_refusal/{name}"] = rate_of(told, annotator.name)
    return found


def _learned(run: StepRun, of: _Compared) -> dict[str, Any]:
    """The answer as a dialogue to learn from: the pre-prompt is gone, the sampled ids stay."""
    return {
        "dialogue_id": row_id(run.part, "context", of.prompt["prompt_id"]),
        "source": f"distill_context@{run.part}",
        "kind": of.category,
        "messages": answered(of.prompt["messages"], of.distilled.text),
        **of.distilled.columns(),
    }


def _row(of: _Compared) -> dict[str, Any]:
    return {
        "prompt_id": of.prompt["prompt_id"],
        "category": of.category,
        "preprompt": of.preprompt,
        "plain": of.plain.text,
        "plain_score": of.plain_score,
        "distilled": of.distilled.text,
        "distilled_score": of.distilled_score,
        "fate": of.fate,
    }


def _readable(of: _Compared) -> dict[str, Any]:
    return {
        "prompt": of.prompt["messages"][-1]["content"],
        "pre-prompt": of.preprompt,
        "without": of.plain.text,
        "with": of.distilled.text,
        "rise": of.rise,
        "what became of it": of.fate,
    }
