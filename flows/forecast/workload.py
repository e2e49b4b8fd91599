"""What each step has to compute: passes through models, by kind and size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flows.forecast.volumes import Volume
from flows.recipe.config import RunConfig
from models.config import SamplingConfig, SFTConfig, TrainerConfig
from tasks.engine.call import StepCall

_HELD_OUT_READS = 2  # both answers of a pair
_DPO_PAIRS = 0.6  # share of pairs with the ratings that DPO learns from, for want of a count
_PACKED = 0.9  # how full packed rows are


@dataclass(frozen=True)
class Passes:
    """`count` passes of one kind («train», «read», «decode») by each of `processes` that work side by side. A pass has
    `rows` of `tokens`; of «decode» it is one new token a row, with `tokens` before it."""

    kind: str
    count: float
    rows: float
    tokens: float
    processes: int = 1
    dtype: str = "float32"

    @property
    def all_tokens(self) -> float:
        """Tokens of all passes of all processes."""
        return self.count * self.processes * self.rows * (1 if self.kind == "decode" else self.tokens)


@dataclass(frozen=True)
class Work:
    """Of one step: its passes, how many models it trains and holds beside them, whether the base gets gradients, and
    rows that are read and written without a model (`records`)."""

    passes: tuple[Passes, ...] = ()
    trained: int = 0
    read: int = 0
    checkpointing: bool = False
    records: float = 0.0
    models: int = 0
    """Models that it writes."""


@dataclass(frozen=True)
class At:
    """Where a step stands: the run's config and data, and the number of the iteration."""

    config: RunConfig
    volume: Volume
    number: int


def work_of(config: RunConfig, call: StepCall, volume: Volume) -> Work:
    """What a step has to do; nothing where no formula is known."""
    found, number = _WORK.get(call.step.name), int(call.part[1:]) if call.part.startswith("V") else 0
    return Work() if found is None else found(At(config, volume, number))


def answering(
    sampling: SamplingConfig, rows: float, prompt: float, answer: float, dtype: str | None = None
) -> tuple[Passes, ...]:
    """Drawing answers: prompts are read, then a token a pass until the longest answer of a batch is cut or ends."""
    each = math.ceil(rows / sampling.shards)
    batches = math.ceil(each / sampling.batch_size)
    together = each / max(batches, 1)
    of = dtype or sampling.dtype
    reading = Passes("read", batches, together, prompt, sampling.shards, of)
    tokens = batches * sampling.max_new_tokens
    return reading, Passes(
        "decode", tokens, together, prompt + min(answer, sampling.max_new_tokens), sampling.shards, of
    )


def scoring(sampling: SamplingConfig, rows: float, tokens: float, models: int) -> Passes:
    """Whole dialogues under reward models."""
    each = math.ceil(rows / sampling.shards)
    batches = math.ceil(each / sampling.batch_size)
    return Passes("read", batches * models, each / max(batches, 1), tokens, sampling.shards, sampling.dtype)


def training(config: TrainerConfig, rows: float, epochs: float, tokens: float, per_row: int = 1) -> Passes:
    """Optimizer steps over `rows` of a data set; a row is `per_row` sequences of `tokens`."""
    batch = config.pass_rows * config.accumulation_steps * config.processes
    steps = math.ceil(max(rows, 1) * epochs / batch)
    passes = steps * config.accumulation_steps
    return Passes("train", passes, config.pass_rows * per_row, tokens, config.processes, config.dtype)


def _packed(config: SFTConfig, dialogues: float, tokens: float) -> Work:
    rows = dialogues * tokens / (config.sequence_length * _PACKED)
    return Work(
        (training(config, rows, config.epochs, config.sequence_length * _PACKED),),
        trained=1,
        models=1,
        checkpointing=config.gradient_checkpointing,
        records=dialogues,
    )


def _pretrain(at: At) -> Work:
    of = at.config.pretrain
    passes = Passes(
        "train",
        of.max_steps * of.accumulation_steps,
        of.pass_rows,
        of.sequence_length * _PACKED,
        of.processes,
        of.dtype,
    )
    return Work((passes,), trained=1, models=1, checkpointing=of.gradient_checkpointing, records=at.volume.documents)


