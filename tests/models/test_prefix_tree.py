"""Prefix tree leaks: sequences that share a row must be read as if each stood alone, in values and in gradients."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import MistralConfig, MistralForSequenceClassification

from models import prefix_tree as module
from models.checkpoint import backbone, load_policy, load_reward, output_embeddings
from models.config import LoraConfig
from models.prefix_tree import (
    ATTENTION_WEIGHT,
    Group,
    RowCost,
    TreeBatch,
    batch_groups,
    common_prefix,
    fill_rows,
    grow_tree,
    lay_trees,
    row_cost,
    share_prefixes,
    tree_logprobs,
    tree_mask,
    tree_scores,
)
from models.scoring import last_token_scores, lay_out, pad_right, response_logprobs

PROMPT = [1, 4, 20, 21, 22, 23, 24, 5]
RESPONSES = [
    [50, 51, 52, 2],
    [50, 51, 60, 61, 62, 63, 2],
    [70, 2],
    [50, 51, 52, 53, 2],
]  # 50 51 and 50 51 52 are shared
OTHER_PROMPT = [1, 4, 30, 5]
OTHER_RESPONSES = [[80, 81, 2], [82, 2]]
ROWS = [PROMPT + r for r in RESPONSES] + [OTHER_PROMPT + r for r in OTHER_RESPONSES] + [[9, 8, 7]]
GROUPS = [Group((0, 1, 2, 3), 21), Group((4, 5), 9), Group((6,), 3)]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float) -> None:
    """Equal up to `tolerance` of each parameter's largest gradient."""
    assert ours.keys() == theirs.keys()
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs.values())
    for name, expected in theirs.items():
        assert (ours[name] - expected).abs().max() <= tolerance * max(1e-3, float(expected.abs().max())), name


