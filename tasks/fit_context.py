"""Dialogues, prompts and pairs that the context holds: checked with the tokenizer before any model is trained."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from data_store.content.row_batches import row_dicts
from data_store.errors import InputError
from data_store.figures import figure, percent
from models.config import TEMPLATE_DATE, Config
from tasks.answers import dialogue_ids, open_renderer, sides_of
from tasks.engine.step import Input, Output, StepRun, step
from tasks.safety_preprompts import Preprompts, PrepromptsConfig
from tasks.synthesize_gatt import trained_on

if TYPE_CHECKING:
    from models.dialogue import Renderer

# role → kind of its rows
FITTED = {"demonstrations": "dialogue", "prompts": "prompt", "preferences": "preference"}


class FitConfig(Config):
    """What to do with a row that is too long."""

    too_long: Literal["error", "drop"] = Field(
        default="error", description="error: stop and name the row; drop: count it"
    )
    max_dropped_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="With too_long: drop: a larger share of demonstrations, prompts or pairs stops the run",
    )
    max_prompt_tokens: int | None = Field(
        default=None, ge=1, description="Longest prompt; empty: what context and fine-tuning leave beside an answer"
    )


class GattRoom(Config):
    """What the shortest Ghost Attention dialogue needs."""

    turns: int
    answer_tokens: int
    dialogue_tokens: int
    instructions: int = Field(description="At most so many stand before a question")


class FitLimitsConfig(FitConfig):
    """The same, with the limits, in tokens, that the other sections of the config ask for."""

    splits: tuple[str, ...] = Field(default=("train", "heldout"), description="Splits that need a prompt")
    dialogue_tokens: int
    prompt_tokens: int
    pair_tokens: int
    gatt: GattRoom | None = None
    template_date: date = TEMPLATE_DATE


class PrepromptRoom(PrepromptsConfig):
    """The pre-prompts of context distillation."""

    tokens: int = Field(description="Most tokens of a prompt with its pre-prompt")


class FitStepConfig(FitLimitsConfig):
    """The same with pre-prompts. Where there is no context distillation the step's fingerprint knows nothing of it."""

    preprompts: PrepromptRoom | None = None


@step(
    version=3,
    config=FitStepConfig,
    inputs={
        **{role: Input("dataset", rows, optional=True) for role, rows in FITTED.items()},
        "instructions": Input("dataset", "instruction", optional=True),
        "preprompts": Input("file", optional=True),
        "tokenizer": Input("tokenizer"),
    },
    outputs={
        **{role: Output("dataset", rows, passes_on=(role,)) for role, rows in FITTED.items()},
        "dropped": Output("dataset", "dropped"),
    },
    metrics=("dropped", *(f"{role}/{fate}" for role in FITTED for fate in ("kept", "too_long", "too_long_share"))),
    headline="dropped",
    about="Checks what the context can hold.",
    tags=("foundation",),
)
def fit_context(run: StepRun, config: FitStepConfig) -> Mapping[str, float]:
    """Refuse or drop what is too long for its place; nothing is ever cut silently."""
    renderer = open_renderer(run.path("tokenizer"), config.template_date)
    dropped: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}

    def fit(role: str, identity: str, limit: int, length: Any) -> None:
        if not run.wants(role):
            return
        before, groups, kept, splits = len(dropped), set[str](), Counter[str](), set[str | None]()

        def fits(row: dict[str, Any]) -> bool:
            group: str = row.get("axis", role)
            groups.add(group)
            tokens = _tokens(row, f"{role.removesuffix('s')} {row[identity]}", length)
            if tokens <= limit:
                kept[group] += 1
                splits.add(row.get("split"))
                return True
            if config.too_long == "error":
                raise InputError(
                    f"{row['source']}: {role.removesuffix('s')} of {tokens} tokens; {limit} fit. Shorten or "
                    "remove the row, raise the lengths in the config, or set fit.too_long: drop"
                )
            detail = f"{tokens} tokens, {limit} fit"
            dropped.append(
                {"doc_id": f"{role}/{row[identity]}", "source": row["source"], "reason": "too_long", "detail": detail}
            )
            return False

        with run.writing_rows(role) as write:
            for batch in run.record_batches(role):
                write(pa.Table.from_batches([batch]).filter(pa.array(map(fits, row_dicts(batch)), pa.bool_())))
        lost = len(dropped) - before
        share = lost / max(kept.total() + lost, 1)
        for group in sorted(groups - set(kept)):
            name = role if group == role else f"{group} {role}"
            raise InputError(f"none of the {name} fit: {limit} tokens; raise the lengths in the config")
        if lost:
            everything = kept.total() + lost
            told = f"{role}: {lost} of {everything} ({percent(share)}) are longer than the {limit} tokens that fit"
            _check_share(told, share, config, dropped[before])
            run.note(f"{told} and left out")
        if role == "prompts":
            _check_splits(splits, config.splits)
        metrics[f"{role}/kept"] = float(kept.total())
        metrics[f"{role}/too_long"] = float(lost)
        metrics[f"{role}/too_long_share"] = share
        counts.append({"data set": role, "kept": kept.total(), "too long": lost, "tokens that fit": limit})

    prompt_tokens = min(config.prompt_tokens, config.max_prompt_tokens or config.prompt_tokens)
    fit("prompts", "prompt_id", prompt_tokens, lambda row: len(renderer.prompt(row["messages"])))
    fit(
        "demonstrations",
        "dialogue_id",
        config.dialogue_tokens,
        lambda row: max(len(each.input_ids) for each in renderer.dialogues(row["messages"])),
    )
    fit(
        "preferences",
        "preference_id",
        config.pair_tokens,
        lambda row: max(len(dialogue_ids(renderer, *side).input_ids) for side in sides_of(row)),
    )
    if config.gatt is not None:
        _check_gatt(run, renderer, config.gatt)
    if config.preprompts is not None:
        _check_preprompts(run, renderer, config.preprompts)
    run.write_rows("dropped", dropped)  # also where none was: the rows of an earlier run must not stay in its place
    run.table("fit", counts)
    return {**metrics, "dropped": float(len(dropped))}