def _sft(at: At) -> Work:
    if not at.volume.demonstrations:  # a base model that can chat stays as it is
        return Work(models=1)
    return _packed(at.config.sft, at.volume.demonstrations, at.volume.demonstration_tokens)


def _pairs(at: At) -> tuple[float, float]:
    """(helpfulness, safety) pairs of an iteration."""
    if at.config.draws_pairs:
        return float(at.config.collect.ordinary_prompts), float(at.config.collect.safety_prompts)
    return at.volume.helpfulness_pairs / at.config.iterations, at.volume.safety_pairs / at.config.iterations


def _answer(at: At, sampling: SamplingConfig) -> float:
    return min(at.volume.answer_tokens, sampling.max_new_tokens)


def _dialogue(at: At) -> float:
    """Tokens of a prompt with its answer, as pairs have it."""
    answer = _answer(at, at.config.collect.sampling) if at.config.draws_pairs else at.volume.answer_tokens
    return min(at.volume.prompt_tokens + answer, at.config.reward.max_length)


def _draw_pairs(at: At) -> Work:
    prompts = sum(_pairs(at))
    of = at.config.collect
    passes = 2 * answering(of.sampling, prompts, at.volume.prompt_tokens, at.volume.answer_tokens)  # two variants
    return Work(passes, read=2, records=prompts)


def _reward(axis: int) -> Callable[[At], Work]:
    def work(at: At) -> Work:
        of = at.config.reward
        pairs = [max(at.number, 1) * each for each in _pairs(at)]
        kept = 1 - at.config.collect.heldout_percent / 100
        own, other = pairs[axis] * kept, pairs[1 - axis] * kept
        share = of.safety_other_share if axis else of.helpfulness_other_share
        mixed = own + min(other, own * share / (1 - share))
        tokens = _dialogue(at)
        train = training(of, mixed, of.epochs, tokens, per_row=2)
        tested = pairs[axis] * (1 - kept) * _HELD_OUT_READS
        return Work(
            (train, scoring(SamplingConfig(), tested, tokens, 1)),
            trained=1,
            models=1,
            checkpointing=of.gradient_checkpointing,
            records=sum(pairs),
        )

    return work


def _rejection_sample(at: At) -> Work:
    of = at.config.rejection
    drawn = of.prompts * of.samples * len(of.temperatures)
    passes = answering(of.sampling, drawn, at.volume.prompt_tokens, at.volume.answer_tokens)
    pool = drawn + max(at.number - 1, 0) * of.prompts * of.keep
    tokens = at.volume.prompt_tokens + _answer(at, of.sampling)
    return Work((*passes, scoring(of.sampling, pool, tokens, 2)), read=3, records=pool)


def _synthesize_gatt(at: At) -> Work:
    of = at.config.gatt
    if of is None:
        return Work()
    passes = list[Passes]()
    for turn in range(1, of.max_turns + 1):
        rows = of.dialogues * of.samples * _going_on(turn, of.min_turns, of.max_turns)
        # the instruction, about as long as a prompt, stands before every question
        before = turn * 2 * at.volume.prompt_tokens + (turn - 1) * _answer(at, of.sampling)
        passes += answering(of.sampling, rows, before, at.volume.answer_tokens)
        passes.append(scoring(of.sampling, rows, before + _answer(at, of.sampling), 1))
    return Work(tuple(passes), read=2, records=of.dialogues)


def _going_on(turn: int, least: int, most: int) -> float:
    """Share of dialogues of `least` … `most` turns, all equally often, that have this turn."""
    return 1.0 if turn <= least else (most - turn + 1) / (most - least + 1)


def _fine_tune(at: At) -> Work:
    of = at.config.fine_tune
    picks = min(of.picks, at.config.rejection.prompts * max(at.number, 1))
    replay = min(of.replay, at.volume.demonstrations)
    short = at.volume.prompt_tokens + _answer(at, at.config.rejection.sampling)
    tokens, dialogues = picks * short + replay * at.volume.demonstration_tokens, picks + replay
    if at.config.gatt is not None and at.number >= at.config.gatt.first_iteration:
        turns = (at.config.gatt.min_turns + at.config.gatt.max_turns) / 2
        tokens += at.config.gatt.dialogues * (turns * short + at.volume.prompt_tokens)
        dialogues += at.config.gatt.dialogues
    return _packed(of.training, dialogues, tokens / max(dialogues, 1))