def weights(*shape: int) -> torch.Tensor:
    """So that no two outputs have the same part in a gradient."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


# The plan, by hand


def test_a_prompt_with_two_responses_by_hand() -> None:
    tree = grow_tree([[1, 5, 6, 9], [1, 5, 6, 7, 8]])
    assert tree.ids == [1, 5, 6, 7, 8, 9]
    assert tree.positions == [0, 1, 2, 3, 4, 3]
    assert tree.ends == [6, 6, 6, 5, 5, 6]
    assert tree.columns == [[0, 1, 2, 5], [0, 1, 2, 3, 4]]


def test_branches_within_branches_equal_sequences_and_a_prefix_by_hand() -> None:
    tree = grow_tree([[1, 2, 4], [1, 2], [1, 2, 3, 3], [7], [1, 2, 3], [1, 2, 4]])
    assert tree.ids == [1, 2, 3, 3, 4, 7]
    assert tree.positions == [0, 1, 2, 3, 2, 0]
    assert tree.ends == [5, 5, 4, 4, 5, 6]
    assert tree.columns == [[0, 1, 4], [0, 1], [0, 1, 2, 3], [5], [0, 1, 2], [0, 1, 4]]


def test_the_mask_by_hand() -> None:
    """1 2 are the prompt, 3 4 and 5 the responses, 9 belongs to another group, then two columns of padding."""
    batch = lay_trees([[1, 2, 3, 4], [1, 2, 5], [9]], [Group((0, 1, 2), 6)], pad_id=0)
    wider = TreeBatch(*(torch.cat([t, t[:, -1:] * 0], 1) for t in (batch.ids, batch.positions)),
                      torch.cat([batch.ends, torch.tensor([[7]])], 1), batch.places)  # fmt: skip
    picture = ["".join(".#"[int(seen)] for seen in row) for row in tree_mask(wider.ends, "sdpa")[0, 0]]
    assert picture == [
        "#......",
        "##.....",
        "###....",
        "####...",
        "##..#..",
        ".....#.",
        "......#",
    ]  # fmt: skip


def test_two_groups_in_one_batch_by_hand() -> None:
    batch = lay_trees([[1, 2, 3], [8, 9], [1, 2, 4, 4], [8, 9]], [Group((0, 2), 5), Group((1, 3), 2)], pad_id=0)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 4], [8, 9, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 2, 3], [0, 1, 0, 0, 0]]
    assert batch.ends.tolist() == [[5, 5, 3, 5, 5], [2, 2, 3, 4, 5]]
    assert batch.places.tolist() == [[0, 1, 2, -1], [5, 6, -1, -1], [0, 1, 3, 4], [5, 6, -1, -1]]


def test_a_batch_of_some_groups_follows_their_numbers() -> None:
    batch = lay_trees([[1, 2, 3], [8, 9], [1, 2, 4, 4]], [Group((2,), 4), Group((1,), 2)], pad_id=0)
    assert batch.ids.flatten()[batch.places[:, :2]].tolist() == [[8, 9], [1, 2]]


def test_wrong_groups_and_empty_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="one group only"):
        lay_trees([[1], [2]], [Group((0, 1), 2), Group((1,), 1)], pad_id=0)
    with pytest.raises(ValueError, match="empty sequence"):
        grow_tree([[1, 2], []])


sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=7)


@pytest.mark.slow
@given(sequences)
@settings(max_examples=200, deadline=None)
def test_every_token_sees_its_own_sequence_and_nothing_else(rows: list[list[int]]) -> None:
    tree = grow_tree(rows)
    assert len(tree.ids) == len({tuple(row[: i + 1]) for row in rows for i in range(len(row))})  # each prefix once
    for row, columns in zip(rows, tree.columns, strict=True):
        assert [tree.ids[c] for c in columns] == row
        assert [tree.positions[c] for c in columns] == list(range(len(row)))
        mask = tree_mask(torch.tensor([tree.ends]), "sdpa")
        for t, column in enumerate(columns):
            assert mask[0, 0, column].nonzero().flatten().tolist() == columns[: t + 1]


@given(sequences, st.integers(0, 50), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_groups_hold_every_sequence_once_and_never_cost_more(rows: list[list[int]], linear: int, limit: int) -> None:
    cost = RowCost(linear)
    groups = share_prefixes(rows, cost, limit)
    assert sorted(i for group in groups for i in group.members) == list(range(len(rows)))
    assert all(len(group.members) <= limit for group in groups)
    assert [group.width for group in groups] == [len(grow_tree([rows[i] for i in g.members]).ids) for g in groups]
    assert sum(cost.row(group.width) for group in groups) <= sum(cost.row(len(row)) for row in rows)


# The cost rule


def test_a_pair_goes_as_a_tree_just_where_the_saved_tokens_outweigh_the_mask() -> None:
    """Two rows of 10 tokens that share 4: 16 columns instead of 20. 16 (x + 16) < 2 · 10 (x + 10) for x > 14."""
    rows = [[1, 1, 1, 1, *[2] * 6], [1, 1, 1, 1, *[3] * 6]]
    assert share_prefixes(rows, RowCost(14), 9) == [Group((0,), 10), Group((1,), 10)]
    assert share_prefixes(rows, RowCost(14.1), 9) == [Group((0, 1), 16)]


def test_long_responses_to_a_prompt_are_split_into_several_rows() -> None:
    """Prompt 4, responses of 6: a row of w columns takes another where
    6 (x + 2w + 6) < 10 (x + 10), for x = 60 where w < 25.3."""
    rows = [[1, 1, 1, 1, *[i] * 6] for i in range(2, 9)]
    assert share_prefixes(rows, RowCost(60), 9) == [Group((0, 1, 2, 3), 28), Group((4, 5, 6), 22)]
    assert share_prefixes(rows, RowCost(60), 2)[0] == Group((0, 1), 16)


def test_rows_are_filled_by_hand() -> None:
    """Widths 10, 6, 6: three rows of 10 cost 30 (l + 10), two of 16 cost 32 (l + 16), one of 22 costs 22 (l + 22)."""
    groups = [Group((0, 3), 6), Group((1,), 10), Group((2,), 6)]
    assert fill_rows(groups, RowCost(90)) == [Group((0, 1, 2, 3), 22)]
    assert fill_rows(groups, RowCost(10)) == groups
    assert fill_rows([Group((0,), 4), Group((1,), 10), Group((2,), 5)], RowCost(0)) == [
        Group((0, 2), 9),  # beside each other they are no wider than the widest
        Group((1,), 10),
    ]


@pytest.mark.slow
@given(sequences, st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_filled_rows_hold_every_sequence_once_and_never_cost_more(rows: list[list[int]], linear: int) -> None:
    cost = RowCost(linear)
    groups = share_prefixes(rows, cost, len(rows))
    filled = fill_rows(groups, cost)
    assert sorted(i for row in filled for i in row.members) == list(range(len(rows)))

    def padded(of: list[Group]) -> float:
        return len(of) * cost.row(max(row.width for row in of))

    assert padded(filled) <= padded(groups)
    assert lay_trees(rows, filled, pad_id=0).ids.shape[1] <= max(row.width for row in filled)


def test_the_cost_of_a_token_by_hand(reward_folders: dict[str, Path]) -> None:
    """Width 32, feed-forward 64, heads 4 of 8: queries and output 2 · 32², keys and values as much (GQA: half), and
    3 · 32 · 64; a pair takes 64."""
    mha, gqa = (load_reward(reward_folders[kind]) for kind in ("mha", "gqa"))
    assert row_cost(mha) == RowCost((2048 + 2048 + 6144) / (64 * ATTENTION_WEIGHT))
    assert row_cost(gqa) == RowCost((2048 + 1024 + 6144) / (64 * ATTENTION_WEIGHT))


def test_models_that_trees_do_not_fit_have_no_cost_and_rows_of_their_own(reward_folder: Path) -> None:
    assert row_cost(with_attention(load_reward(reward_folder), "flash_attention_2")) is None
    windows = MistralForSequenceClassification(
        MistralConfig(vocab_size=9, hidden_size=32, num_attention_heads=4, num_hidden_layers=1)
    )
    assert row_cost(windows) is None
    assert share_prefixes([[1, 2], [1, 2]], None, 9) == [Group((0,), 2), Group((1,), 2)]


def test_batches_hold_rows_of_like_width_and_never_mix_trees_with_ordinary_rows() -> None:
    groups = [
        Group((0, 1), 9),
        Group((2,), 5),
        Group((3,), 3),
        Group((4, 5), 7),
        Group((6, 7, 8, 9), 8),
        Group((10,), 4),
    ]
    assert batch_groups(groups, 3) == [
        [Group((3,), 3), Group((10,), 4), Group((2,), 5)],
        [Group((4, 5), 7)],
        [Group((6, 7, 8, 9), 8)],
        [Group((0, 1), 9)],
    ]


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([3], [1]) == common_prefix([], [1]) == 0


# Equal to separate rows


def test_scores_and_gradients_equal_separate_rows(reward_folder: Path) -> None:
    model = load_reward(reward_folder, trainable=True)
    separate = last_token_scores(model, *pad_right(ROWS, 3))
    (separate * weights(len(ROWS))).sum().backward()
    expected = gradients(model)
    shared = tree_scores(model, lay_trees(ROWS, GROUPS, 3))
    (shared * weights(len(ROWS))).sum().backward()
    assert len({round(score, 3) for score in shared.tolist()}) == len(ROWS)  # equality says something
    torch.testing.assert_close(shared, separate, **TOLERANCE)
    same_gradients(gradients(model), expected, 1e-5)


@pytest.mark.conformance("prefix tree leaks", equation="models.prefix_tree:tree_logprobs")
@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_logprobs_and_gradients_equal_separate_rows(policy_folder: Path, temperature: float) -> None:
    model = load_policy(policy_folder, trainable=True)
    prompts, responses = [PROMPT] * 4 + [OTHER_PROMPT] * 2, RESPONSES + OTHER_RESPONSES
    ids, attention, mask = lay_out(prompts, responses, 3)
    separate, logits = response_logprobs(model, ids, attention, mask.shape[1], temperature)
    (separate * weights(*mask.shape))[mask].sum().backward()
    expected = gradients(model)
    starts = torch.tensor([len(prompt) for prompt in prompts])
    shared, shared_logits, shared_mask = tree_logprobs(model, lay_trees(ROWS, GROUPS[:2], 3), starts, temperature)
    (shared * weights(*mask.shape))[mask].sum().backward()
    assert torch.equal(shared_mask, mask)
    torch.testing.assert_close(shared[mask], separate[mask], **TOLERANCE)
    torch.testing.assert_close(shared_logits, logits[mask], atol=1e-4, rtol=1e-5)
    same_gradients(gradients(model), expected, 1e-5)


def test_an_adapter_is_read_through_the_tree_too(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy, lora=LoraConfig(rank=4, alpha=8), trainable=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    ids, attention, mask = lay_out([PROMPT] * 4, RESPONSES, 3)
    separate, _ = response_logprobs(model, ids, attention, mask.shape[1], 1.0)
    (separate * weights(*mask.shape))[mask].sum().backward()
    expected = gradients(model)
    shared, _, _ = tree_logprobs(model, lay_trees(ROWS, GROUPS[:1], 3), torch.full((4,), len(PROMPT)), 1.0)
    (shared * weights(*mask.shape))[mask].sum().backward()
    torch.testing.assert_close(shared[mask], separate[mask], **TOLERANCE)
    same_gradients(gradients(model), expected, 1e-5)


def test_responses_without_tokens_or_without_a_token_before_them_are_refused(gqa_policy: Path) -> None:
    model, batch = load_policy(gqa_policy), lay_trees([[1, 2], [1, 3, 4]], [Group((0, 1), 4)], 0)
    for starts in ([0, 1], [2, 1]):
        with pytest.raises(ValueError, match="each response must have a token, and one before it"):
            tree_logprobs(model, batch, torch.tensor(starts), 1.0)


# Nothing leaks

Read = Callable[[nn.Module, list[list[int]]], torch.Tensor]


def second_score(model: nn.Module, rows: list[list[int]]) -> torch.Tensor:
    return tree_scores(model, lay_trees(rows, [Group((0, 1, 2), 0)], 3))[1]


def second_logprobs(model: nn.Module, rows: list[list[int]]) -> torch.Tensor:
    starts = torch.full((3,), len(PROMPT))
    logprobs, _, mask = tree_logprobs(model, lay_trees(rows, [Group((0, 1, 2), 0)], 3), starts, 1.0)
    return logprobs[1][mask[1]]


def second_of(folder: Path, read: Read, first: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What is read of the second of three responses, and its gradients, where `first` is the first response."""
    load = load_reward if read is second_score else load_policy
    model = load(folder, trainable=True)
    found = read(model, [[*PROMPT, *response] for response in (first, [60, 61, 2], [70, 2])])
    found.sum().backward()
    return found.detach(), gradients(model)


