"""What a run will cost, step by step, before it is started: operations, memory, disk, time, energy, CO2."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from flows.forecast.passes import Work
from flows.forecast.timing import beside_passes, busy_seconds, flops_of, seconds_of, side_by_side, speed
from flows.forecast.volumes import volume_of
from flows.forecast.workload import work_of
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, groups_of
from models import llama_presets
from models.config import Config, LoraConfig
from models.costs import (
    Memory,
    adapter_parameters,
    parameters,
    reading_memory,
    training_memory,
)
from models.hardware import Hardware
from models.llama_presets import Architecture, published_vocabulary, resolve_architecture

SHARDED_OVER = 8


class Assumptions(Config):
    """What is taken for granted, and shown. The defaults are those of Llama 2's own account (section 2.2.1: PUE 1.1;
    291.42 t for 1,720,320 hours at 400 W are 0.385 kg a kWh)."""

    devices: int = Field(default=1, ge=1, description="Devices that share the work")
    power_usage_effectiveness: float = Field(default=1.1, ge=1, description="Power of the whole site by the devices'")
    kg_per_kwh: float = Field(default=0.385, ge=0, description="CO2 of a kWh from the grid, in kg")


@dataclass(frozen=True)
class Took:
    """What a finished step took: seconds by the clock, and where these are known those of all its processes on
    processors, the energy that was measured, and the CO2 of that."""

    seconds: float
    processor_seconds: float | None
    kwh: float | None = None
    kg: float | None = None


@dataclass(frozen=True)
class StepForecast:
    """One step of one part; steps with the same `group` run side by side. Tokens and operations are those of its
    models; bytes of memory are of one device, as the config has it (`memory`), with adapters or without (`otherwise`),
    and spread over eight devices (`sharded`). `seconds` are by the clock, `processor_seconds` of all its processes on
    the processors of this machine; there are none where GPUs compute."""

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
    processor_seconds: float | None = None
    measured: Took | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("tokens", "flops", "disk", "seconds", "processor_seconds", "kwh", "kg")
        numbers = {name: getattr(self, name) for name in names}
        numbers["measured"] = self.measured and asdict(self.measured)
        sizes = {name: each and each.as_json() for name, each in self._memories.items()}
        return {"part": self.part, "step": self.step, **numbers, **sizes}

    @property
    def _memories(self) -> Mapping[str, Memory | None]:
        return {"memory": self.memory, "memory_otherwise": self.otherwise, "memory_sharded": self.sharded}


def shape_of(config: RunConfig) -> Architecture:
    """The model's shape: of a base model by its config.json alone, or as `model` describes it. Raises InputError where
    that is none of a Llama's kin."""
    if config.base_model is not None and not config.is_described:
        return shape_in(config.base_model, "base_model")
    pieces = _pieces(config)
    try:
        return resolve_architecture(
            config.model, published_vocabulary(config.model, pieces) if config.is_described else pieces
        )
    except ValueError as error:
        raise InputError(f"model: {error}") from None


def _pieces(config: RunConfig) -> int:
    """Of the tokenizer that is trained, or of the one that is given."""
    folder = config.tokenizer.folder
    if folder is None:
        return config.tokenizer.vocab_size
    from models.base_checks.examine import opened_tokenizer

    try:
        return len(opened_tokenizer(folder))
    except ValueError as error:
        raise InputError(f"tokenizer.folder {folder}: {error}") from None


