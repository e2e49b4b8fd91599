"""Whether a model reads a sequence as it reads it alone: packed, padded, in a prefix tree, and token by token from its
cache. These are the ways in which the recipe reads; an architecture that does not know position ids or masks reads
other sequences into it, and trains on that without a word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import nn

from models.algorithms.logprobs import token_logprobs
from models.base_checks.finding import Finding, first_line
from models.checkpoint import backbone, reward_over, scalar_head
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.generation import Response, ask, sample
from models.prefix_tree import Group, lay_trees, row_cost, tree_logprobs, tree_scores
from models.scoring import last_token_scores, lay_out, pad_right, response_logprobs
from models.training.packing import IGNORED, PackedCollator

# In float32, of logits whose largest is 10; leaks that were seen are of 0.5 and more.
TOLERANCE = 1e-4

_TEXTS = ("The lamp of the harbour is lit.", "Seven ferries cross before dawn.", "Who keeps it?")
_PROMPT, _ANSWER = 4, 4  # tokens: enough to see a leak, and cheap for a large model
_BROKEN = (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, LookupError)
_WAYS = {"padding": "padding", "cache": "sampling from its cache", "reward head": "a reward model of it"}
_AS_ALONE = "sequences are read as each alone"
_REMEDY = "docs/base-models.md names the families that work"
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class _Alone:
    """Sequences of token ids, the first two of which begin alike, and what the model makes of each alone: logits (T, V)
    and hidden states (T, d)."""

    rows: list[list[int]]
    logits: list[torch.Tensor]
    hidden: list[torch.Tensor]

    @property
    def tolerance(self) -> float:
        """What rounding can do to logits of this size."""
        return TOLERANCE * max(1.0, max(float(logits.abs().max()) for logits in self.logits) / 10)

    def logprobs(self, i: int, start: int) -> torch.Tensor:
        """Log-probabilities of the tokens of row i from `start` on."""
        return token_logprobs(self.logits[i][None, start - 1 : -1], torch.tensor([self.rows[i][start:]]), 1.0)[0]


@torch.inference_mode()
def check_reading(model: nn.Module, renderer: Renderer) -> list[Finding]:
    """How a causal language model reads. Raises ValueError naming the way in which it reads other than it should, or
    not at all; packing alone can be done without.

    `model` is in float32 on the CPU, as `load_policy` opens it.
    """
    alone, pad = _read_alone(model, renderer), renderer.pad_id
    reward = _tried(model, "reward head", lambda: _with_head(model))
    found = [_packing(model, alone, pad), _compared(model, "padding", alone, lambda: _padding(model, alone, pad))]
    found.append(_compared(model, "cache", alone, lambda: _cache(model, alone, pad)))
    found.append(_compared(model, "reward head", alone, lambda: _reward(reward, alone, pad)))
    if row_cost(model) is not None:
        found.append(_compared(model, "prefix trees", alone, lambda: _trees(model, reward, alone, pad)))
    return found


@torch.inference_mode()
def check_padding(model: nn.Module, renderer: Renderer) -> Finding:
    """The same of padding alone: all that a judge needs."""
    alone = _read_alone(model, renderer)
    return _compared(model, "padding", alone, lambda: _padding(model, alone, renderer.pad_id))


def _read_alone(model: nn.Module, renderer: Renderer) -> _Alone:
    one, two, other = ([*ids] * (_PROMPT + _ANSWER) for ids in islice(renderer.documents(_TEXTS), len(_TEXTS)))
    length = _PROMPT + _ANSWER  # each row one shorter than the one before, with any tokenizer
    rows = [one[:length], [*one[:_PROMPT], *two[_PROMPT : length - 1]], other[: length - 2]]

    def read() -> _Alone:
        given = [torch.tensor([row]) for row in rows]
        logits = [model(input_ids=ids, use_cache=False).logits[0] for ids in given]
        return _Alone(rows, logits, [backbone(model)(input_ids=ids, use_cache=False)[0][0] for ids in given])

    return _tried(model, "a plain sequence", read)


def _packing(model: nn.Module, alone: _Alone, pad_id: int) -> Finding:
    """Two sequences in a row, and the third in a row of its own."""
    *both, third = alone.rows
    packed = {"input_ids": [id for row in both for id in row], "seq_lengths": [len(row) for row in both]}
    single = {"input_ids": third, "seq_lengths": [len(third)]}
    batch = PackedCollator(pad_id)([{**row, "labels": [IGNORED] * len(row["input_ids"])} for row in (packed, single)])
    ids, positions = batch["input_ids"], batch["position_ids"]
    together, own = _tried(
        model, "packing", lambda: model(input_ids=ids, position_ids=positions, use_cache=False).logits
    )
    _compared(model, "one sequence a row", alone, lambda: _apart(own[: len(third)], alone.logits[-1]))
    parts = together[: sum(packed["seq_lengths"])].split(packed["seq_lengths"])
    difference = max(_apart(part, logits) for part, logits in zip(parts, alone.logits, strict=False))
    if difference <= alone.tolerance:
        return Finding("packing", _AS_ALONE, difference=difference)
    found = "packed sequences are read into each other: SFT and fine-tuning give each dialogue a row of its own"
    return Finding("packing", found, alone=True, difference=difference)


def _padding(model: nn.Module, alone: _Alone, pad_id: int) -> float:
    """Prompts padded on the left, responses on the right."""
    cuts = [_PROMPT - i for i in range(len(alone.rows))]
    prompts = [row[:cut] for row, cut in zip(alone.rows, cuts, strict=True)]
    responses = [row[cut:] for row, cut in zip(alone.rows, cuts, strict=True)]
    ids, attention, mask = lay_out(prompts, responses, pad_id)
    found, _ = response_logprobs(model, ids, attention, mask.shape[1], temperature=1.0)
    return max(_apart(found[i, : int(mask[i].sum())], alone.logprobs(i, cut)) for i, cut in enumerate(cuts))


def _cache(model: nn.Module, alone: _Alone, pad_id: int) -> float:
    """Sampling: left padding, rows that are repeated after the prompt, and one that leaves the batch: what the first
    row draws second is then taken for the end of sequence. Compared with padded rows, which were looked at before."""
    prompts = [row[: _PROMPT - i] for i, row in enumerate(alone.rows[:2])]
    end = _drawn(model, prompts, 2, -1, pad_id)[0].ids[1]
    drawn = _drawn(model, prompts, 3, end, pad_id)
    asked = [prompt for prompt in prompts for _ in range(2)]
    ids, attention, mask = lay_out(asked, [each.ids for each in drawn], pad_id)
    plain, _ = response_logprobs(model, ids, attention, mask.shape[1], temperature=1.0)
    return max(_apart(torch.tensor(each.logprobs), plain[i, : len(each.ids)]) for i, each in enumerate(drawn))


def _drawn(model: nn.Module, prompts: Sequence[list[int]], tokens: int, end: int, pad_id: int) -> list[Response]:
    config = SamplingConfig(max_new_tokens=tokens, batch_size=2 * len(prompts))
    drawn = sample(model, ask(prompts, [1.0, 1.0], seed=1), config, end_ids=(end,), pad_id=pad_id)
    return [each for responses in drawn for each in responses]


def _with_head(model: nn.Module) -> nn.Module:
    """A reward model over the model's weights whose head is not zero. Raises ValueError where the head is no linear
    layer to one number."""
    reward = reward_over(model)
    head = scalar_head(reward)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise ValueError(f"the head of a {type(reward).__name__} is no linear layer to one number")
    nn.init.normal_(head.weight, std=head.in_features**-0.5, generator=torch.Generator().manual_seed(1))
    return reward


def _scores_alone(reward: nn.Module, alone: _Alone) -> torch.Tensor:
    scores: torch.Tensor = scalar_head(reward)(torch.stack([hidden[-1] for hidden in alone.hidden]))[:, 0]
    return scores


def _reward(reward: nn.Module, alone: _Alone, pad_id: int) -> float:
    return _apart(last_token_scores(reward, *pad_right(alone.rows, pad_id)), _scores_alone(reward, alone))


def _trees(model: nn.Module, reward: nn.Module, alone: _Alone, pad_id: int) -> float:
    """Two responses to one prompt, and another sequence beside them in the same row."""
    width = sum(map(len, alone.rows)) - _PROMPT
    batch = lay_trees(alone.rows, [Group((0, 1, 2), width)], pad_id)
    found, _, mask = tree_logprobs(model, batch, torch.full((3,), _PROMPT), temperature=1.0)
    rows = range(len(alone.rows))
    apart = max(_apart(found[i, : int(mask[i].sum())], alone.logprobs(i, _PROMPT)) for i in rows)
    return max(apart, _apart(tree_scores(reward, batch), _scores_alone(reward, alone)))


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted.float()).abs().max())


def _compared(model: nn.Module, check: str, alone: _Alone, difference: Callable[[], float]) -> Finding:
    """Raises ValueError where the difference is more than rounding, or no number."""
    apart = _tried(model, check, difference)
    if apart <= alone.tolerance:
        return Finding(check, _AS_ALONE, difference=apart)
    raise ValueError(
        f"{type(model).__name__} cannot be aligned here: {_WAYS.get(check, check)} gives other results than each "
        f"sequence alone, {apart:.2g} apart; {_REMEDY}"
    )


def _tried(model: nn.Module, check: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except _BROKEN as error:
        raise ValueError(
            f"{type(model).__name__} cannot be aligned here: {_WAYS.get(check, check)} fails "
            f"({type(error).__name__}: {first_line(error)}); {_REMEDY}"
        ) from error
