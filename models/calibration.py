"""How fast this machine is with the very kernels that the steps use, measured in some seconds."""

import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from models.checkpoint import backbone, output_embeddings
from models.costs import attention_flops, forward_flops, head_flops, parameters, training_flops
from models.devices import use_threads
from models.generation import draw_tokens
from models.hardware import KINDS, Hardware, Rate
from models.llama import build_llama
from models.llama_presets import Architecture

_MOST_PARAMETERS = 40_000_000  # of the model that is measured
_SMALL, _LARGE = (1, 64), (4, 256)  # rows and tokens of a row of two passes
_LARGE_READ = (16, 256)  # what is read at once leaves the caches, which slows little models down
_LITTLE = 5_000_000  # parameters of a model that can be measured so
_FEW, _MANY, _PROMPT = 8, 128, 32  # rows that are decoded together, and tokens before
CPU_WATTS = 15.0  # of a core under load: a guess, for want of a meter


def calibrate(shape: Architecture, seconds: float = 10.0) -> Hardware:
    """This machine, measured with a model of this shape in float32 on one thread, as steps compute. `seconds` is about
    what it takes; the shares of the kinds of passes are equal. Seconds are those of this process on a processor, so
    that other work on the machine changes little: what comes out holds for a machine that has nothing else to do."""
    use_threads(1)
    measured = measurable(shape)
    model = build_llama(measured, 0, 0, 1, 2)
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    share = seconds / (2 * len(KINDS))

    def train(rows: int, tokens: int) -> float:
        ids = torch.randint(3, measured.vocab_size, (rows, tokens))

        def once() -> None:
            backbone(model)(input_ids=ids).last_hidden_state.square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return _time(once, share)

    @torch.inference_mode()
    def read(rows: int, tokens: int) -> float:
        ids = torch.randint(3, measured.vocab_size, (rows, tokens))
        return _time(lambda: backbone(model)(input_ids=ids), share)

    pairs = _attention(measured, *_LARGE, share)

    def without(measure: Callable[[int, int], float], ways: int) -> Callable[[int, int], float]:
        """What a pass takes beside attention, of which each way back costs twice the way there."""
        return lambda rows, t: measure(rows, t) - ways * attention_flops(measured, rows * t, t) / pairs

    rates = {
        "train": _rate(
            measured,
            without(train, 3),
            _SMALL,
            _LARGE,
            lambda rows, t: training_flops(measured, rows * t, 0, head=0.0),
        ),
        "read": _rate(
            measured,
            without(read, 1),
            _SMALL,
            _LARGE_READ if parameters(measured) < _LITTLE else _LARGE,
            lambda rows, t: forward_flops(measured, rows * t, 0, head=0.0),
        ),
        "attention": Rate(0.0, pairs),
        "head": _rate(
            measured,
            partial(_head, model, measured, share),
            _SMALL,
            _LARGE,
            lambda rows, t: 3 * head_flops(measured, rows * t),
        ),
        "decode": _rate(
            measured,
            partial(_decode, model, measured, share),
            (_FEW, _PROMPT),
            (_MANY, _PROMPT),
            lambda rows, t: forward_flops(measured, rows, t),
        ),
    }
    cores = len(os.sched_getaffinity(0))
    return Hardware(
        name="this machine",
        rates={kind: {"float32": rate, "bfloat16": rate} for kind, rate in rates.items()},
        bandwidth=_bandwidth(),
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        watts=CPU_WATTS * cores,
        step_seconds=0.4,
        is_measured=True,
        cores=cores,
    )


def _head(model: PreTrainedModel, shape: Architecture, seconds: float, rows: int, tokens: int) -> float:
    """Seconds of the logits of so many tokens and their loss, and of the way back."""
    ids = torch.randint(3, shape.vocab_size, (rows * tokens,))
    hidden = torch.randn(rows * tokens, shape.hidden_size, requires_grad=True)

    def once() -> None:
        torch.nn.functional.cross_entropy(output_embeddings(model)(hidden), ids).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return _time(once, seconds)


