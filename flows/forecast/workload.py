"""What each step has to compute: passes through models, by kind and size."""

import math
from collections.abc import Callable, Mapping

from flows.forecast.corpora import characters_of, extending, filtering, learning_quality, reading
from flows.forecast.evaluations import benchmarking, evaluating, judging, questions_of
from flows.forecast.passes import (
    ALIKE,
    Passes,
    Work,
    answering,
    decoding,
    filled,
    padded,
    scoring,
    scoring_pairs,
    training,
    training_on_pairs,
)
from flows.forecast.place import (
    At,
    answer_of,
    held_out_pairs,
    pair_tokens,
    pairs_of,
    sampled_tokens,
)
from flows.forecast.volumes import Volume
from flows.recipe.config import RunConfig
from flows.recipe.judge_rows import is_judge
from models.config import SamplingConfig, SFTConfig
from tasks.engine.call import StepCall
from tasks.judge_answers import judge_answers
from tasks.temperature_tuning import AUTO

_DPO_PAIRS = 0.6  # share of pairs with the ratings that DPO learns from, for want of a count
_KEPT = 0.5  # share of distilled answers that score higher, for want of a count
_IMPORTED_PAIR = 4  # documents that are read as soon as a pair and the prompt that is taken from it
_DEALT = 0.1  # pairs that are judged as soon as one of a file is dealt out
_CHECKS = 5  # times that `check_base` reads all weights: finite ones, and probes in several ways
_PACKED = 0.9  # how full packed rows are


def work_of(config: RunConfig, call: StepCall, volume: Volume) -> Work:
    """What a step has to do; nothing where no formula is known."""
    name = judge_answers.name if is_judge(call.step.name) else call.step.name
    found, number = _WORK.get(name), int(call.part[1:]) if call.part.startswith("V") else 0
    return Work() if found is None else found(At(config, volume, number, call))


def _draw_own_answers(at: At) -> Work:
    of = at.config.own_answers
    if of is None:
        return Work()
    passes = answering(of.sampling, of.prompts, at.volume.prompt_tokens, at.volume.answer_tokens, at.volume.prompts)
    return Work(tuple(passes), read=1, records=of.prompts)


def _packed(config: SFTConfig, dialogues: float, tokens: float) -> Work:
    rows = dialogues * tokens / (config.sequence_length * _PACKED)
    return Work(
        (training(config, rows, config.epochs, config.sequence_length),),
        trained=1,
        models=1,
        checkpointing=config.gradient_checkpointing,
        shards=config.shards,
        records=dialogues,
    )


def _pretrain(at: At) -> Work:
    of = at.config.pretrain
    passes = Passes(
        "train",
        of.max_steps * of.accumulation_steps,
        of.pass_rows,
        of.sequence_length,
        of.processes,
        of.dtype,
    )
    return Work(
        (passes,),
        trained=1,
        models=1,
        checkpointing=of.gradient_checkpointing,
        shards=of.shards,
        records=at.volume.documents,
        characters=characters_of(at.volume),
    )


def _sft(at: At) -> Work:
    dialogues, tokens = _demonstrations(at)
    if not dialogues:  # a base model that can chat stays as it is
        return Work(read=1, models=1)
    return _packed(at.config.sft, dialogues, tokens)


def _demonstrations(at: At) -> tuple[float, float]:
    """(how many, tokens of one), the base model's own answers among them."""
    given, of = at.volume.demonstrations, at.config.own_answers
    if of is None:
        return given, at.volume.demonstration_tokens
    own = of.prompts * (at.volume.prompt_tokens + answer_of(at, of.sampling))
    return given + of.prompts, (given * at.volume.demonstration_tokens + own) / (given + of.prompts)


def _draw_pairs(at: At) -> Work:
    prompts = sum(pairs_of(at))
    of = at.config.collect
    passes = 2 * answering(
        of.sampling, prompts, at.volume.prompt_tokens, at.volume.answer_tokens, at.volume.prompts
    )  # two variants
    return Work(passes, read=2, records=prompts)


def _reward(axis: int) -> Callable[[At], Work]:
    def work(at: At) -> Work:
        of = at.config.reward
        pairs, held_out = ([max(at.number, 1) * n for n in each] for each in (pairs_of(at), held_out_pairs(at)))
        learned = [(n - apart) * (1 - of.gold_percent / 100) for n, apart in zip(pairs, held_out, strict=True)]
        own, other = learned[axis], learned[1 - axis]
        share = of.safety_other_share if axis else of.helpfulness_other_share
        mixed = own + min(other, own * share / (1 - share))
        tokens = pair_tokens(at)
        train = training_on_pairs(of, mixed, of.epochs, tokens, at.volume.rows)
        return Work(
            (train, scoring_pairs(SamplingConfig(), held_out[axis], tokens, 1, at.volume.rows)),
            trained=1,
            models=1,
            checkpointing=of.gradient_checkpointing,
            shards=of.shards,
            records=sum(pairs),
        )

    return work