@pytest.mark.conformance("prefix tree leaks", equation="models.prefix_tree:tree_mask")
@pytest.mark.parametrize("read", [second_score, second_logprobs])
@pytest.mark.parametrize(
    ("other", "tolerance"),
    [([90, 91, 92, 2], 1e-6), ([2, 2, 2, 2], 1e-6), ([50, 51], 1e-5), ([60, 61, 99, 2], 1e-5)],
    ids=["other tokens", "ends at once", "shorter", "shares tokens with the second"],  # the last two change the width
)
def test_changing_one_response_leaves_the_other_ones_values_and_gradients_unchanged(
    reward_folder: Path,
    policy_folder: Path,
    read: Read,
    other: list[int],
    tolerance: float,
) -> None:
    folder = reward_folder if read is second_score else policy_folder
    before, gradients_before = second_of(folder, read, [50, 51, 52, 2])
    after, gradients_after = second_of(folder, read, other)
    torch.testing.assert_close(after, before, atol=tolerance, rtol=tolerance)
    same_gradients(gradients_after, gradients_before, tolerance)


@pytest.mark.parametrize("read", [second_score, second_logprobs])
def test_a_causal_mask_alone_would_leak(
    reward_folder: Path,
    policy_folder: Path,
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test above can fail."""
    monkeypatch.setattr(
        module, "tree_mask", lambda ends, _: torch.ones(ends.shape[1], ends.shape[1]).tril().bool()[None, None]
    )
    folder = reward_folder if read is second_score else policy_folder
    before, _ = second_of(folder, read, [50, 51, 52, 2])
    after, _ = second_of(folder, read, [9, 9, 9, 2])
    assert (after - before).abs().max() > 1e-2


def test_whatever_stands_at_the_padding_changes_nothing(reward_folder: Path) -> None:
    model = load_reward(reward_folder)
    first, second = (lay_trees(ROWS, GROUPS, pad_id) for pad_id in (3, 99))
    assert not torch.equal(first.ids, second.ids)
    with torch.no_grad():
        assert torch.equal(tree_scores(model, first), tree_scores(model, second))


def test_two_passes_are_equal_to_the_bit(reward_folder: Path) -> None:
    found = []
    for _ in range(2):
        model = load_reward(reward_folder, trainable=True)
        scores = tree_scores(model, lay_trees(ROWS, GROUPS, 3))
        scores.sum().backward()
        found.append((scores, gradients(model)))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(gradient, found[1][1][name]) for name, gradient in found[0][1].items())


# Other kinds of attention


def with_attention(model: nn.Module, attention: str) -> nn.Module:
    backbone(model).config._attn_implementation = attention
    return model


@pytest.mark.parametrize("attention", ["eager", "flash_attention_2"])
def test_attention_that_would_leak_is_refused(reward_folder: Path, attention: str) -> None:
    model = with_attention(load_reward(reward_folder), attention)
    with pytest.raises(ValueError, match=f"need sdpa or flex_attention, this model has {attention}"):
        tree_scores(model, lay_trees(ROWS, GROUPS, 3))


def test_the_block_mask_of_flex_attention_holds_the_same_pairs_as_the_mask_of_sdpa() -> None:
    ends = lay_trees(ROWS, GROUPS, 3).ends
    block = tree_mask(ends, "flex_attention")
    expected = tree_mask(ends, "sdpa")
    columns = torch.arange(ends.shape[1])
    for b in range(len(ends)):
        seen = block.mask_mod(torch.tensor(b), torch.tensor(0), columns[:, None], columns[None])
        assert torch.equal(seen, expected[b, 0])


@pytest.mark.slow
def test_flex_attention_scores_equal_separate_rows(reward_folder: Path) -> None:
    """On a CPU it compiles for a minute, and has no gradients."""
    model = load_reward(reward_folder)
    with torch.no_grad():
        separate = last_token_scores(model, *pad_right(ROWS, 3))
        shared = tree_scores(with_attention(model, "flex_attention"), lay_trees(ROWS, GROUPS, 3))
    torch.testing.assert_close(shared, separate, **TOLERANCE)


@pytest.mark.gpu
def test_flex_attention_equals_separate_rows_on_a_gpu(reward_folder: Path) -> None:
    model = with_attention(load_reward(reward_folder, trainable=True).cuda(), "flex_attention")
    separate = load_reward(reward_folder, trainable=True).cuda()
    ids, mask = pad_right(ROWS, 3)
    expected = last_token_scores(separate, ids.cuda(), mask.cuda())
    expected.sum().backward()
    found = tree_scores(model, lay_trees(ROWS, GROUPS, 3).to(torch.device("cuda")))
    found.sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)  # the compiled kernel rounds to TF32
    same_gradients(gradients(model), gradients(separate), 1e-2)


def test_the_output_layer_is_the_one_of_the_policy(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    assert output_embeddings(model).weight.shape == (model.config.vocab_size, 32)