@torch.inference_mode()
def _decode(model: PreTrainedModel, shape: Architecture, seconds: float, rows: int, tokens: int) -> float:
    """Seconds of one token more in each row behind so many."""
    start = torch.randint(3, shape.vocab_size, (rows, tokens))
    past = model(input_ids=start, use_cache=True).past_key_values
    token, uniform = start[:, -1:], torch.rand(rows, dtype=torch.float64)
    mask, position = torch.ones(rows, tokens + 1, dtype=torch.long), torch.full((rows, 1), tokens)

    def once() -> None:
        logits = model(
            input_ids=token, attention_mask=mask, position_ids=position, past_key_values=past, use_cache=True
        ).logits[:, -1]
        draw_tokens(torch.log_softmax(logits.float(), dim=-1), uniform)  # as answers are drawn
        past.crop(-1)

    return _time(once, seconds)


@torch.inference_mode()
def _attention(shape: Architecture, rows: int, tokens: int, seconds: float) -> float:
    """Operations a second of attention under a mask. On CPUs torch computes all pairs of a row, those too that the mask
    hides and those after a token, in as long a time (docs/log.md): so all of them are counted."""
    sizes = (rows, shape.num_heads, tokens, shape.hidden_size // shape.num_heads)
    query, key, value = (torch.randn(sizes) for _ in range(3))
    mask = torch.ones((rows, 1, tokens, tokens), dtype=torch.bool).tril()
    once = _time(lambda: scaled_dot_product_attention(query, key, value, attn_mask=mask), seconds)
    return attention_flops(shape, rows * tokens, tokens) / shape.num_layers / once


def measurable(shape: Architecture) -> Architecture:
    """The shape, or one that stands for it in a few seconds and a few hundred MB: with fewer blocks, of which a pass
    takes so much less; where one is too many with fewer tokens to choose from, and then narrower, since products of
    that size are as fast as larger ones."""
    small = shape
    while parameters(small) > _MOST_PARAMETERS:
        if small.num_layers > 1:
            small = replace(small, num_layers=small.num_layers // 2)
        elif small.vocab_size > 4096:
            small = replace(small, vocab_size=small.vocab_size // 2)
        else:
            heads, kv_heads = max(1, small.num_heads // 2), max(1, small.num_kv_heads // 2)
            width, ffn = heads * (small.hidden_size // small.num_heads), small.ffn_size // 2
            small = replace(small, hidden_size=width, num_heads=heads, num_kv_heads=kv_heads, ffn_size=ffn)
    return replace(small, context_length=max(_LARGE[1], 512))


def _rate(
    shape: Architecture,
    measure: Callable[[int, int], float],
    small: tuple[int, int],
    large: tuple[int, int],
    flops: Callable[[int, int], float],
) -> Rate:
    """What a pass costs whatever its size, and how fast the rest is, from two sizes: the line through both."""
    short, long = measure(*small), measure(*large)
    speed = (flops(*large) - flops(*small)) / max(long - short, 1e-9)
    return Rate(max(short - flops(*small) / speed, 0.0) / shape.num_layers, speed)


def _time(once: Callable[[], object], seconds: float) -> float:
    """The mean of the faster half of as many runs as there is time for, three at least where they are not long, after
    one that does not count: others at work make the slower ones slow."""
    once()
    taken: list[float] = []
    began = time.perf_counter()
    for number in itertools.count():
        spent = time.perf_counter() - began
        if number and spent > seconds and (number >= 3 or spent > 3 * seconds):
            break
        started = time.process_time()
        once()
        taken.append(time.process_time() - started)
    return statistics.fmean(sorted(taken)[: (len(taken) + 1) // 2])


def _bandwidth() -> float:
    """Bytes a second that a core reads and writes, copying more than its caches hold."""
    source = torch.zeros(32 * 2**20)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / _time(lambda: target.copy_(source), 0.3)
