"""Prefix trees: sequences that begin alike are one row, and what they share is computed once.

The tokens of a row stand in preorder of the tree (trie) of its sequences. Token k is then on the path to token q just
where k <= q < ends[k], with `ends[k]` the column after k's last descendant: that is the whole attention mask. Positions
are depths, so every sequence is read as if it stood alone. Nobody names a prompt: the tree shares what is equal.

Order: plan (`share_prefixes`: which sequences make a row; `fill_rows`: which rows stand side by side in one), lay out
(`lay_trees`: tensors), read (`tree_scores`, `tree_logprobs`, `tree_values`). The first two know no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import LlamaConfig, PreTrainedConfig

from models.algorithms.logprobs import token_logprobs
from models.checkpoint import backbone, output_embeddings, read_head
from models.last_layer import hidden_at

ATTENTION = ("sdpa", "flex_attention")
# One multiply-add in attention costs as much as this many in the linear layers: fitted to the figures of
# benchmarks/prefix_tree.py on a CPU with SDPA, see docs/log.md. FlexAttention skips masked blocks, so there it is high.
ATTENTION_WEIGHT = 1.4


@dataclass(frozen=True)
class PrefixTree:
    """One row of W columns. `columns[i]` says where the tokens of sequence i stand; shared tokens stand once."""

    ids: list[int]  # (W,)
    positions: list[int]  # (W,) depth in the tree, from 0
    ends: list[int]  # (W,) the column after the last descendant
    columns: list[list[int]]


@dataclass(frozen=True)
class RowCost:
    """What a forward pass over rows costs, in units of one attended pair of tokens.

    A masked row of W columns costs W · linear for the linear layers and W² for attention: masked kernels compute every
    pair. `linear` is the number of pairs that cost as much as one token in the linear layers.
    """

    linear: float

    def row(self, width: int) -> float:
        """Cost of one row."""
        return width * (self.linear + width)


@dataclass(frozen=True)
class Group:
    """Numbers of the sequences that make one row, ascending, and the row's width in tokens."""

    members: tuple[int, ...]
    width: int