def _gold_reward(at: At) -> Work:
    of, tokens = at.config.reward, pair_tokens(at)
    pairs, held_out = (max(at.number, 1) * sum(each) for each in (pairs_of(at), held_out_pairs(at)))
    train = training_on_pairs(of, (pairs - held_out) * of.gold_percent / 100, of.epochs, tokens, at.volume.rows)
    tested = scoring_pairs(SamplingConfig(), held_out, tokens, 1, at.volume.rows)
    return Work(
        (train, tested),
        trained=1,
        models=1,
        checkpointing=of.gradient_checkpointing,
        shards=of.shards,
        records=pairs,
    )


def _measure_reward_models(at: At) -> Work:
    of, tokens = at.config.reward_tests, pair_tokens(at)
    sets = [max(at.number, 1) * each for each in held_out_pairs(at)] + [at.volume.test_pairs]
    passes = [scoring_pairs(of.sampling, pairs, tokens, 2, at.volume.rows) for pairs in sets if pairs]
    return Work(tuple(passes), read=2, records=sum(sets))


def _rejection_sample(at: At) -> Work:
    of, passes = at.config.rejection, list[Passes]()
    temperatures = 1 if of.temperatures == AUTO else len(of.temperatures)
    rounds = [(of.prompts, of.samples * temperatures)]
    if of.temperatures == AUTO:
        rounds.append((of.tuning.prompts, of.samples * len(of.tuning.grid)))
    for prompts, each in rounds:
        passes += answering(
            of.sampling,
            prompts * each,
            at.volume.prompt_tokens,
            at.volume.answer_tokens,
            at.volume.prompts,
            to_each=each,
        )
    pool = sum(prompts * each for prompts, each in rounds) + min(
        max(at.number - 1, 0) * of.prompts * of.keep, of.score_again
    )
    tokens = sampled_tokens(at.volume.prompt_tokens, answer_of(at, of.sampling), of.samples * temperatures)
    return Work((*passes, scoring(of.sampling, pool, tokens, 2, at.volume.prompts)), read=3, records=pool)


def _synthesize_gatt(at: At) -> Work:
    of = at.config.gatt
    if of is None:
        return Work()
    passes = list[Passes]()
    for turn in range(1, of.max_turns + 1):
        rows = of.dialogues * of.samples * _going_on(turn, of.min_turns, of.max_turns)
        # the instruction, about as long as a prompt, stands before every question
        before = turn * 2 * at.volume.turn_tokens + (turn - 1) * answer_of(at, of.sampling)
        passes += answering(of.sampling, rows, before, at.volume.answer_tokens, ALIKE)
        tokens = sampled_tokens(before, answer_of(at, of.sampling), of.samples)
        passes.append(scoring(of.sampling, rows, tokens, 1, ALIKE))
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
            passes += answering(of.sampling, asked * of.samples, tokens, at.volume.answer_tokens, at.volume.prompts)
    tokens = sampled_tokens(prompt, answer_of(at, of.sampling), 2 * of.samples)
    passes.append(scoring(of.sampling, 2 * of.prompts * of.samples, tokens, 1, at.volume.prompts))
    return Work(tuple(passes), read=2, records=of.prompts)


def _fine_tune(at: At) -> Work:
    of = at.config.fine_tune
    picks = min(of.picks, at.config.rejection.prompts * max(at.number, 1))
    demonstrations, demonstration_tokens = _demonstrations(at)
    replay = min(of.replay, demonstrations)
    short = at.volume.prompt_tokens + answer_of(at, at.config.rejection.sampling)
    tokens, dialogues = picks * short + replay * demonstration_tokens, picks + replay
    context = at.config.context_distillation
    if context is not None and at.number >= context.first_iteration:
        tokens, dialogues = tokens + _KEPT * context.prompts * short, dialogues + _KEPT * context.prompts
    if at.config.gatt is not None and at.number >= at.config.gatt.first_iteration:
        turns = (at.config.gatt.min_turns + at.config.gatt.max_turns) / 2
        answer = short - at.volume.prompt_tokens
        tokens += at.config.gatt.dialogues * (turns * (at.volume.turn_tokens + answer) + at.volume.turn_tokens)
        dialogues += at.config.gatt.dialogues
    return _packed(of.training, dialogues, tokens / max(dialogues, 1))


