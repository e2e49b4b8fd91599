"""Reading models without training them: reward scores, per-token values and log-probabilities of given token ids."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from models.algorithms.logprobs import token_logprobs
from models.checkpoint import backbone, read_head
from models.devices import device_of
from models.last_layer import hidden_at
from models.prefix_tree import batch_groups, is_tree, lay_trees, row_cost, share_prefixes, tree_scores
from models.working_copy import fast_reading

MOST_LOGITS = 2**26
"""Of one pass of which all logits are held: 256 MB in float32, and log-probabilities take as much again."""


def pad_right(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) and attention mask (B, T), padding on the right."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) and attention mask (B, T), padding on the left: every row ends in the last column."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return ids, mask


def rows_to_read(lengths: Sequence[int], vocabulary: int, most: int) -> Iterator[list[int]]:
    """Places of the rows that are read together, the longest first: at most `most` rows, and no more than MOST_LOGITS
    numbers where each is as long as the longest of them, unless one row alone has more."""
    left = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while left:
        count = max(1, min(most, MOST_LOGITS // (max(lengths[left[0]], 1) * vocabulary)))
        yield left[:count]
        left = left[count:]


def lay_out(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad_id: int,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids (B, P + T), attention mask (B, P + T), response mask (B, T): prompts end at column P, responses begin
    there."""
    P, T = max(map(len, prompts)), max(map(len, responses))
    ids = torch.full((len(prompts), P + T), pad_id, device=device)
    attention = torch.zeros((len(prompts), P + T), dtype=torch.long, device=device)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        row = torch.tensor([*prompt, *response], device=device)
        ids[i, P - len(prompt) : P + len(response)] = row
        attention[i, P - len(prompt) : P + len(response)] = 1
    return ids, attention, attention[:, P:].bool()


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (B, T) that start at 0 on the first real token, wherever the padding is."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def token_values(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The scalar head on every token: (B, T)."""
    hidden = backbone(model)(
        input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False
    ).last_hidden_state
    return read_head(model, hidden)


def last_token_scores(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Reward scores (B,), read at the last real token by the mask: right also where padding and end of sequence are one
    id."""
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
    places = torch.arange(len(mask), device=mask.device) * mask.shape[1] + last
    return read_head(
        model, hidden_at(model, places, input_ids=ids, attention_mask=mask, position_ids=positions_of(mask))
    )


def response_logprobs(
    model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, width: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (B, width) of the last `width` columns of `ids`, and their logits (B, width, V) over
    `temperature`.

    Only the response's logits are computed.
    """
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions_of(mask),
        use_cache=False,
        logits_to_keep=width + 1,
    ).logits[:, :-1]
    return token_logprobs(logits, ids[:, -width:], temperature), logits


@torch.inference_mode()
def score_rows(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[float]:
    """Reward scores of whole dialogues given as ids. Dialogues that begin alike are read as prefix trees where that
    costs less, rows of like length together. Order is kept."""
    device = device_of(model)
    was_training = model.training
    model.eval()
    scores, done = [0.0] * len(rows), 0
    with fast_reading(model):
        for batch in batch_groups(share_prefixes(rows, row_cost(model), batch_size), batch_size):
            chosen = sorted(i for group in batch for i in group.members)
            if is_tree(batch[0]):
                values = tree_scores(model, lay_trees(rows, batch, pad_id).to(device))
            else:
                ids, mask = pad_right([rows[i] for i in chosen], pad_id)
                values = last_token_scores(model, ids.to(device), mask.to(device))
            for i, value in zip(chosen, values.tolist(), strict=True):
                scores[i] = value
            done += len(chosen)
            on_progress(done / len(rows))
    model.train(was_training)
    return scores
