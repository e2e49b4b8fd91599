"""How long what a step computes takes: on processors, and by the clock of the machine that it runs on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.forecast.passes import Passes, Work
from flows.recipe.config import RunConfig
from models.costs import BYTES, cache_bytes, forward_flops, parameters, training_flops
from models.hardware import Hardware
from models.llama_presets import Architecture
from tasks.engine.call import StepCall

# Processor seconds of what is read, checked, cut into tokens and written without a model: once, of each row, and of
# each of its characters; of smoke, demo, own-files and smollm2-135m on a quiet machine (docs/log.md)
ROW_SECONDS: Mapping[str, tuple[float, float, float]] = {
    "import_data": (0.0, 1.8e-5, 0.0),
    "train_quality_classifier": (0.3, 1.2e-3, 0.0),
    "filter_corpus": (0.0, 6.3e-5, 1.3e-7),
    "describe_corpus": (0.0, 2.0e-5, 8.5e-8),
    "train_tokenizer": (0.05, 3.0e-6, 1.7e-8),
    "extend_tokenizer": (0.2, 3.0e-6, 4.0e-7),
    "drop_similar": (1.0, 0.0, 1.0e-4),  # with an encoder of 22 million parameters
    "fit_context": (0.25, 0.0, 3.0e-7),
    "pretrain": (0.0, 8.4e-5, 3.2e-7),
    "collect_preferences": (0.0, 1.0e-4, 0.0),
}
# Of a second process on this machine: two were 1.63 times as fast as one (docs/log.md, pretraining of the demo)
BESIDE = 0.63
# Of a pass of a training of several processes on this machine, until their gradients are added up (docs/log.md)
EXCHANGE_SECONDS = 0.005
FORK_SECONDS = 0.7  # until several processes of a step are at work on this machine
# Processor seconds, measured on the same runs: of a step's process, of the first pass of a process, of a model that is
# opened and of each of its weights, and of a fork that answers or scores a shard of the rows
START_SECONDS = 0.07
FIRST_SECONDS = 0.08
OPEN_SECONDS = 0.03
WEIGHT_SECONDS = 4e-9
SHARD_SECONDS = 0.12
_WAYS = 3  # a block that learns through adapters starts forward, and twice backward


@dataclass(frozen=True)
class Beside:
    """Seconds of a step beside its passes: by the clock, and of its processes on processors."""

    clock: float
    busy: float


def beside_passes(call: StepCall, work: Work, hardware: Hardware, weights: float = 0.0) -> Beside:
    """By the clock there is also what the flow does for a step (`step_seconds`): its records, its publication. Each
    process of a training opens the models, of `weights` each, and reads all rows for itself; shards are forked for each
    call that draws or scores. The corpus filter's forks cost next to nothing: they open nothing."""
    processes = max((each.processes for each in work.passes), default=1) if hardware.is_measured else 1
    once, of_row, of_character = ROW_SECONDS.get(call.step.name, (0.0, 0.0, 0.0))
    rows = once + work.records * of_row + work.characters * of_character
    opened = work.trained + work.read
    starting = START_SECONDS + (OPEN_SECONDS + WEIGHT_SECONDS * weights) * opened + rows
    starting += FIRST_SECONDS if opened else 0.0
    if work.trained:
        busy = starting * processes
    else:
        busy = starting + SHARD_SECONDS * sum(each.processes - 1 for each in work.passes if each.kind == "read")
    shared = rows / speed(work.processes, hardware)
    return Beside(hardware.step_seconds + shared + (FORK_SECONDS if processes > 1 else 0.0), busy)


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


def seconds_of(
    shape: Architecture, passes: Passes, config: RunConfig, work: Work, hardware: Hardware, devices: int
) -> float:
    """How long passes take by the clock: processes share the cores of this machine, where each one more adds less than
    the first, or the devices."""
    at_once = speed(passes.processes, hardware) if hardware.is_measured else devices
    return busy_seconds(shape, passes, config, work, hardware) / at_once


def busy_seconds(shape: Architecture, passes: Passes, config: RunConfig, work: Work, hardware: Hardware) -> float:
    """How long passes keep processors, or devices, busy: each starts its blocks, and multiplies; of an answer each
    token also reads all weights and what is cached, which is where the time goes with few rows."""
    rate = hardware.rates[passes.kind][passes.dtype]
    layers, of_attention, of_head = flops_of(shape, passes, config, work)
    # CPU kernels compute what a token cannot see as well
    pairs = of_attention / passes.context if hardware.is_measured else of_attention
    busy = layers / rate.flops + of_head / hardware.rates["head"][passes.dtype].flops
    busy += pairs / hardware.rates["attention"][passes.dtype].flops
    if passes.kind == "decode":
        moved = parameters(shape) * BYTES[passes.dtype] + cache_bytes(
            shape, passes.mean_rows * passes.tokens, passes.dtype
        )
        busy = max(busy, moved / hardware.bandwidth)
    start = rate.seconds
    if passes.kind == "train" and config.lora is not None:  # that of training updates all weights; adapters are few
        start = min(start, _WAYS * hardware.rates["read"][passes.dtype].seconds)
    each = shape.num_layers * start + busy
    if passes.kind == "train" and passes.processes > 1 and hardware.is_measured:
        each += EXCHANGE_SECONDS
    elif passes.processes > 1 and hardware.is_measured:
        each *= passes.processes / speed(passes.processes, hardware)  # side by side each of them is slower
    return passes.count * passes.processes * each


def flops_of(shape: Architecture, passes: Passes, config: RunConfig, work: Work) -> tuple[float, float, float]:
    """Operations of one pass of one process: in its linear layers, in attention, and for logits; those of a new token
    of an answer are all counted with its layers."""
    if passes.kind == "decode":
        return forward_flops(shape, passes.mean_rows, passes.tokens), 0.0, 0.0
    tokens, context = passes.rows * passes.tokens, passes.tokens * passes.spread * passes.context

    def both(attended: float, head: float) -> float:
        if passes.kind == "read":
            return forward_flops(shape, tokens, attended, head=head)
        frozen, checkpointing = config.lora is not None, work.checkpointing
        return training_flops(shape, tokens, attended, frozen=frozen, checkpointing=checkpointing, head=head)

    layers = both(0.0, 0.0)
    return layers, both(context, 0.0) - layers, both(0.0, passes.head) - layers
