"""Where a step stands in a run that is planned, and how much it has before it there."""

from dataclasses import dataclass

from flows.forecast.volumes import Volume
from flows.recipe.config import RunConfig
from models.config import SamplingConfig
from tasks.engine.call import StepCall

HELD_OUT_READS = 2  # both answers of a pair


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


def answer_of(at: At, sampling: SamplingConfig) -> float:
    return min(at.volume.answer_tokens, sampling.max_new_tokens)


def dialogue_of(at: At) -> float:
    """Tokens of a prompt with its answer, as pairs have it."""
    answer = answer_of(at, at.config.collect.sampling) if at.config.draws_pairs else at.volume.answer_tokens
    return min(at.volume.prompt_tokens + answer, at.config.reward.max_length)


def pair_tokens(at: At) -> float:
    """Tokens that are read of each answer of a pair: the prompt of both stands once in their row (prefix trees)."""
    tokens = dialogue_of(at)
    return max(tokens - at.volume.prompt_tokens / 2, tokens / 2)


def sampled_tokens(prompt: float, answer: float, to_each: int) -> float:
    """The same of `to_each` answers to one prompt."""
    return prompt / to_each + answer