def _ppo(at: At) -> Work:
    of = at.config.ppo
    looks = of.iterations // of.validate_every + 1
    rollouts = of.iterations * of.batch_size + looks * of.validation_prompts
    tokens = at.volume.prompt_tokens + answer_of(at, of.sampling)
    groups = of.iterations * math.ceil(of.batch_size / of.sampling.batch_size / of.processes)  # of each process
    groups += looks * math.ceil(of.validation_prompts / of.sampling.batch_size / of.processes)
    # SFT, the value model and both reward models; in float32 the policy is not read again
    readers = 4 if of.dtype == "float32" else 5
    giving_logits = (readers - 3) / readers * answer_of(at, of.sampling) / tokens
    together = rollouts / max(groups * of.processes, 1)
    passes = (
        padded(
            Passes("read", groups, together, at.volume.prompt_tokens, of.processes, of.sampling.dtype, head=0.0),
            at.volume.prompts,
            1,
        ),
        decoding(of.sampling, groups, together, at.volume.prompt_tokens, at.volume.answer_tokens, of.processes),
        filled(
            Passes("read", readers * groups, together, tokens, of.processes, of.dtype, head=giving_logits, context=1.0),
            at.volume.prompts,
        ),
        filled(
            Passes(
                "train",
                2 * of.iterations * of.epochs * of.batch_size / (of.pass_rows * of.processes),  # policy and value model
                of.pass_rows,
                tokens,
                of.processes,
                of.dtype,
                head=answer_of(at, of.sampling) / tokens / 2,
                context=1.0,
            ),
            at.volume.prompts,
        ),
    )
    return Work(
        passes,
        trained=2,
        read=3,
        models=1,
        checkpointing=of.gradient_checkpointing,
        shards=of.shards,
        records=rollouts,
    )


def _dpo(at: At) -> Work:
    of = at.config.dpo
    pairs = min(of.preference_batches, max(at.number, 1)) * sum(pairs_of(at)) * _DPO_PAIRS
    tokens = pair_tokens(at)
    looks = math.ceil(pairs * of.epochs / of.batch_size / of.validate_every) + 1
    kept = pairs * of.validation_percent / 100
    passes = (
        *answering(of.sampling, of.kl_prompts, at.volume.prompt_tokens, at.volume.answer_tokens, at.volume.prompts),
        filled(Passes("read", math.ceil(pairs / 32), 32, tokens, 1, of.dtype, context=1.0), at.volume.rows),  # once
        training_on_pairs(of, pairs - kept, of.epochs, tokens, at.volume.rows, head=1.0),
        filled(Passes("read", looks * math.ceil(kept / 32), 32, tokens, 1, of.dtype, context=1.0), at.volume.rows),
    )
    return Work(
        passes,
        trained=1,
        read=0,
        models=1,
        checkpointing=of.gradient_checkpointing,
        shards=of.shards,
        records=pairs,
    )


def _import(at: At) -> Work:
    return Work(records=at.volume.documents + at.volume.dialogues + _IMPORTED_PAIR * at.volume.pairs)


def _fit(at: At) -> Work:
    return Work(characters=at.volume.dialogue_characters)


def _collect(at: At) -> Work:
    return Work(records=sum(pairs_of(at)) * (1.0 if at.config.draws_pairs else _DEALT))


_WORK: Mapping[str, Callable[[At], Work]] = {
    "check_base": lambda at: Work(read=_CHECKS if at.call.outputs.keys() - {"tokenizer", "encoder"} else 0),
    "import_data": _import,
    "train_quality_classifier": learning_quality,
    "filter_corpus": filtering,
    "train_tokenizer": reading,
    "extend_tokenizer": extending,
    "describe_corpus": reading,
    "drop_similar": _fit,
    "fit_context": _fit,
    "pretrain": _pretrain,
    "draw_own_answers": _draw_own_answers,
    "sft": _sft,
    "draw_pairs": _draw_pairs,
    "collect_preferences": _collect,
    "train_helpfulness_reward": _reward(0),
    "train_safety_reward": _reward(1),
    "train_gold_reward": _gold_reward,
    "measure_reward_models": _measure_reward_models,
    "rejection_sample": _rejection_sample,
    "synthesize_gatt": _synthesize_gatt,
    "distill_context": _distill_context,
    "fine_tune": _fine_tune,
    "ppo": _ppo,
    "dpo": _dpo,
    "evaluate": evaluating,
    "evaluate_sampled": evaluating,
    "pose_questions": lambda at: Work(records=sum(questions_of(at).values())),
    "pose_sampled_questions": lambda at: Work(records=sum(questions_of(at).values())),
    judge_answers.name: judging,
    "run_benchmarks": benchmarking,
}
