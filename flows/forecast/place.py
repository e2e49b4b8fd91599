"""Where a step stands in a run that is planned, and how much it has before it there."""

from dataclasses import dataclass

from data_store.rows import AXES
from flows.forecast.volumes import Volume
from flows.recipe.config import RunConfig
from models.config import SamplingConfig
from tasks.engine.call import StepCall


@dataclass(frozen=True)
class At:
    """Where a step stands: the run's config and data, the number of the iteration, and its call."""

    config: RunConfig
    volume: Volume
    number: int
    call: StepCall


def pairs_of(at: At) -> tuple[float, float]:
    """(helpfulness, safety) pairs of an iteration."""
    if at.config.draws_pairs:
        return float(at.config.collect.ordinary_prompts), float(at.config.collect.safety_prompts)
    return at.volume.helpfulness_pairs / at.config.iterations, at.volume.safety_pairs / at.config.iterations


def held_out_pairs(at: At) -> tuple[float, float]:
    """(helpfulness, safety) pairs of an iteration that test the reward models: what is drawn for that, and where
    prompts are those of the pairs, what is held out for evaluation as well."""
    of, given = at.config.data, at.config.data.given()
    found = []
    for axis, pairs in zip(AXES, pairs_of(at), strict=True):
        learned = 1 - at.config.collect.heldout_percent / 100
        if not at.config.draws_pairs and not {f"{axis}_prompts", f"{axis}_evaluation_prompts"} & given.keys():
            learned *= 1 - of.heldout_percent / 100
        found.append(pairs * (1 - learned))
    return found[0], found[1]


def answer_of(at: At, sampling: SamplingConfig) -> float:
    return min(at.volume.answer_tokens, sampling.max_new_tokens)


def pair_tokens(at: At) -> float:
    """Tokens that are read of a pair: the prompt of both answers stands once in their row (prefix trees)."""
    prompt, answer = at.volume.pair_prompt_tokens, at.volume.pair_answer_tokens
    if at.config.draws_pairs:
        prompt, answer = at.volume.prompt_tokens, answer_of(at, at.config.collect.sampling)
    tokens = min(prompt + answer, at.config.reward.max_length)
    return max(2 * tokens - prompt, tokens)


def held_out_prompts(at: At) -> dict[str, int]:
    """How many prompts an evaluation answers, by kind; of borderline ones only where there are any."""
    of, data = at.config.evaluate, at.config.data
    has_borderline = data.world is not None or bool(data.borderline_prompts)
    return {
        "ordinary": of.ordinary_prompts,
        "adversarial": of.safety_prompts,
        "borderline": of.borderline_prompts if has_borderline else 0,
    }


def sampled_tokens(prompt: float, answer: float, to_each: int) -> float:
    """The same of `to_each` answers to one prompt."""
    return prompt / to_each + answer
