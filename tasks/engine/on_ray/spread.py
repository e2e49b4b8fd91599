"""A step's drawing and scoring, spread over the workers of a Ray cluster, as the step's process sees it.

How many shards there are is the config's; where they are done decides nothing of their results. Ray repeats nothing: a
shard whose worker is gone is sent again from here, alone.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data_store.errors import InputError
from models.shards import parts_of, together
from tasks.engine.on_ray.active import spread_by
from tasks.engine.on_ray.cluster import OVER, Cluster, Needs
from tasks.engine.on_ray.shards import (
    Answer,
    Began,
    Letters,
    Model,
    Place,
    Prompt,
    Result,
    Shard,
    ShardsTold,
    check_result,
    most_bytes,
    named,
)
from tasks.engine.remote.messages import UnreadableError, read
from tasks.engine.step import StepRun

if TYPE_CHECKING:
    from torch import nn

    from data_store.content.bucket import Bucket
    from models.config import SamplingConfig
    from models.generation import Request, Response
    from models.verdicts import VerdictTokens

PROCESS = "tasks.engine.on_ray.shard_process"
_SECONDS_BETWEEN_WORDS = 15.0


class Spread:
    """For one step. `key` is where its shards lie in the bucket, `code` the step's source files."""

    def __init__(
        self, told: ShardsTold, bucket: "Bucket", cluster: Cluster, run: StepRun, key: str, code: Mapping[str, str]
    ) -> None:
        self._told, self._bucket, self._cluster, self._run, self._key = told, bucket, cluster, run, key
        self._code = dict(code)
        self._done = 0
        self._attempts: Counter[str] = Counter()

    def models(self, models: "Sequence[nn.Module]") -> tuple[Model, ...] | None:
        """The models as a worker opens them; None where one is no version of the store as it was opened: what a
        training holds, say."""
        from models.origins import origin_of

        found = []
        for model in models:
            origin = origin_of(model)
            version = None if origin is None else self._version(origin.folder)
            if origin is None or version is None:
                return None
            base = None if origin.base is None else self._version(origin.base)
            if (base is None) != (origin.base is None):
                return None
            found.append(Model(version=version, base=base, is_reward=origin.is_reward, dtype=cast(Any, origin.dtype)))
        return tuple(found)

    def draw(
        self,
        models: tuple[Model, ...],
        requests: "Sequence[Request]",
        config: "SamplingConfig",
        *,
        end_ids: Sequence[int],
        pad_id: int,
        policy: "nn.Module",
        on_progress: Callable[[float], None],
    ) -> "list[list[Response]]":
        """As `models.shards.map_shards` of `models.generation.sample`."""
        from models.generation import Response, require_room

        if not requests:
            return []
        vocabulary, limit = _sizes(policy)
        require_room(requests, limit)
        shards = [
            Shard(
                models=models,
                sampling=config,
                pad_id=pad_id,
                end_ids=tuple(end_ids),
                prompts=tuple(Prompt(ids=tuple(r.ids), temperatures=r.temperatures, seed=r.seed) for r in part),
                code=self._code,
            )
            for part in parts_of(requests, config.shards)
        ]
        results = self._results("drawing", shards, vocabulary, limit, on_progress)
        drawn = [
            [[Response(list(r.ids), list(r.logprobs), r.finished) for r in each] for each in result.responses]
            for result in results
        ]
        return together(drawn, len(requests))

    def score(
        self,
        models: tuple[Model, ...],
        groups: Sequence[Sequence[Sequence[int]]],
        config: "SamplingConfig",
        *,
        pad_id: int,
        reward: "nn.Module",
        on_progress: Callable[[float], None],
        tokens: "VerdictTokens | None" = None,
    ) -> list[list[tuple[float, ...]]]:
        """Of each row of each group the scores by the models, as `map_shards` of `score_rows`; with `tokens` of a
        verdict its log-odds by the only model, as of `odds_of`."""
        vocabulary, limit = _sizes(reward)
        parts = parts_of(groups, config.shards)
        shards = [
            Shard(
                models=models,
                sampling=config,
                pad_id=pad_id,
                rows=tuple(tuple(row) for group in part for row in group),
                verdict=None if tokens is None else Letters(before=tokens.before, ids=tokens.ids),
                code=self._code,
            )
            for part in parts
        ]
        results = self._results("judging" if tokens else "scoring", shards, vocabulary, limit, on_progress)
        scored = []
        for part, result in zip(parts, results, strict=True):
            scores = iter(result.scores)
            scored.append([[next(scores) for _ in group] for group in part])
        return together(scored, len(groups))

    def measured(self) -> dict[str, float]:
        """How many shards there were, and on which machines they were attempted how often: metrics of the run."""
        if not self._done:
            return {}
        at = {f"shards/attempts/{host}": float(count) for host, count in sorted(self._attempts.items())}
        return {"shards": float(self._done), "shards/attempts": float(self._attempts.total()), **at}

    def _version(self, folder: Path) -> Any:
        return self._told.versions.get(self._run.version_of(folder) or "")

    def _results(
        self, what: str, shards: Sequence[Shard], vocabulary: int, limit: int, on_progress: Callable[[float], None]
    ) -> list[Result]:
        """All of them, in order; those that lie in the bucket already are taken up."""
        orders = [shard.model_dump_json().encode() for shard in shards]
        keys = [f"{self._key}{named(order)}/" for order in orders]
        found: dict[int, Result] = {}
        waiting: dict[int, str] = {}
        sent: Counter[int] = Counter()
        for i, (key, order) in enumerate(zip(keys, orders, strict=True)):
            self._bucket.create(f"{key}order", order)
            if (result := self._result(key, shards[i], vocabulary, limit)) is not None:
                found[i] = result
        try:
            spoke = time.monotonic()
            while len(found) < len(shards):
                for i, key in enumerate(keys):
                    if i not in found and i not in waiting:
                        waiting[i] = self._send(f"{what} {i + 1}/{len(shards)}", key)
                        sent[i] += 1
                self._cluster.wait(0.2)
                for i, task in list(waiting.items()):
                    told = self._cluster.told(task)
                    if told.state == "SCHEDULED" and told.message and time.monotonic() - spoke > _SECONDS_BETWEEN_WORDS:
                        spoke = time.monotonic()
                        self._run.log(f"{what}, shard {i + 1} of {len(shards)} waits for {told.message}")
                    if told.state not in OVER:
                        continue
                    del waiting[i]
                    name = f"{what}, shard {i + 1} of {len(shards)}"
                    if told.state == "COMPLETED":
                        _require_done(name, told.answer)
                        result = self._result(keys[i], shards[i], vocabulary, limit)
                        if result is not None:
                            found[i] = result
                            on_progress(len(found) / len(shards))
                            continue
                    if told.state == "CANCELLED" or sent[i] >= self._told.attempts:
                        raise RuntimeError(f"{name}: {told.state.lower()}: {told.message or 'its result is gone'}")
                    self._run.log(f"{name} is sent again: {told.message or 'its result is gone'}")
        finally:
            for task in waiting.values():
                self._cluster.end(task)
        self._count(what, keys)
        return [found[i] for i in range(len(shards))]

    def _send(self, name: str, key: str) -> str:
        told = self._told
        place = Place(objects=told.objects, store=told.store, key=key)
        needs = Needs(told.cpus, told.gpus, told.memory)
        full = f"{self._run.name} {self._run.part} {name}"
        return self._cluster.begin(full, PROCESS, place.model_dump(), needs, stays=True)

    def _result(self, key: str, shard: Shard, vocabulary: int, limit: int) -> Result | None:
        """What lies in the bucket, read as what a stranger says. One that cannot be is taken away, so that the same
        command has it made anew. Raises RuntimeError for it."""
        reader = self._bucket.read(f"{key}result")
        if reader is None:
            return None
        try:
            result = read(Result, reader, reader.size, most_bytes(shard, limit))
            check_result(shard, result, vocabulary, limit)
        except (UnreadableError, ValueError) as error:
            self._bucket.delete([f"{key}result"])
            raise RuntimeError(f"{key}result is not what was asked for: {error}") from None
        return result

    def _count(self, what: str, keys: Sequence[str]) -> None:
        """Tell how often each was attempted, and where: by the signs in the bucket, whoever has repeated it."""
        for i, key in enumerate(keys, start=1):
            hosts = []
            for sign, _ in self._bucket.listed(f"{key}began/"):
                reader = self._bucket.read(sign)
                if reader is not None:
                    hosts.append(read(Began, reader, reader.size).host)
            self._done += 1
            self._attempts.update(hosts)
            if len(hosts) > 1:
                self._run.metric("shard_attempts", float(len(hosts)), step=self._done)
                self._run.note(f"{what}, shard {i} of {len(keys)} ran {len(hosts)} times: on {', '.join(hosts)}")


def _require_done(name: str, answer: object) -> None:
    """Raises InputError and RuntimeError, as the worker's process says."""
    told = Answer.model_validate(answer)
    if told.failed:
        raise (InputError if told.is_input else RuntimeError)(f"{name}: {told.failed}")


def _sizes(model: "nn.Module") -> tuple[int, int]:
    """(vocabulary, context) of an open model."""
    config: Any = model.config
    return int(config.vocab_size), int(config.max_position_embeddings)


@contextmanager
def spreading(told: Mapping[str, Any], run: StepRun, folder: Path, code: Mapping[str, str]) -> Iterator[Spread]:
    """For the length of a step, by what its process is told."""
    from data_store.content.bucket import open_bucket

    known = ShardsTold.model_validate(told)
    cluster = Cluster(known.ray)
    spread = Spread(known, open_bucket(known.objects), cluster, run, f"shards/{folder.name}/", code)
    try:
        with spread_by(spread):
            yield spread
    finally:
        cluster.close()