def _ppo(at: At) -> Work:
    of = at.config.ppo
    looks = of.iterations // of.validate_every + 1
    rollouts = of.iterations * of.batch_size + looks * of.validation_prompts
    tokens = at.volume.prompt_tokens + _answer(at, of.sampling)
    groups = of.iterations * math.ceil(of.batch_size / of.sampling.batch_size / of.processes)  # of each process
    groups += looks * math.ceil(of.validation_prompts / of.sampling.batch_size / of.processes)
    readers = 4 if of.dtype == "float32" else 5  # in float32 the policy is not read again
    together = rollouts / max(groups * of.processes, 1)
    passes = (
        Passes("read", groups, together, at.volume.prompt_tokens, of.processes, of.sampling.dtype),
        Passes("decode", groups * of.sampling.max_new_tokens, together, tokens, of.processes, of.sampling.dtype),
        Passes("read", readers * groups, together, tokens, of.processes, of.dtype),
        Passes(
            "train",
            2 * of.iterations * of.epochs * of.batch_size / (of.pass_rows * of.processes),  # policy and value model
            of.pass_rows,
            tokens,
            of.processes,
            of.dtype,
        ),
    )
    return Work(passes, trained=2, read=3, models=1, checkpointing=of.gradient_checkpointing, records=rollouts)


def _dpo(at: At) -> Work:
    of = at.config.dpo
    pairs = min(of.preference_batches, max(at.number, 1)) * sum(_pairs(at)) * _DPO_PAIRS
    tokens = _dialogue(at)
    looks = math.ceil(pairs * of.epochs / of.batch_size / of.validate_every) + 1
    kept = pairs * of.validation_percent / 100
    passes = (
        *answering(of.sampling, of.kl_prompts, at.volume.prompt_tokens, at.volume.answer_tokens),
        Passes("read", math.ceil(pairs / 32), 64, tokens, 1, of.dtype),  # the reference, once
        training(of, pairs - kept, of.epochs, tokens, per_row=2),
        Passes("read", looks * math.ceil(kept / 32), 64, tokens, 1, of.dtype),
    )
    return Work(passes, trained=1, read=0, models=1, checkpointing=of.gradient_checkpointing, records=pairs)


def _evaluate(at: At) -> Work:
    of = at.config.evaluate
    held_out = of.ordinary_prompts + of.borderline_prompts + of.safety_prompts
    answer = _answer(at, of.sampling)
    passes = [*answering(of.sampling, held_out, at.volume.prompt_tokens, at.volume.answer_tokens)]
    dialogues = of.instruction_dialogues if at.config.annotator is not None else 0
    for turn in range(1, of.instruction_turns + 1 if dialogues else 1):
        before = (turn + 1) * at.volume.prompt_tokens + (turn - 1) * answer
        passes += answering(of.sampling, 2 * dialogues, before, at.volume.answer_tokens)
    models = (4 if at.number else 0) + (2 if at.number else 0)  # both rewards of both policies, and the distance to SFT
    passes.append(scoring(of.sampling, held_out, at.volume.prompt_tokens + answer, models))
    return Work(tuple(passes), read=4 if at.number else 1, records=held_out)


def _documents(at: At) -> Work:
    return Work(records=at.volume.documents)


def _collect(at: At) -> Work:
    return Work(records=sum(_pairs(at)))


_WORK: Mapping[str, Callable[[At], Work]] = {
    "import_data": _documents,
    "filter_corpus": _documents,
    "train_tokenizer": _documents,
    "fit_context": _documents,
    "pretrain": _pretrain,
    "sft": _sft,
    "draw_pairs": _draw_pairs,
    "collect_preferences": _collect,
    "train_helpfulness_reward": _reward(0),
    "train_safety_reward": _reward(1),
    "rejection_sample": _rejection_sample,
    "synthesize_gatt": _synthesize_gatt,
    "fine_tune": _fine_tune,
    "ppo": _ppo,
    "dpo": _dpo,
    "evaluate": _evaluate,
    "evaluate_sampled": _evaluate,
}
