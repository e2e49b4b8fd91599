"""What each step has to compute: passes through models, by kind and size."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from data_store.reading.benchmark_items import read_benchmark
from flows.forecast.passes import Passes, Work, answering, scoring, training
from flows.forecast.volumes import AROUND, Volume, characters_per_token
from flows.recipe.config import RunConfig
from flows.recipe.judge_rows import is_judge, judge_in_step
from models.config import SamplingConfig, SFTConfig
from tasks.benchmarks.config import BenchmarkConfig
from tasks.engine.call import StepCall
from tasks.evaluations.reward_shift import PROMPTS as SHIFT_PROMPTS
from tasks.judge_answers import judge_answers
from tasks.judging.guidelines import LETTERS, comparison, refusal_by_letter, safety_by_letter
from tasks.temperature_tuning import AUTO

_HELD_OUT_READS = 2  # both answers of a pair
_DPO_PAIRS = 0.6  # share of pairs with the ratings that DPO learns from, for want of a count
_KEPT = 0.5  # share of distilled answers that score higher, for want of a count
_PACKED = 0.9  # how full packed rows are
_LARGE_VOCABULARY = 32_000  # what a model that judges has, at least


@dataclass(frozen=True)
class At:
    """Where a step stands: the run's config and data, the number of the iteration, and its call."""

    config: RunConfig
    volume: Volume
    number: int
    call: StepCall


def work_of(config: RunConfig, call: StepCall, volume: Volume) -> Work:
    """What a step has to do; nothing where no formula is known."""
    name = judge_answers.name if is_judge(call.step.name) else call.step.name
    found, number = _WORK.get(name), int(call.part[1:]) if call.part.startswith("V") else 0
    return Work() if found is None else found(At(config, volume, number, call))


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


def _measure_reward_models(at: At) -> Work:
    of, tokens = at.config.reward_tests, _dialogue(at)
    own = max(at.number, 1) * sum(_pairs(at)) * at.config.collect.heldout_percent / 100
    pairs = own + at.volume.test_pairs
    return Work((scoring(of.sampling, pairs * _HELD_OUT_READS, tokens, 2),), read=2, records=pairs)


def _rejection_sample(at: At) -> Work:
    of, passes = at.config.rejection, list[Passes]()
    temperatures = 1 if of.temperatures == AUTO else len(of.temperatures)
    rounds = [of.prompts * of.samples * temperatures]
    if of.temperatures == AUTO:
        rounds.append(of.tuning.prompts * of.samples * len(of.tuning.grid))
    for drawn in rounds:
        passes += answering(of.sampling, drawn, at.volume.prompt_tokens, at.volume.answer_tokens)
    pool = sum(rounds) + max(at.number - 1, 0) * of.prompts * of.keep
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


def _distill_context(at: At) -> Work:
    of = at.config.context_distillation
    if of is None:
        return Work()
    borderline = of.borderline_prompts if at.config.annotator is not None else 0
    passes, prompt = list[Passes](), at.volume.prompt_tokens
    for asked in (of.prompts, borderline):
        for tokens in (prompt, 2 * prompt) if asked else ():  # the pre-prompt is about as long as a prompt
            passes += answering(of.sampling, asked * of.samples, tokens, at.volume.answer_tokens)
    passes.append(scoring(of.sampling, 2 * of.prompts * of.samples, prompt + _answer(at, of.sampling), 1))
    return Work(tuple(passes), read=2, records=of.prompts)


def _fine_tune(at: At) -> Work:
    of = at.config.fine_tune
    picks = min(of.picks, at.config.rejection.prompts * max(at.number, 1))
    replay = min(of.replay, at.volume.demonstrations)
    short = at.volume.prompt_tokens + _answer(at, at.config.rejection.sampling)
    tokens, dialogues = picks * short + replay * at.volume.demonstration_tokens, picks + replay
    context = at.config.context_distillation
    if context is not None and at.number >= context.first_iteration:
        tokens, dialogues = tokens + _KEPT * context.prompts * short, dialogues + _KEPT * context.prompts
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
    dialogues = of.instruction_dialogues if at.config.annotator is not None or at.config.data.instructions else 0
    dialogues *= 1 + of.instruction_reminded
    for turn in range(1, of.instruction_turns + 1 if dialogues else 1):
        before = (turn + 1) * at.volume.prompt_tokens + (turn - 1) * answer
        passes += answering(of.sampling, 2 * dialogues, before, at.volume.answer_tokens)
    models = (4 if at.number else 0) + (2 if at.number else 0)  # both rewards of both policies, and the distance to SFT
    passes.append(scoring(of.sampling, held_out, at.volume.prompt_tokens + answer, models))
    if at.number and at.config.distill is None:  # the answers of all policies so far, by both reward models
        shifted = (at.number + 1) * min(held_out, SHIFT_PROMPTS)
        passes.append(scoring(of.sampling, shifted, at.volume.prompt_tokens + answer, 2))
    return Work(tuple(passes), read=4 if at.number else 1, records=held_out)


