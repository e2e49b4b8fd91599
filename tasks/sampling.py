"""Drawing and scoring answers for steps: on the shards that the config asks for, or drawn by the server that it
names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Union

from models.config import PPOConfig, SamplingConfig
from models.samplers.config import version_of
from models.seeds import derive_seed
from tasks.answers import Dialogue, Drawn, Messages, dialogue_ids
from tasks.engine.step import StepRun

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer
    from models.generation import Request, Response
    from models.samplers.served import ServedPolicy
    from models.training.policy_server import PolicyServer
    from models.verdicts import VerdictTokens

Speaker = Union["nn.Module", "ServedPolicy"]
"""Who answers for a policy: the model itself, or a server."""


@contextmanager
def speakers(run: StepRun, config: SamplingConfig) -> "Iterator[Callable[[str, nn.Module], Speaker]]":
    """Gives who answers for the policy of a role, which is open here: itself, unless the config names a server. That
    one speaks for one policy at a time, and ends with the block. Raises ValueError where nothing says how it is
    reached."""
    version = version_of(config)
    if version is None:
        yield lambda _role, policy: policy
        return
    from models.samplers.serving import Serving

    if run.vllm is None:
        raise ValueError(f"sampler: {config.sampler} needs the section vllm, which says how it is reached")
    with Serving(run.vllm, version, config.dtype, config.batch_size, run.log) as serving:
        yield lambda role, policy: serving.policy(policy, run.path(role), run.optional_path("base"), run.version(role))


@contextmanager
def policy_server(run: StepRun, config: PPOConfig) -> "Iterator[PolicyServer | None]":
    """Who draws the answers of the policy that PPO trains; None where torch does. Ends with the block. Raises
    ValueError where nothing says how it is reached."""
    version = version_of(config.sampling)
    if version is None:
        yield None
        return
    from models.samplers.serving import Serving
    from models.training.policy_server import PolicyServer

    if run.vllm is None:
        raise ValueError(f"sampler: {config.sampling.sampler} needs the section vllm, which says how it is reached")
    with Serving(run.vllm, version, config.dtype, config.sampling.batch_size, run.log) as serving:
        yield PolicyServer(serving, run.path("base"), run.work / "served")


def draw(
    policy: Speaker,
    renderer: "Renderer",
    dialogues: Sequence[Messages],
    config: SamplingConfig,
    *,
    temperatures: Sequence[float],
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> list[list[Drawn]]:
    """A response at each of the temperatures to each dialogue that ends with the user's turn."""
    alike = [tuple(temperatures)] * len(dialogues)
    return draw_each(policy, renderer, dialogues, config, temperatures=alike, seed=seed, on_progress=on_progress)


def draw_each(
    policy: Speaker,
    renderer: "Renderer",
    dialogues: Sequence[Messages],
    config: SamplingConfig,
    *,
    temperatures: Sequence[tuple[float, ...]],
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> list[list[Drawn]]:
    """The same with temperatures for each dialogue. A response depends on its dialogue, its place and the seed, not on
    shards and batches."""
    from models.devices import use_threads
    from models.generation import Request, sample
    from models.samplers.served import ServedPolicy
    from models.shards import map_shards
    from tasks.engine.on_ray.active import active

    use_threads(config.threads)
    heard = on_progress or _unheard
    requests = [
        Request(renderer.prompt(messages), wanted, derive_seed(seed, "prompt", i))
        for i, (messages, wanted) in enumerate(zip(dialogues, temperatures, strict=True))
    ]
    if isinstance(policy, ServedPolicy):
        return _as_answers(policy.sample(requests, config, end_ids=renderer.end_ids, on_progress=heard), renderer)
    model = policy
    if (spread := active()) is not None and (opened := spread.models([model])) is not None:
        ends, pad_id = renderer.end_ids, renderer.pad_id
        drawn = spread.draw(opened, requests, config, end_ids=ends, pad_id=pad_id, policy=model, on_progress=heard)
        return _as_answers(drawn, renderer)

    def part(mine: "Sequence[Request]", shard: int) -> "list[list[Response]]":
        return sample(
            model,
            mine,
            config,
            end_ids=renderer.end_ids,
            pad_id=renderer.pad_id,
            on_progress=heard if shard == 0 else _unheard,
        )

    return _as_answers(map_shards(part, requests, config.shards), renderer)


def _as_answers(drawn: "Sequence[Sequence[Response]]", renderer: "Renderer") -> list[list[Drawn]]:
    return [
        [
            Drawn(renderer.response(r.ids), r.ids, r.finished, renderer.identity, f"answer {k} to prompt {i}")
            for k, r in enumerate(responses)
        ]
        for i, responses in enumerate(drawn)
    ]


def _unheard(_: float) -> None:
    """One shard speaks for all."""


def score(
    models: Sequence["nn.Module"],
    renderer: "Renderer",
    dialogues: Sequence[Dialogue],
    config: SamplingConfig,
    on_progress: Callable[[float], None] | None = None,
) -> list[tuple[float, ...]]:
    """Raw reward scores of whole dialogues, one per model, in order. Of a cut answer no end is read."""
    from models.devices import use_threads
    from models.prefix_tree import Group, row_cost, share_prefixes
    from models.shards import map_shards
    from tasks.engine.on_ray.active import active
    from tasks.engine.on_ray.shard_work import scores_of

    use_threads(config.threads)
    heard = on_progress or _unheard
    rows = [dialogue_ids(renderer, messages, answer).input_ids for messages, answer in dialogues]
    if not rows:
        return []
    groups = share_prefixes(rows, row_cost(models[0]), config.batch_size)  # a shard gets whole groups

    def part(mine: Sequence[Group], shard: int) -> list[list[tuple[float, ...]]]:
        chosen = [rows[i] for group in mine for i in group.members]
        told = heard if shard == 0 else _unheard
        scores = iter(scores_of(models, chosen, renderer.pad_id, config.batch_size, told))
        return [[next(scores) for _ in group.members] for group in mine]

    if (spread := active()) is not None and (opened := spread.models(models)) is not None:
        whole = [[rows[i] for i in group.members] for group in groups]
        pad_id = renderer.pad_id
        scored = spread.score(opened, whole, config, pad_id=pad_id, reward=models[0], on_progress=heard)
    else:
        scored = map_shards(part, groups, config.shards)
    found: dict[int, tuple[float, ...]] = {}
    for group, scores in zip(groups, scored, strict=True):
        found |= zip(group.members, scores, strict=True)
    return [found[i] for i in range(len(rows))]


def verdict_odds(
    judge: "nn.Module",
    rows: Sequence[Sequence[int]],
    tokens: "VerdictTokens",
    pad_id: int,
    config: SamplingConfig,
    on_progress: Callable[[float], None] | None = None,
) -> list[float]:
    """Of each question, given as ids, log p(first letter) - log p(second letter) by the judge, in order."""
    from models.devices import use_threads
    from models.shards import map_shards
    from tasks.engine.on_ray.active import active
    from tasks.engine.on_ray.shard_work import odds_of

    use_threads(config.threads)
    heard = on_progress or _unheard
    if not rows:
        return []
    if (spread := active()) is not None and (opened := spread.models([judge])) is not None:
        alone = [[row] for row in rows]
        said = spread.score(opened, alone, config, pad_id=pad_id, reward=judge, on_progress=heard, tokens=tokens)
        return [odds for ((odds,),) in said]

    def part(mine: Sequence[Sequence[int]], shard: int) -> list[float]:
        return odds_of(judge, mine, tokens, pad_id, config.batch_size, heard if shard == 0 else _unheard)

    return map_shards(part, rows, config.shards)
