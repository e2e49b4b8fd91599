"""What a run will cost, step by step, before it is started: operations, memory, disk, time, energy, CO2."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from flows.forecast.passes import Passes, Work
from flows.forecast.volumes import volume_of
from flows.forecast.workload import work_of
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, groups_of
from models.config import Config, LoraConfig
from models.costs import (
    BYTES,
    Memory,
    adapter_parameters,
    cache_bytes,
    forward_flops,
    parameters,
    reading_memory,
    training_flops,
    training_memory,
)
from models.hardware import Hardware
from models.llama_presets import Architecture, resolve_architecture

SHARDED_OVER = 8
# Seconds of a document that is read, checked and written without a model, by step: smoke and demo run (docs/log.md)
RECORD_SECONDS = {
    "import_data": 4.5e-5,
    "filter_corpus": 1.2e-4,
    "train_tokenizer": 1.5e-5,
    "fit_context": 4e-5,
}
# Of a second process on this machine: two were 1.63 times as fast as one (docs/log.md, pretraining of the demo)
BESIDE = 0.63
# Of a pass of a training of several processes on this machine, until their gradients are added up (docs/log.md)
EXCHANGE_SECONDS = 0.005
FORK_SECONDS = 0.7  # until several processes of a step are at work on this machine


class Assumptions(Config):
    """What is taken for granted, and shown. The defaults are those of Llama 2's own account (section 2.2.1: PUE 1.1;
    291.42 t for 1,720,320 hours at 400 W are 0.385 kg a kWh)."""

    devices: int = Field(default=1, ge=1, description="Devices that share the work")
    power_usage_effectiveness: float = Field(default=1.1, ge=1, description="Power of the whole site by the devices'")
    kg_per_kwh: float = Field(default=0.385, ge=0, description="CO2 of a kWh from the grid, in kg")


@dataclass(frozen=True)
class StepForecast:
    """One step of one part; steps with the same `group` run side by side. Tokens and operations are those of its
    models; bytes of memory are of one device, as the config has it (`memory`), with adapters or without (`otherwise`),
    and spread over eight devices (`sharded`)."""

    part: str
    step: str
    group: int
    tokens: float
    flops: float
    memory: Memory | None
    otherwise: Memory | None
    sharded: Memory | None
    disk: float
    seconds: float
    kwh: float
    kg: float
    measured: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        numbers = {
            name: getattr(self, name) for name in ("tokens", "flops", "disk", "seconds", "kwh", "kg", "measured")
        }
        sizes = {name: each and each.as_json() for name, each in self._memories.items()}
        return {"part": self.part, "step": self.step, **numbers, **sizes}

    @property
    def _memories(self) -> Mapping[str, Memory | None]:
        return {"memory": self.memory, "memory_otherwise": self.otherwise, "memory_sharded": self.sharded}


def shape_of(config: RunConfig) -> Architecture:
    """The model's shape: of a base model by its config.json alone. Raises InputError where that is none of a Llama's
    kin."""
    if config.base_model is None:
        return resolve_architecture(config.model, config.tokenizer.vocab_size)
    return shape_in(config.base_model, "base_model")


def shape_in(folder: Path, key: str) -> Architecture:
    """Of a model's folder, which this key of the config names."""
    file = folder / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Architecture(
            hidden_size=found["hidden_size"],
            num_layers=found["num_hidden_layers"],
            num_heads=found["num_attention_heads"],
            num_kv_heads=found.get("num_key_value_heads") or found["num_attention_heads"],
            ffn_size=found["intermediate_size"],
            context_length=found["max_position_embeddings"],
            vocab_size=found["vocab_size"],
            tie_embeddings=bool(found.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{key}: {file} does not give the shape of a decoder like Llama's ({error!r})") from None


def forecast(
    config: RunConfig,
    plan: Plan,
    hardware: Hardware,
    assumed: Assumptions,
    measured: Mapping[tuple[str, str], float] | None = None,
) -> list[StepForecast]:
    """Every step of the plan, in its order. `measured`: seconds of those that have been made."""
    shape = shape_of(config)
    volume = volume_of(config, shape.vocab_size)
    whole = speed(hardware.cores, hardware)
    found: list[StepForecast] = []
    groups = [group for part in dict.fromkeys(part for part, _ in plan) for group in groups_of(plan, part)]
    for place, group in enumerate(groups):
        works = [work_of(config, call, volume) for call in group]
        shapes = [shape if work.judge is None else shape_in(work.judge, "evaluate.judges") for work in works]
        speeds = [speed(max((of.processes for of in work.passes), default=1), hardware) for work in works]
        alone = [
            hardware.step_seconds
            + work.records * RECORD_SECONDS.get(call.step.name, 0.0)
            + sum(seconds_of(own, each, config, work, hardware, assumed.devices) for each in work.passes)
            + (FORK_SECONDS if hardware.is_measured and any(each.processes > 1 for each in work.passes) else 0.0)
            for call, work, own in zip(group, works, shapes, strict=True)
        ]
        ends = side_by_side(alone, speeds, whole)
        for call, work, own, share, by_itself, seconds in zip(group, works, shapes, speeds, alone, ends, strict=True):
            kilowatts = hardware.watts * assumed.devices / 1000 * share / whole
            kwh = by_itself / 3600 * kilowatts * assumed.power_usage_effectiveness
            found.append(
                StepForecast(
                    part=call.part,
                    step=call.step.name,
                    group=place,
                    tokens=sum(each.all_tokens for each in work.passes),
                    flops=sum(_flops(own, each, config, work) * each.count * each.processes for each in work.passes),
                    memory=_memory(config, own, work, has_lora=config.lora is not None),
                    otherwise=_memory(config, own, work, has_lora=config.lora is None),
                    sharded=_memory(config, own, work, has_lora=config.lora is not None, shards=SHARDED_OVER),
                    disk=float(work.models * _saved(config, shape)),
                    seconds=seconds,
                    kwh=kwh,
                    kg=kwh * assumed.kg_per_kwh,
                    measured=(measured or {}).get(call.key),
                )
            )
    order = list(plan)
    return sorted(found, key=lambda row: order.index((row.part, row.step)))


def speed(processes: int, hardware: Hardware) -> float:
    """Of a step by that of one process: on this machine each process more adds less than the first. GPUs are all of a
    step's, whatever its processes."""
    return 1 + BESIDE * (min(processes, hardware.cores) - 1) if hardware.is_measured else 1.0


def side_by_side(alone: Sequence[float], speeds: Sequence[float], whole: float) -> list[float]:
    """When steps that begin together end, in seconds, each of which would take `alone` if it were: where their speeds
    come to more than the `whole` machine has, all are slowed down alike until one of them ends."""
    ends, clock, done = [0.0] * len(alone), 0.0, 0.0
    running = set(range(len(alone)))
    for n in sorted(running, key=lambda n: alone[n]):
        clock += (alone[n] - done) * max(1.0, sum(speeds[each] for each in running) / whole)
        ends[n], done = clock, alone[n]
        running.remove(n)
    return ends


def clock_seconds(rows: Iterable[StepForecast], of: Callable[[StepForecast], float | None]) -> float:
    """What all of them take by the clock: of steps side by side, the longest."""
    longest: dict[int, float] = {}
    for row in rows:
        longest[row.group] = max(longest.get(row.group, 0.0), of(row) or 0.0)
    return sum(longest.values())


def seconds_of(
    shape: Architecture, passes: Passes, config: RunConfig, work: Work, hardware: Hardware, devices: int
) -> float:
    """How long passes take: each starts its blocks, and multiplies; of an answer each token also reads all weights and
    what is cached, which is where the time goes with few rows. Processes share the cores of this machine, where each
    one more adds less than the first, or the devices."""
    rate = hardware.rates[passes.kind][passes.dtype]
    busy = _flops(shape, passes, config, work) / rate.flops
    if passes.kind == "decode":
        moved = parameters(shape) * BYTES[passes.dtype] + cache_bytes(shape, passes.rows * passes.tokens, passes.dtype)
        busy = max(busy, moved / hardware.bandwidth)
    each = shape.num_layers * rate.seconds + busy
    if passes.kind == "train" and passes.processes > 1 and hardware.is_measured:
        each += EXCHANGE_SECONDS
    at_once = speed(passes.processes, hardware) if hardware.is_measured else devices
    return passes.count * passes.processes * each / at_once


def _flops(shape: Architecture, passes: Passes, config: RunConfig, work: Work) -> float:
    """Operations of one pass of one process."""
    if passes.kind == "decode":
        return forward_flops(shape, passes.rows, passes.tokens)
    tokens, context = passes.rows * passes.tokens, passes.tokens / 2
    if passes.kind == "read":
        return forward_flops(shape, tokens, context)
    return training_flops(shape, tokens, context, frozen=config.lora is not None, checkpointing=work.checkpointing)


def _memory(config: RunConfig, shape: Architecture, work: Work, *, has_lora: bool, shards: int = 1) -> Memory | None:
    lora = config.lora or LoraConfig()
    if work.trained:
        train = [each for each in work.passes if each.kind == "train"]
        if not train:
            return None
        largest = max(each.rows * each.tokens for each in train)
        return training_memory(
            shape,
            largest,
            train[0].dtype,
            lora=lora if has_lora else None,
            trained=work.trained,
            read=work.read,
            shards=shards,
            checkpointing=work.checkpointing,
        )
    largest_of = [each for each in work.passes if each.kind == "decode"] or (work.passes if work.judge else ())
    if not largest_of:
        return None
    rows, tokens = max(each.rows for each in largest_of), max(each.tokens for each in largest_of)
    found = reading_memory(shape, work.read, rows, tokens, largest_of[0].dtype, one_base=has_lora)
    return found if shards == 1 else None


def _saved(config: RunConfig, shape: Architecture) -> int:
    """Bytes of a checkpoint: whole weights in float32, or the adapters."""
    return 4 * (parameters(shape) if config.lora is None else adapter_parameters(shape, config.lora))
