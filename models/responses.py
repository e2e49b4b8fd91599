"""Responses to prompts, laid out once for all models that read them: log-probabilities, values, scores.

Where trees fit the models, prompts and responses share rows without padding between them (models/prefix_tree.py); else
each has a row, its prompt padded on the left and its response on the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.lock_step import one_pass
from models.prefix_tree import RowCost, TreeBatch, lay_trees, plan_batch, tree_logprobs, tree_scores, tree_values
from models.scoring import last_token_scores, lay_out, response_logprobs, token_values


@dataclass(frozen=True)
class PaddedRows:
    """A row for each response: ids and attention mask, both (N, P + T); responses begin in column P."""

    ids: torch.Tensor
    attention: torch.Tensor


@dataclass(frozen=True)
class ResponseBatch:
    """N responses of at most T tokens, R in all, behind their prompts."""

    rows: TreeBatch | PaddedRows
    starts: torch.Tensor  # (N,) lengths of the prompts
    mask: torch.Tensor  # (N, T) True on the tokens of a response


def lay_responses(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad_id: int,
    cost: RowCost | None,
    device: torch.device | None = None,
) -> ResponseBatch:
    """The rows in which prompts and their responses cost least to read; a row each without a `cost`.

    Raises ValueError for a prompt or a response without a token.
    """
    if not (all(map(len, prompts)) and all(map(len, responses))):
        raise ValueError("each response must have a token, and one before it")
    starts = torch.tensor([len(prompt) for prompt in prompts], device=device)
    if cost is None:
        ids, attention, mask = lay_out(prompts, responses, pad_id, device)
        return ResponseBatch(PaddedRows(ids, attention), starts, mask)
    dialogues = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    lengths = torch.tensor([len(response) for response in responses], device=device)
    mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
    tree = lay_trees(dialogues, plan_batch(dialogues, cost), pad_id)
    return ResponseBatch(tree if device is None else tree.to(device), starts, mask)


def read_logprobs(model: nn.Module, batch: ResponseBatch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (N, T) of the responses' tokens, and the logits (R, V) before them, response after response and
    not divided by the temperature."""
    return one_pass(model, _logprobs, model, batch, temperature)


def read_values(model: nn.Module, batch: ResponseBatch) -> torch.Tensor:
    """V(s_t), (N, T): the value before response token t, so read at the token before it."""
    return one_pass(model, _values, model, batch)


def read_scores(model: nn.Module, batch: ResponseBatch) -> torch.Tensor:
    """Reward scores (N,), read at the last token of each response."""
    return one_pass(model, _scores, model, batch)


def _logprobs(model: nn.Module, batch: ResponseBatch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(batch.rows, TreeBatch):
        logprobs, logits, _ = tree_logprobs(model, batch.rows, batch.starts, temperature)
        return logprobs, logits
    T = batch.mask.shape[1]
    logprobs, logits = response_logprobs(model, batch.rows.ids, batch.rows.attention, T, temperature)
    return logprobs, logits[batch.mask]


def _values(model: nn.Module, batch: ResponseBatch) -> torch.Tensor:
    if isinstance(batch.rows, TreeBatch):
        return tree_values(model, batch.rows, batch.starts)
    T = batch.mask.shape[1]
    return token_values(model, batch.rows.ids, batch.rows.attention)[:, -T - 1 : -1]


def _scores(model: nn.Module, batch: ResponseBatch) -> torch.Tensor:
    if isinstance(batch.rows, TreeBatch):
        return tree_scores(model, batch.rows)
    return last_token_scores(model, batch.rows.ids, batch.rows.attention)