def _check_share(told: str, share: float, config: FitConfig, first: Mapping[str, str]) -> None:
    """What is left must be most of what was given: a run on a tenth of the pairs is another one than was asked for."""
    if share > config.max_dropped_share:
        raise InputError(
            f"{told}, and fit.max_dropped_share is {figure(config.max_dropped_share)}: raise the lengths in the "
            f"config, or it. The first is {first['source']} with {first['detail']}"
        )


def _check_gatt(run: StepRun, renderer: "Renderer", room: GattRoom) -> None:
    """Half of the dialogues must have room for the fewest turns. Questions and instructions are taken as long as those
    in the middle, answers as long as they may be."""
    instructions, questions = trained_on(run.records("instructions"), run.records("prompts"))
    if len(questions) < room.turns:
        raise InputError(
            f"gatt.min_turns {room.turns} needs as many ordinary prompts to train on, there are {len(questions)}: "
            "lower it or give more prompts"
        )
    middle = sorted(questions, key=len)[len(questions) // 2]
    instruction = " ".join(
        [sorted((row["text"] for row in instructions), key=len)[len(instructions) // 2]] * room.instructions
    )
    turns = [{"role": "user", "content": f"{instruction} {middle}"}, {"role": "assistant", "content": "."}] * room.turns
    tokens = len(renderer.prompt(turns[:-1])) + room.turns * room.answer_tokens
    if tokens > room.dialogue_tokens:
        raise InputError(
            f"gatt.min_turns {room.turns}: so many turns with answers of {room.answer_tokens} tokens take about "
            f"{tokens} tokens, {room.dialogue_tokens} fit. Lower gatt.min_turns or gatt.sampling.max_new_tokens, or "
            "raise fine_tune.training.sequence_length where the context has room"
        )


def _check_preprompts(run: StepRun, renderer: "Renderer", room: PrepromptRoom) -> None:
    """Each pre-prompt must have room before half of the adversarial prompts: the one in the middle is taken."""
    asked = [row for row in run.records("prompts") if row["split"] == "train" and row["axis"] == "safety"]
    if not asked:
        raise InputError("there is no adversarial prompt to train on: give some, or set context_distillation: null")
    middle = sorted((row["messages"] for row in asked), key=lambda m: len(m[-1]["content"]))[len(asked) // 2]
    preprompts = Preprompts(room, run.optional_path("preprompts"))
    for text in preprompts.all():
        try:
            tokens = len(renderer.prompt(preprompts.before(middle, text)))
        except ValueError as error:
            raise InputError(f"context_distillation.place: {room.place}: {error}. Set it to user") from None
        if tokens > room.tokens:
            raise InputError(
                f"context_distillation: the pre-prompt {text[:60]!r} takes {tokens} tokens with a prompt of middle "
                f"length, {room.tokens} fit: shorten it, or lower context_distillation.sampling.max_new_tokens"
            )


def _tokens(row: dict[str, Any], name: str, length: Callable[[dict[str, Any]], int]) -> int:
    """The length of a row. Raises InputError naming it where the chat template does not serve its roles."""
    try:
        return length(row)
    except ValueError as error:
        raise InputError(
            f"{row['source']}: {name}: {error}. Change or remove the row, or change chat_template.jinja; the table of "
            "check_base says what is served"
        ) from None


def _check_splits(found: set[str | None], wanted: tuple[str, ...]) -> None:
    """Later steps cannot do without these; they would say so only after hours of training."""
    lacking = {
        "train": "no prompt is left to train on: lower data.heldout_percent or give more prompts",
        "validation": "no prompt is left for validation (PPO's looks, rejection.temperatures: auto), a tenth of "
        "those to train on: give more prompts",
        "heldout": "no prompt is held out for evaluation: raise data.heldout_percent or give more prompts",
    }
    for split in wanted:
        if split not in found:
            raise InputError(lacking[split])