def _questions(at: At) -> dict[str, float]:
    """How many questions a policy's answers are to a judge, by what is asked; each is asked in two orders, or with
    either letter for yes."""
    of = at.config.evaluate
    against = (at.number > 0) + (at.number > 1 and "previous" in of.against)
    answers = of.ordinary_prompts + of.safety_prompts + of.borderline_prompts
    return {"better": answers * against, "unsafe": of.safety_prompts, "refused": of.borderline_prompts}


def _judge_answers(at: At) -> Work:
    judge = next(each for each in at.config.evaluate.judges if each.name == judge_in_step(at.call.step.name))
    asked = _questions(at)
    if judge.folder is None:  # an endpoint, or words that are counted
        return Work(records=sum(asked.values()))
    nobody = ("", True)
    around = {
        "better": comparison("helpfulness", [], nobody, nobody, rated=False),
        "unsafe": safety_by_letter([], nobody, LETTERS[0]),
        "refused": refusal_by_letter([], nobody, LETTERS[0]),
    }
    answer, of_judge = _answer(at, at.config.evaluate.sampling), characters_per_token(_LARGE_VOCABULARY)
    passes = []
    for question, count in asked.items():
        said = at.volume.prompt_tokens + answer * (2 if question == "better" else 1)
        tokens = (len(around[question]) + said * at.volume.characters) / of_judge
        passes.append(scoring(SamplingConfig(batch_size=judge.batch_size), 2 * count, tokens, 1))
    return Work(tuple(each for each in passes if each.count), read=1, judge=judge.folder)


def _run_benchmarks(at: At) -> Work:
    of, passes = at.config.benchmarks, list[Passes]()
    for each in of.sets:
        if each.tasks:  # of lm-evaluation-harness: what they ask is known to it alone
            continue
        count, rows, tokens = _items(each, at.volume.characters)
        if rows:
            passes.append(scoring(of.sampling, rows, tokens, 1))
        else:
            passes += answering(of.sampling, count * of.samples, tokens, of.sampling.max_new_tokens)
    return Work(tuple(passes), read=1)


@lru_cache(maxsize=64)  # every policy is put to the same ones
def _items(benchmark: BenchmarkConfig, characters: float) -> tuple[int, int, float]:
    """Items, continuations that are scored (none where programs are drawn), and mean tokens of what is read."""
    items = read_benchmark(benchmark.files, benchmark.name, benchmark.suite).rows.to_pylist()[: benchmark.limit]
    texts = [item["prompt"] + choice for item in items for choice in item["choices"] or ()]
    read = texts or [item["prompt"] for item in items]
    return len(items), len(texts), statistics.fmean(map(len, read)) / characters + AROUND * benchmark.chat


def _documents(at: At) -> Work:
    return Work(records=at.volume.documents)


def _collect(at: At) -> Work:
    return Work(records=sum(_pairs(at)))


_WORK: Mapping[str, Callable[[At], Work]] = {
    "import_data": _documents,
    "filter_corpus": _documents,
    "train_tokenizer": _documents,
    "describe_corpus": _documents,
    "fit_context": _documents,
    "pretrain": _pretrain,
    "sft": _sft,
    "draw_pairs": _draw_pairs,
    "collect_preferences": _collect,
    "train_helpfulness_reward": _reward(0),
    "train_safety_reward": _reward(1),
    "measure_reward_models": _measure_reward_models,
    "rejection_sample": _rejection_sample,
    "synthesize_gatt": _synthesize_gatt,
    "distill_context": _distill_context,
    "fine_tune": _fine_tune,
    "ppo": _ppo,
    "dpo": _dpo,
    "evaluate": _evaluate,
    "evaluate_sampled": _evaluate,
    "pose_questions": lambda at: Work(records=sum(_questions(at).values())),
    "pose_sampled_questions": lambda at: Work(records=sum(_questions(at).values())),
    judge_answers.name: _judge_answers,
    "run_benchmarks": _run_benchmarks,
}
