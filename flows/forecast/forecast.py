"""What a run will cost, step by step, before it is started: operations, memory, disk, time, energy, CO2."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from flows.forecast.volumes import volume_of
from flows.forecast.workload import Passes, Work, work_of
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan
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
# Seconds of a row that is read, checked and written without a model, by step; measured with the smoke run (docs/log.md)
RECORD_SECONDS = {
    "import_data": 7e-4,
    "filter_corpus": 3e-4,
    "train_tokenizer": 5e-5,
    "fit_context": 1e-4,
}


class Assumptions(Config):
    """What is taken for granted, and shown. The defaults are those of Llama 2's own account (section 2.2.1: PUE 1.1;
    291.42 t for 1,720,320 hours at 400 W are 0.385 kg a kWh)."""

    devices: int = Field(default=1, ge=1, description="Devices that share the work")
    power_usage_effectiveness: float = Field(default=1.1, ge=1, description="Power of the whole site by the devices'")
    kg_per_kwh: float = Field(default=0.385, ge=0, description="CO2 of a kWh from the grid, in kg")


@dataclass(frozen=True)
class StepForecast:
    """One step of one part. Tokens and operations are those of its models; bytes of memory are of one device, as the
    config has it (`memory`), with adapters or without (`otherwise`), and spread over eight devices (`sharded`)."""

    part: str
    step: str
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
    return _base_shape(config.base_model / "config.json")


def _base_shape(file: Path) -> Architecture:
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
        raise InputError(f"base_model: {file} does not give the shape of a decoder like Llama's ({error!r})") from None


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
    found = []
    for (part, step), call in plan.items():
        number = int(part[1:]) if part.startswith("V") else 0
        work = work_of(config, call, volume, number)
        flops = sum(_flops(shape, each, config, work) * each.count * each.processes for each in work.passes)
        seconds = hardware.step_seconds + work.records * RECORD_SECONDS.get(step, 0.0)
        seconds += sum(seconds_of(shape, each, config, work, hardware, assumed.devices) for each in work.passes)
        kwh = seconds / 3600 * hardware.watts * assumed.devices / 1000 * assumed.power_usage_effectiveness
        found.append(
            StepForecast(
                part=part,
                step=step,
                tokens=sum(each.all_tokens for each in work.passes),
                flops=flops,
                memory=_memory(config, shape, work, has_lora=config.lora is not None),
                otherwise=_memory(config, shape, work, has_lora=config.lora is None),
                sharded=_memory(config, shape, work, has_lora=config.lora is not None, shards=SHARDED_OVER),
                disk=float(work.models * _saved(config, shape)),
                seconds=seconds,
                kwh=kwh,
                kg=kwh * assumed.kg_per_kwh,
                measured=(measured or {}).get((part, step)),
            )
        )
    return found


def seconds_of(
    shape: Architecture, passes: Passes, config: RunConfig, work: Work, hardware: Hardware, devices: int
) -> float:
    """How long passes take: each starts its blocks, and multiplies; of an answer each token also reads all weights and
    what is cached, which is where the time goes with few rows. Processes share the cores of this machine, or the
    devices."""
    rate = hardware.rates[passes.kind][passes.dtype]
    busy = _flops(shape, passes, config, work) / rate.flops
    if passes.kind == "decode":
        moved = parameters(shape) * BYTES[passes.dtype] + cache_bytes(shape, passes.rows * passes.tokens, passes.dtype)
        busy = max(busy, moved / hardware.bandwidth)
    each = shape.num_layers * rate.seconds + busy
    at_once = min(passes.processes, hardware.cores) if hardware.is_measured else devices
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
    decode = [each for each in work.passes if each.kind == "decode"]
    if not decode:
        return None
    rows, tokens = max(each.rows for each in decode), max(each.tokens for each in decode)
    found = reading_memory(shape, work.read, rows, tokens, decode[0].dtype, one_base=has_lora)
    return found if shards == 1 else None


def _saved(config: RunConfig, shape: Architecture) -> int:
    """Bytes of a checkpoint: whole weights in float32, or the adapters."""
    return 4 * (parameters(shape) if config.lora is None else adapter_parameters(shape, config.lora))
