"""What evaluations, their judges and benchmarks have to compute."""

import statistics
from functools import lru_cache

from data_store.reading.benchmark_items import read_benchmark
from flows.forecast.beginnings import AROUND
from flows.forecast.passes import ALIKE, Passes, Work, answering, scoring, scoring_pairs
from flows.forecast.place import At, answer_of, held_out_pairs, held_out_prompts, pair_tokens
from flows.forecast.volumes import characters_per_token
from flows.recipe.judge_rows import judge_in_step
from flows.recipe.lengths import limits
from tasks.benchmarks.config import BenchmarkConfig
from tasks.evaluation_judges.config import GOLD
from tasks.evaluations.reward_shift import PROMPTS as SHIFT_PROMPTS
from tasks.judging.guidelines import LETTERS, comparison, refusal_by_letter, safety_by_letter

_LARGE_VOCABULARY = 32_000  # what a model that judges has, at least


def evaluating(at: At) -> Work:
    of, prompts = at.config.evaluate, at.volume.prompts
    held_out = sum(held_out_prompts(at).values())
    answer = answer_of(at, of.sampling)
    passes = [*answering(of.sampling, held_out, at.volume.prompt_tokens, at.volume.answer_tokens, prompts)]
    dialogues = of.instruction_dialogues if at.config.annotator is not None or at.config.data.instructions else 0
    dialogues *= 1 + of.instruction_reminded
    room = limits(at.config)["prompt_tokens"]
    for turn in range(1, of.instruction_turns + 1 if dialogues else 1):
        before = min((turn + 1) * at.volume.turn_tokens + (turn - 1) * answer, room)
        passes += answering(of.sampling, dialogues, before, at.volume.answer_tokens, ALIKE)
    tokens, read = at.volume.prompt_tokens + answer, 1
    if at.number:
        # both rewards of both policies, and the distance to SFT
        passes.append(scoring(of.sampling, held_out, tokens, 4, prompts))
        passes.append(scoring(of.sampling, held_out, tokens, 2, prompts, head=answer / tokens))
        read += 3
    if at.number and at.config.distill is None:
        # each axis' held-out pairs by its own model; those of safety once more for the threshold, where judges say what
        # is unsafe, as those of files do not
        helpful, safe = (at.number * each for each in held_out_pairs(at))
        safe *= 2 if at.config.draws_pairs else 1
        passes += [scoring_pairs(of.sampling, pairs, pair_tokens(at), 1, at.volume.rows) for pairs in (helpful, safe)]
    if at.number and at.config.distill is None and at.call.step.name == "evaluate":
        # the answers of all policies so far, by both reward models
        passes += [scoring(of.sampling, min(held_out, SHIFT_PROMPTS), tokens, 2, prompts)] * (at.number + 1)
        read += 2
    return Work(tuple(passes), read=read, records=held_out)


def questions_of(at: At) -> dict[str, float]:
    """How many questions a policy's answers are to a judge, by what is asked; each is asked in two orders, or with
    either letter for yes."""
    of = at.config.evaluate
    named = sum(each.policy is None for each in of.compared) if at.number else 0  # those of the run are seldom named
    against = (at.number > 0) + (at.number > 1 and "previous" in of.against) + named
    asked = held_out_prompts(at)
    return {
        "better": sum(asked.values()) * against,
        "unsafe": asked["adversarial"] * (1 + named),
        "refused": asked["borderline"] * (1 + named),
    }


def judging(at: At) -> Work:
    judge = next(each for each in at.config.evaluation_judges if each.name == judge_in_step(at.call.step.name))
    asked = questions_of(at)
    if judge.kind == GOLD:
        return _by_gold(at, asked["better"])
    if judge.folder is None:  # an endpoint, or words that are counted
        return Work(records=sum(asked.values()))
    nobody = ("", True)
    around = {
        "better": comparison("helpfulness", [], nobody, nobody, rated=False),
        "unsafe": safety_by_letter([], nobody, LETTERS[0]),
        "refused": refusal_by_letter([], nobody, LETTERS[0]),
    }
    answer, of_judge = answer_of(at, at.config.evaluate.sampling), characters_per_token(_LARGE_VOCABULARY)
    passes = []
    for question, count in asked.items():
        said = at.volume.prompt_tokens + answer * (2 if question == "better" else 1)
        tokens = (len(around[question]) + said * at.volume.characters) / of_judge
        passes.append(scoring(judge.reading, 2 * count, tokens, 1, at.volume.prompts, head=1 / tokens))
    return Work(tuple(each for each in passes if each.count), read=1, judge=judge.folder)


def _by_gold(at: At, compared: float) -> Work:
    """It scores the policy's answers and those of whom it is compared with, and its own held-out pairs."""
    of = at.config.evaluate.sampling
    held_out = max(at.number, 1) * sum(held_out_pairs(at))
    answers = at.config.evaluate.ordinary_prompts + at.config.evaluate.safety_prompts
    answers += at.config.evaluate.borderline_prompts
    passes = (
        scoring(of, answers + compared, at.volume.prompt_tokens + answer_of(at, of), 1, at.volume.prompts),
        scoring_pairs(of, held_out, pair_tokens(at), 1, at.volume.rows),
    )
    return Work(passes, read=1, records=compared)


def benchmarking(at: At) -> Work:
    of, passes = at.config.benchmarks, list[Passes]()
    for each in of.sets:
        if each.tasks:  # of lm-evaluation-harness: what they ask is known to it alone
            continue
        count, rows, tokens = _items(each, at.volume.characters)
        if rows:
            passes.append(scoring(of.sampling, rows, tokens, 1, ALIKE, head=1.0))
        else:
            passes += answering(of.sampling, count * of.samples, tokens, of.sampling.max_new_tokens, ALIKE)
    return Work(tuple(passes), read=1)


@lru_cache(maxsize=64)  # every policy is put to the same ones
def _items(benchmark: BenchmarkConfig, characters: float) -> tuple[int, int, float]:
    """Items, continuations that are scored (none where programs are drawn), and mean tokens of what is read."""
    items = read_benchmark(benchmark.files, benchmark.name, benchmark.suite).rows.to_pylist()[: benchmark.limit]
    texts = [item["prompt"] + choice for item in items for choice in item["choices"] or ()]
    read = texts or [item["prompt"] for item in items]
    return len(items), len(texts), statistics.fmean(map(len, read)) / characters + AROUND * benchmark.chat
