"""Shards of a step's drawing and scoring, as the step and Ray's workers speak of them, by way of the store's bucket.

    shards/FINGERPRINT/NAME/order     what is to be drawn or scored
    shards/FINGERPRINT/NAME/began/…   a sign of each attempt, with its host
    shards/FINGERPRINT/NAME/result    what came of it, put there once

NAME is the sha256 of the order, which holds all that decides the result: models by the hashes of their files, ids,
seeds, config, and the code. So a shard that ran twice has one result, and one that is found finished is taken up.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from data_store.errors import InputError
from models.config import SamplingConfig
from tasks.engine.remote.messages import Message, Version

if TYPE_CHECKING:
    from pathlib import Path

    from data_store.records import RunInput, VersionInfo
    from data_store.store import Store
    from tasks.engine.call import StepCall

_Id = Annotated[int, Field(ge=0, strict=True)]
Ids = tuple[_Id, ...]
_BYTES = (1 << 16, 64)  # of a result: for itself, and for each token or score


class Model(Message):
    """A version to open as a policy or as a reward model, on its base where it is an adapter."""

    version: Version
    base: Version | None
    is_reward: bool
    dtype: Literal["float32", "bfloat16"]


class Prompt(Message):
    """As `models.generation.Request`."""

    ids: Ids
    temperatures: tuple[float, ...]
    seed: Annotated[int, Field(ge=0)]


class Letters(Message):
    """As `models.verdicts.VerdictTokens`."""

    before: Ids
    ids: tuple[_Id, _Id]


class Shard(Message):
    """One part of a step's drawing, `prompts`, or of its scoring, `rows`, which all `models` score; with `verdict` of
    its judging: the model says how much likelier one of two letters is next. `code` are the step's source files and
    their hashes."""

    models: tuple[Model, ...]
    sampling: SamplingConfig
    pad_id: int
    end_ids: tuple[int, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    rows: tuple[Ids, ...] = ()
    verdict: Letters | None = None
    code: dict[str, str]


class Drawn(Message):
    """As `models.generation.Response`."""

    ids: Annotated[Ids, Field(min_length=1)]
    logprobs: tuple[Annotated[float, Field(le=0, allow_inf_nan=False)], ...]
    finished: Annotated[bool, Field(strict=True)]


class Result(Message):
    """What came of a shard: the responses to each prompt, or of each row a score by each model."""

    responses: tuple[tuple[Drawn, ...], ...] = ()
    scores: tuple[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], ...] = ()


class Began(Message):
    """The sign of an attempt."""

    host: str = Field(max_length=255)


class Place(Message):
    """Where the order of a shard lies, for the worker."""

    objects: str
    store: Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")]
    key: Annotated[str, Field(pattern="^shards/[0-9a-f]{32}/[0-9a-f]{64}/$")]


class Answer(Message):
    """What the worker's process says: empty where the result lies in the bucket, else why there is none, and whether
    that is because of what it was given."""

    failed: str = Field(default="", max_length=20_000)
    is_input: bool = False


class ShardsTold(Message):
    """What a step's process is told: the address of the cluster, what a worker of it must have free, how often a shard
    is sent at the most, and where the objects lie; `versions` are the models that it reads."""

    ray: str
    cpus: float
    gpus: float
    memory: int
    attempts: int
    objects: str
    store: str
    versions: dict[str, Version] = {}

    def reading(self, store: "Store", call: "StepCall", inputs: "Sequence[RunInput]") -> "ShardsTold":
        """The same for a step with these inputs. The folder of a model that judges lies outside: its files are put into
        the bucket. Raises InputError for another model that lies outside the store, and for a folder that has changed.
        """
        with store.one_state():
            given = {entry.version_id: store.version(entry.version_id) for entry in inputs}
        for entry in inputs:
            if given[entry.version_id].kind == "model" and any(
                ref.role == "external" for ref in given[entry.version_id].objects
            ):
                raise InputError(
                    f"{call.step.name} of {call.part} reads {entry.asset}, which lies on this machine's disk: take "
                    f"resources.{call.step.name}.shards out"
                )
        models = {key: Version.of(each) for key, each in given.items() if each.kind == "model"}
        for entry in inputs:
            if call.step.inputs[entry.role].is_model:
                (folder,) = call.files[entry.role]
                models[entry.version_id] = _brought(store, given[entry.version_id], folder)
        return self.model_copy(update={"versions": models})


def _brought(store: "Store", version: "VersionInfo", folder: "Path") -> Version:
    """A version outside the store, when its files are in the bucket."""
    brought = store.publish(version.kind, folder)
    if brought.version_id != version.version_id:
        raise InputError(f"{folder} has changed since it was read first: give the same command again")
    return Version.of(replace(version, objects=brought.objects))


def named(order: bytes) -> str:
    """The name of the shard with this order."""
    return hashlib.sha256(order).hexdigest()


def most_bytes(shard: Shard, limit: int) -> int:
    """How many bytes its result has at the most; `limit` is the context of the model."""
    room = min(limit, shard.sampling.max_new_tokens)
    tokens = sum(len(prompt.temperatures) * room for prompt in shard.prompts)
    return _BYTES[0] + _BYTES[1] * (tokens + len(shard.rows) * len(shard.models))


def check_result(shard: Shard, result: Result, vocabulary: int, limit: int) -> None:
    """Raises ValueError for what cannot have come of the shard: other numbers of responses or scores, ids that are none
    of the `vocabulary`, more tokens than were asked for or than the context of `limit` has room for, an end that is not
    where it is said to be."""
    _same(len(result.responses), len(shard.prompts), "prompts")
    _same(len(result.scores), len(shard.rows), "rows")
    for scores in result.scores:
        _same(len(scores), len(shard.models), "models")
    for prompt, responses in zip(shard.prompts, result.responses, strict=True):
        _same(len(responses), len(prompt.temperatures), "responses to a prompt")
        room = min(shard.sampling.max_new_tokens, limit - len(prompt.ids))
        for each in responses:
            _same(len(each.logprobs), len(each.ids), "log-probabilities of a response")
            _check_ids(each, room, shard.end_ids, vocabulary)


def _check_ids(drawn: Drawn, room: int, end_ids: Sequence[int], vocabulary: int) -> None:
    if max(drawn.ids) >= vocabulary:
        raise ValueError(f"id {max(drawn.ids)} of a vocabulary of {vocabulary}")
    if len(drawn.ids) > room or (len(drawn.ids) < room and not drawn.finished):
        raise ValueError(f"a response of {len(drawn.ids)} tokens, of {room} that were asked for")
    *before, last = (each in end_ids for each in drawn.ids)
    if any(before) or last != drawn.finished:
        raise ValueError("a response whose end is not where it says")


def _same(given: int, wanted: int, what: str) -> None:
    if given != wanted:
        raise ValueError(f"{given} {what}, not {wanted}")
