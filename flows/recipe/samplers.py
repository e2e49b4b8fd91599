"""Which sections may be drawn by another sampler than torch, and how a step's call knows of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from models.config import SamplingConfig
from models.samplers.config import VllmConfig, version_of

if TYPE_CHECKING:
    from flows.recipe.config import RunConfig

SERVED = ("collect.sampling", "rejection.sampling", "evaluate.sampling", "ppo.sampling")


def check_samplers(config: "RunConfig") -> None:
    """Raises ValueError for a sampler where torch alone draws, and for one of which nothing says how it is reached, or
    that could not be given the policies."""
    named = [path for path, sampling in _samplings(config.model_dump()) if "sampler" in sampling]
    for path in named:
        if path not in SERVED:
            raise ValueError(f"{path}.sampler: torch alone draws here; {', '.join(SERVED)} may name another sampler")
    if named and config.vllm is None:
        raise ValueError(f"{named[0]}.sampler needs the section vllm: give vllm.command, or vllm.url")
    if "ppo.sampling" in named and config.lora is None:
        raise ValueError(
            "ppo.sampling.sampler: a server is given each new policy of PPO as an adapter, and without lora each is "
            "whole weights: give lora, or let torch draw"
        )
    if named and config.vllm is not None and config.vllm.url is not None and config.lora is None:
        raise ValueError(
            "vllm.url: a server that somebody else runs is given adapters alone, and without lora each policy is whole "
            "weights: give vllm.command, or lora"
        )


def _samplings(content: object, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each section called sampling, with where it stands."""
    entries: Sequence[tuple[object, object]] = ()
    if isinstance(content, Mapping):
        entries = list(content.items())
    elif isinstance(content, list | tuple):
        entries = list(enumerate(content))
    for key, value in entries:
        if key == "sampling" and isinstance(value, Mapping):
            yield f"{path}sampling", value
        else:
            yield from _samplings(value, f"{path}{key}.")


def server_of(config: "RunConfig", step_config: BaseModel) -> VllmConfig | None:
    """How the server is reached that draws in a step of this config; None where torch draws, or nothing is drawn."""
    sampling = sampling_of(step_config)
    return None if sampling is None or version_of(sampling) is None else config.vllm


def sampling_of(step_config: BaseModel) -> SamplingConfig | None:
    """How a step of this config draws answers, in a training or by itself; None where it draws none."""
    for config in (step_config, getattr(step_config, "training", None)):
        if isinstance(sampling := getattr(config, "sampling", None), SamplingConfig):
            return sampling
    return None