def shape_in(folder: Path, key: str) -> Architecture:
    """Of a model's folder, which this key of the config names."""
    file = folder / "config.json"
    try:
        return llama_presets.shape_in(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{key}: {file} does not give the shape of a decoder like Llama's ({error!r})") from None


def forecast(
    config: RunConfig,
    plan: Plan,
    hardware: Hardware,
    assumed: Assumptions,
    measured: Mapping[tuple[str, str], Took] | None = None,
) -> list[StepForecast]:
    """Every step of the plan, in its order. `measured`: what those took that have been made."""
    shape = shape_of(config)
    volume = volume_of(config, shape.vocab_size)
    whole = speed(hardware.cores, hardware)
    found: list[StepForecast] = []
    groups = [group for part in dict.fromkeys(part for part, _ in plan) for group in groups_of(plan, part)]
    for place, group in enumerate(groups):
        works = [work_of(config, call, volume) for call in group]
        shapes = [shape if work.judge is None else shape_in(work.judge, "evaluate.judges") for work in works]
        speeds = [speed(max((of.processes for of in work.passes), default=work.processes), hardware) for work in works]
        beside = [
            beside_passes(call, work, hardware, parameters(own))
            for call, work, own in zip(group, works, shapes, strict=True)
        ]
        alone = [
            other.clock + sum(seconds_of(own, each, config, work, hardware, assumed.devices) for each in work.passes)
            for other, work, own in zip(beside, works, shapes, strict=True)
        ]
        busy = [
            other.busy + sum(busy_seconds(own, each, config, work, hardware) for each in work.passes)
            for other, work, own in zip(beside, works, shapes, strict=True)
        ]
        ends = side_by_side(alone, speeds, whole)
        for call, work, own, share, by_itself, on_them, seconds in zip(
            group, works, shapes, speeds, alone, busy, ends, strict=True
        ):
            kilowatts = hardware.watts * assumed.devices / 1000 * share / whole
            kwh = by_itself / 3600 * kilowatts * assumed.power_usage_effectiveness
            found.append(
                StepForecast(
                    part=call.part,
                    step=call.step.name,
                    group=place,
                    tokens=sum(each.all_tokens for each in work.passes),
                    flops=sum(
                        sum(flops_of(own, each, config, work)) * each.count * each.processes for each in work.passes
                    ),
                    memory=_memory(config, own, work, has_lora=config.lora is not None),
                    otherwise=_memory(config, own, work, has_lora=config.lora is None),
                    sharded=_memory(config, own, work, has_lora=config.lora is not None, shards=SHARDED_OVER),
                    disk=float(work.models * _saved(config, shape)),
                    seconds=seconds,
                    kwh=kwh,
                    kg=kwh * assumed.kg_per_kwh,
                    processor_seconds=on_them if hardware.is_measured else None,
                    measured=(measured or {}).get(call.key),
                )
            )
    order = list(plan)
    return sorted(found, key=lambda row: order.index((row.part, row.step)))


def clock_seconds(rows: Iterable[StepForecast], of: Callable[[StepForecast], float | None]) -> float:
    """What all of them take by the clock: of steps side by side, the longest."""
    longest: dict[int, float] = {}
    for row in rows:
        longest[row.group] = max(longest.get(row.group, 0.0), of(row) or 0.0)
    return sum(longest.values())


def took(row: StepForecast) -> float | None:
    """Seconds by the clock that the step took, where it has been made."""
    return None if row.measured is None else row.measured.seconds


def on_processors(rows: Iterable[StepForecast]) -> tuple[float, float]:
    """(planned, taken) processor seconds of the steps of which both are known."""
    both = [
        (row.processor_seconds, row.measured.processor_seconds)
        for row in rows
        if row.processor_seconds is not None and row.measured is not None
    ]
    known = [(planned, spent) for planned, spent in both if spent is not None]
    return sum(planned for planned, _ in known), sum(spent for _, spent in known)


def _memory(config: RunConfig, shape: Architecture, work: Work, *, has_lora: bool, shards: int = 0) -> Memory | None:
    """`shards`: as if what is trained were spread over so many devices; 0: as the config has it."""
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
            shards=shards or work.shards,
            checkpointing=work.checkpointing,
        )
    largest_of = [each for each in work.passes if each.kind == "decode"] or (work.passes if work.judge else ())
    if not largest_of:
        return None
    rows, tokens = max(each.rows for each in largest_of), max(each.tokens for each in largest_of)
    found = reading_memory(shape, work.read, rows, tokens, largest_of[0].dtype, one_base=has_lora)
    return None if shards else found


def _saved(config: RunConfig, shape: Architecture) -> int:
    """Bytes of a checkpoint: whole weights in float32, or the adapters."""
    return 4 * (parameters(shape) if config.lora is None else adapter_parameters(shape, config.lora))
