"""When a prefix tree pays: one row for a prompt and its K responses against K rows, and what the cost rule expects.

    python benchmarks/prefix_tree.py [--runs 5] [--model little]

Prints the ratio of CPU times, separate rows over the tree (above 1 the tree is faster), for reading (scores without
gradients) and for training (scores, gradients of their sum), beside the ratio that `RowCost` expects. Both kinds run in
turn, pair by pair, and the ratio is the median over the pairs, so that other work on the machine hits both alike. The
layout is part of the time; the models have random weights.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from models.checkpoint import backbone
from models.prefix_tree import Group, grow_tree, lay_trees, row_cost, tree_scores
from models.scoring import last_token_scores, pad_right

MODELS = {  # hidden, layers, heads, key heads, feed-forward
    "little": (128, 3, 4, 4, 344),  # 0.7M parameters
    "135M": (576, 4, 9, 3, 1536),  # 4 of its 30 layers: each costs the same
}
SHAPES = [  # prompt tokens, response tokens
    (16, 16), (16, 64), (32, 32), (64, 16), (64, 64), (64, 256), (256, 16), (256, 64), (256, 256), (1024, 64),
]  # fmt: skip
CANDIDATES = (2, 4, 8, 16)
MAX_TOKENS = 6000  # of all separate rows of a case: keeps the run short


def reward_model(name: str) -> nn.Module:
    """A Llama with a scalar head and weights from seed 0. The vocabulary is small: no output layer is run."""
    hidden, layers, heads, kv_heads, ffn = MODELS[name]
    torch.manual_seed(0)
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=512, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv_heads, intermediate_size=ffn, max_position_embeddings=8192, num_labels=1,
            pad_token_id=0,
        )
    )  # fmt: skip


def candidates(K: int, prompt: int, response: int) -> list[list[int]]:
    """A prompt with K responses. Their lengths differ by up to an eighth, as real ones' do."""
    generator = torch.Generator().manual_seed(1)

    def draw(length: int) -> list[int]:
        drawn: list[int] = torch.randint(1, 512, (length,), generator=generator).tolist()
        return drawn

    shared = draw(prompt)
    return [shared + draw(response - i % (response // 8 + 1)) for i in range(K)]


def separate_scores(model: nn.Module, rows: list[list[int]]) -> torch.Tensor:
    """One row each."""
    return last_token_scores(model, *pad_right(rows, 0))


def shared_scores(model: nn.Module, rows: list[list[int]]) -> torch.Tensor:
    """One row for all."""
    width = len(grow_tree(rows).ids)
    return tree_scores(model, lay_trees(rows, [Group(tuple(range(len(rows))), width)], 0))


def measured(run: Callable[[], torch.Tensor], model: nn.Module, training: bool) -> float:
    """CPU seconds of one run."""
    model.zero_grad(set_to_none=True)
    started = time.process_time()
    with torch.set_grad_enabled(training):
        scores = run()
        if training:
            scores.sum().backward()
    return time.process_time() - started


def ratio(model: nn.Module, rows: list[list[int]], runs: int, training: bool) -> float:
    """Median over alternating pairs of separate time / tree time, after one pair that is not counted."""
    found = []
    for number in range(runs + 1):
        pair = [lambda: separate_scores(model, rows), lambda: shared_scores(model, rows)]
        order = (0, 1) if number % 2 else (1, 0)
        times = {which: measured(pair[which], model, training) for which in order}
        found.append(times[0] / times[1])
    return statistics.median(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", choices=MODELS, action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.model or MODELS:
        model = reward_model(name)
        cost = row_cost(model)
        assert cost is not None
        print(f"\n{name}: {sum(p.numel() for p in backbone(model).layers.parameters()) / 1e6:.1f}M in layers, ", end="")
        print(f"a token costs {cost.linear:.0f} pairs")
        print("prompt response  K | reading training | expected")
        for prompt, response in SHAPES:
            for K in CANDIDATES:
                rows = candidates(K, prompt, response)
                if sum(map(len, rows)) > MAX_TOKENS:
                    continue
                reading, training = (ratio(model, rows, arguments.runs, kind) for kind in (False, True))
                expected = sum(cost.row(len(row)) for row in rows) / cost.row(len(grow_tree(rows).ids))
                print(f"{prompt:6} {response:8} {K:2} | {reading:7.2f} {training:8.2f} | {expected:8.2f}", flush=True)


if __name__ == "__main__":
    main()