@dataclass(frozen=True)
class TreeBatch:
    """B rows of at most W columns that hold N sequences of at most L tokens; rows are padded on the right."""

    ids: torch.Tensor  # (B, W)
    positions: torch.Tensor  # (B, W)
    ends: torch.Tensor  # (B, W); padding sees itself alone
    places: torch.Tensor  # (N, L) row · W + column of each token of each sequence; -1 after its end

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor]) -> "TreeBatch":
        """Out of a collator's batch, which holds the tensors by name beside others."""
        return cls(**{field.name: batch[field.name] for field in fields(cls)})

    def to(self, device: torch.device) -> "TreeBatch":
        """The same on another device."""
        return TreeBatch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def grow_tree(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of some sequences of token ids. Sequences without a common token are kept apart all the same.

    Raises ValueError for an empty sequence.
    """
    if not all(map(len, sequences)):
        raise ValueError("an empty sequence has no place in a prefix tree")
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    columns: list[list[int]] = [[] for _ in sequences]
    path: list[int] = []  # columns of the sequence before, which shares most with this one
    before: Sequence[int] = ()
    for i in sorted(range(len(sequences)), key=lambda i: list(sequences[i])):
        sequence = sequences[i]
        shared = common_prefix(before, sequence)
        for column in path[shared:]:
            ends[column] = len(ids)
        new = range(len(ids), len(ids) + len(sequence) - shared)
        ids += sequence[shared:]
        positions += range(shared, len(sequence))
        ends += new
        path = [*path[:shared], *new]
        columns[i], before = path, sequence
    for column in path:
        ends[column] = len(ids)
    return PrefixTree(ids, positions, ends, columns)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of tokens that two sequences begin with alike."""
    length = min(len(a), len(b))
    return next((i for i in range(length) if a[i] != b[i]), length)


def row_cost(model: nn.Module) -> RowCost | None:
    """The cost of rows under a model with Llama's layers; None for models and kinds of attention that trees do not fit.

    Per layer a token takes 2da + 2dc + 3df multiply-adds in the linear layers (width d, all heads a, all key heads c,
    feed-forward f) and a pair takes 2a in attention.
    """
    config = backbone(model).config
    if not isinstance(config, LlamaConfig) or config._attn_implementation not in ATTENTION:
        return None
    d, f, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = config.head_dim or d // heads
    a, c = head * heads, head * (config.num_key_value_heads or heads)
    return RowCost((2 * d * a + 2 * d * c + 3 * d * f) / (2 * a * ATTENTION_WEIGHT))


def share_prefixes(sequences: Sequence[Sequence[int]], cost: RowCost | None, limit: int) -> list[Group]:
    """Groups of at most `limit` sequences, each to be one row; a group of one is an ordinary row.

    In alphabetical order each sequence shares most with the one before it. It joins that one's row where the longer row
    costs less than two rows: the shared tokens are saved, but the others are masked against each other. Without a cost
    each has a row of its own.
    """
    groups: list[Group] = []
    before = -1
    for i in sorted(range(len(sequences)), key=lambda i: list(sequences[i])):
        alone = len(sequences[i])
        if cost is not None and groups and len(groups[-1].members) < limit:
            last = groups[-1]
            joined = last.width + alone - common_prefix(sequences[before], sequences[i])
            if cost.row(joined) < cost.row(last.width) + cost.row(alone):
                groups[-1] = Group(tuple(sorted((*last.members, i))), joined)
                before = i
                continue
        groups.append(Group((i,), alone))
        before = i
    return sorted(groups, key=lambda group: group.members)


def fill_rows(groups: Sequence[Group], cost: RowCost) -> list[Group]:
    """The groups again, several in one row where that costs less: rows of one batch are padded to the widest.

    First fit by falling width, into rows as wide as the widest group, twice and three times that; the cheapest counts.
    Groups in a row share nothing and see nothing of each other.
    """
    widest = max(group.width for group in groups)
    layouts = [_first_fit(groups, times * widest) for times in (1, 2, 3)]
    return min(layouts, key=lambda rows: len(rows) * cost.row(max(row.width for row in rows)))


def plan_batch(sequences: Sequence[Sequence[int]], cost: RowCost | None) -> list[Group]:
    """The rows in which the sequences of one training batch cost least; without a cost a row each."""
    groups = share_prefixes(sequences, cost, limit=len(sequences))
    return groups if cost is None else fill_rows(groups, cost)


def _first_fit(groups: Sequence[Group], capacity: int) -> list[Group]:
    rows: list[Group] = []
    for group in sorted(groups, key=lambda group: (-group.width, group.members)):
        for place, row in enumerate(rows):
            if row.width + group.width <= capacity:
                rows[place] = Group(tuple(sorted((*row.members, *group.members))), row.width + group.width)
                break
        else:
            rows.append(group)
    return sorted(rows, key=lambda row: row.members)


def batch_groups(groups: Sequence[Group], limit: int) -> list[list[Group]]:
    """Batches of groups of like width with at most `limit` sequences (a larger group goes alone). Ordinary rows and
    trees never share a batch."""
    batches: list[list[Group]] = []
    for group in sorted(groups, key=lambda group: (len(group.members) > 1, group.width, group.members)):
        last = batches[-1] if batches else []
        count = sum(len(other.members) for other in last) + len(group.members)
        if last and count <= limit and is_tree(last[0]) == is_tree(group):
            last.append(group)
        else:
            batches.append([group])
    return batches


def is_tree(group: Group) -> bool:
    """Whether the row holds several sequences and needs the mask."""
    return len(group.members) > 1


def lay_trees(sequences: Sequence[Sequence[int]], groups: Sequence[Group], pad_id: int) -> TreeBatch:
    """One row per group. `places` follows the sequences that the groups name, by ascending number.

    Raises ValueError for a sequence in two groups.
    """
    numbers = sorted(i for group in groups for i in group.members)
    if len(set(numbers)) < len(numbers):
        raise ValueError("a sequence can be in one group only")
    index = {number: n for n, number in enumerate(numbers)}
    trees = [grow_tree([sequences[i] for i in group.members]) for group in groups]
    B, W = len(trees), max(len(tree.ids) for tree in trees)
    ids = torch.full((B, W), pad_id)
    positions = torch.zeros((B, W), dtype=torch.long)
    ends = torch.arange(1, W + 1).repeat(B, 1)
    places = torch.full((len(numbers), max(len(sequences[i]) for i in numbers)), -1)
    for row, (group, tree) in enumerate(zip(groups, trees, strict=True)):
        used = len(tree.ids)
        ids[row, :used] = torch.tensor(tree.ids)
        positions[row, :used] = torch.tensor(tree.positions)
        ends[row, :used] = torch.tensor(tree.ends)
        for i, columns in zip(group.members, tree.columns, strict=True):
            places[index[i], : len(columns)] = row * W + torch.tensor(columns)
    return TreeBatch(ids, positions, ends, places)


def tree_mask(ends: torch.Tensor, attention: str) -> torch.Tensor | BlockMask:
    """The mask k <= q < ends[k]: (B, 1, W, W), True = seen, for "sdpa", a block mask for "flex_attention".

    Raises ValueError for other kinds of attention: eager would add a boolean mask to its scores and leak, flash takes
    none.
    """
    B, W = ends.shape
    if attention == "flex_attention":

        def seen(b: torch.Tensor, _: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return (k <= q) & (q < ends[b, k])

        return create_block_mask(seen, B, None, W, W, device=str(ends.device))
    if attention not in ATTENTION:
        raise ValueError(f"prefix trees need sdpa or flex_attention, this model has {attention}")
    columns = torch.arange(W, device=ends.device)
    mask: torch.Tensor = (columns <= columns[:, None]) & (columns[:, None] < ends[:, None, :])
    return mask[:, None]


def tree_hidden(model: nn.Module, batch: TreeBatch, places: torch.Tensor) -> torch.Tensor:
    """The last hidden states (R, d) of the columns at `places` (R,), numbers as `batch.places` holds them."""
    config = cast(PreTrainedConfig, backbone(model).config)
    mask = tree_mask(batch.ends, config._attn_implementation)
    return hidden_at(model, places, input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions)


def tree_scores(model: nn.Module, batch: TreeBatch) -> torch.Tensor:
    """Reward scores (N,), read at the last token of each sequence."""
    last = (batch.places >= 0).sum(1, keepdim=True) - 1
    return read_head(model, tree_hidden(model, batch, batch.places.gather(1, last)[:, 0]))


def tree_logprobs(
    model: nn.Module, batch: TreeBatch, starts: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities (N, T) of each sequence's tokens from `starts` (N,) on, 0 where there are none; the logits
    (R, V) before these R tokens, sequence after sequence; and the response mask (N, T): with a prompt's length as the
    start, the response begins at column 0.

    Only these logits are computed, and they are not divided by the temperature. Raises ValueError where a response is
    empty or starts at token 0, before which nothing stands.
    """
    wanted, mask = _tokens_from(batch, starts)
    ids = batch.ids.flatten()[batch.places.gather(1, wanted)[mask]]
    logits = output_embeddings(model)(tree_hidden(model, batch, batch.places.gather(1, wanted - 1)[mask]))
    found = token_logprobs(logits[None], ids[None], temperature)[0]
    return _in_columns(found, mask), logits, mask


def tree_values(model: nn.Module, batch: TreeBatch, starts: torch.Tensor) -> torch.Tensor:
    """The scalar head before each sequence's tokens from `starts` (N,) on: (N, T), 0 where there are none.

    Raises ValueError as `tree_logprobs` does.
    """
    wanted, mask = _tokens_from(batch, starts)
    found = read_head(model, tree_hidden(model, batch, batch.places.gather(1, wanted - 1)[mask]))
    return _in_columns(found, mask)


def _tokens_from(batch: TreeBatch, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which token of its sequence stands in each column, and which columns hold one: both (N, T)."""
    lengths = (batch.places >= 0).sum(1)
    if not bool(((starts >= 1) & (starts < lengths)).all()):
        raise ValueError("each response must have a token, and one before it")
    wanted = starts[:, None] + torch.arange(int((lengths - starts).max()), device=starts.device)
    return wanted.minimum(lengths[:, None] - 1), wanted < lengths[:, None]  # padding must hold valid places too


def _in_columns(found: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Numbers (R,) of the tokens that `mask` (N, T) has, each in its column."""
    return found.new_zeros(mask.shape).masked_scatter(mask, found)
