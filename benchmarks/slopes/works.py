"""The work of each stage at any size, for its slope: what is laid out before, and what is timed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Timed = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """`at(size, folder)` lays a size out and gives what is timed. `along`: what the size counts. `reaches`: the size up
    to which the page draws the line on, and what that stands for. One that `tells` is a process of its own, and gives
    its (processor seconds, seconds by the clock, peak in MB, …)."""

    at: Callable[[int, Path], Timed]
    about: str
    along: str
    sizes: tuple[int, ...]
    reaches: tuple[int, str] | None = None
    tells: bool = False


def filtering(size: int, _: Path) -> Timed:
    """Documents of the little world: its words, its defects, its near duplicates."""
    import pyarrow as pa

    from data_store.corpus.filtering import filter_documents
    from data_store.corpus.registry import FilterConfig
    from data_store.rows import row_kind
    from world.content import World
    from world.documents import make_documents

    rows = make_documents(World(0), size, seed=0)
    table = pa.Table.from_pylist(rows, row_kind("document").schema)
    del rows
    return lambda: filter_documents(table.to_batches(500), FilterConfig(), lambda *_: None)


def pairs_through(stage: str) -> Callable[[int, Path], Timed]:
    """Preference pairs of about 500 characters on their way into the recipe."""

    def at(size: int, folder: Path) -> Timed:
        from benchmarks.many_rows import STAGES, run_stage, write_files

        write_files(folder, size)
        for before in STAGES[: STAGES.index(stage)]:
            run_stage(before, folder)
        return lambda: run_stage(stage, folder)

    return at


def _policy(layers: int = 3, width: int = 128) -> object:
    from models.llama import build_llama
    from models.llama_presets import Architecture

    return build_llama(Architecture(width, layers, 4, 4, 3 * width, context_length=2048, vocab_size=1024), 0, 0, 1, 2)


def _sampling(prompts: int, prompt_tokens: int, answers: int, tokens: int) -> Timed:
    """Answers of a model of random weights, which hardly ever end before their last token."""
    from torch import nn

    from models.config import SamplingConfig
    from models.generation import ask, sample

    policy, rng = _policy(), random.Random(0)
    assert isinstance(policy, nn.Module)
    asked = ask([rng.choices(range(3, 1024), k=prompt_tokens) for _ in range(prompts)], [1.0] * answers, 0)
    config = SamplingConfig(max_new_tokens=tokens, batch_size=64)
    return lambda: sample(policy.eval(), asked, config, end_ids=[0], pad_id=0)


def rewards(size: int, folder: Path) -> Timed:
    """One epoch over pairs of 24 and 24 tokens behind a prompt of 24."""
    from benchmarks.ppo_roles import write_models
    from models.checkpoint import reward_from_policy
    from models.config import RewardConfig
    from models.llama_presets import Architecture
    from models.training.reporting import Quiet
    from models.training.reward import Pair, train_reward

    shape = Architecture(128, 3, 4, 4, 384, context_length=128, vocab_size=1024)
    renderer = write_models(folder, shape)
    model, rng = reward_from_policy(folder / "whole" / "policy", None, lora=None, seed=0), random.Random(0)

    def ids(count: int) -> list[int]:
        return rng.choices(range(3, 1024), k=count)

    asked = [ids(24) for _ in range(size)]
    pairs = [Pair(prompt + ids(24), prompt + ids(24), "better", None) for prompt in asked]
    config = RewardConfig(batch_size=32, max_length=128)
    out, work = folder / "out", folder / "work"
    return lambda: train_reward(model, pairs, renderer, config, safety=False, out=out, work=work, seed=0,
                                reporter=Quiet())  # fmt: skip


def recipe_runs(question: str) -> Callable[[int, Path], Timed]:
    """A store in which each iteration ran 12 steps that read the last ones' versions and told 40 metrics each."""

    def at(size: int, folder: Path) -> Timed:
        from benchmarks.catalog import publication
        from data_store.catalog import events
        from data_store.catalog.journal import APPLIED, START, Entry
        from data_store.names import AssetName
        from data_store.records import Metric, RunInput, RunOutput, RunRecord
        from data_store.store import Store

        store, made = Store.open(folder / "store"), dict[AssetName, tuple[str, str]]()
        entries, seq, prev = list[Entry](), 0, START
        for number in range(size):
            for place in range(12):
                run = RunRecord(f"step_{place}", f"V{number}", f"{number}-{place}", "1", {"learning_rate": 0.001}, 0,
                                run_id=f"{number:016d}{place:016d}")  # fmt: skip
                before = [AssetName("model", f"m{each}", f"V{number - 1}") for each in range(12)] if number else []
                inputs = [RunInput(f"in-{each}", name, *made[name]) for each, name in enumerate(before)]
                output = RunOutput(AssetName("model", f"m{place}", f"V{number}"), publication(f"{number:x}f{place:x}"))
                made[output.asset] = (output.publication.version_id, run.run_id)
                metrics = [Metric(f"loss_{each}", 0.5 + each, step=each) for each in range(40)]
                event = events.run_succeeded(run, inputs, {"model": output}, metrics, "made by its step")
                entries.append(Entry.after(seq, prev, APPLIED, event))
                seq, prev = entries[-1].seq, entries[-1].sha256
        store.catalog.journal.append(entries)
        if question == "rebuild":
            return store.rebuild
        store.rebuild()
        last = AssetName("model", "m0", f"V{size - 1}")
        return (lambda: store.lineage(last)) if question == "lineage" else store.stale

    return at


def judging(size: int, folder: Path) -> Timed:
    """So many people judge 20 pairs each, three of them every pair."""
    from data_store.annotation.batches import BatchSpec, ItemDraft, open_batch
    from data_store.annotation.book import Book
    from data_store.annotation.judging import Verdict, judge, next_item
    from data_store.annotation.people import add_annotator

    book, names = Book.open(folder), [f"annotator-{number}" for number in range(size)]
    for name in names:
        add_annotator(book, name)
    asked = [{"role": "user", "content": "How do a llama and an alpaca differ? " * 5}]
    count = 20 * size // 3 + 20
    items = [ItemDraft(f"{n}", f"{n}", "helpfulness", asked, "They do. " * 60, "No. " * 50) for n in range(count)]
    open_batch(book, BatchSpec("bench", "V1", "benchmark", count, people_per_item=3), items)

    def work() -> None:
        for _ in range(20):
            for name in names:
                if (shown := next_item(book, "bench", name)) is not None:
                    judge(book, name, shown.form_key, Verdict("a", "better"))

    return work


WORKS = {
    "filter": Work(filtering, "corpus filter", "documents of 30 words", (4000, 8000, 16_000, 32_000),
                   (10_000_000, "10 million documents")),
    "import": Work(pairs_through("import"), "`import_data`", "preference pairs", (10_000, 30_000, 100_000),
                   (10_000_000, "10 million pairs"), tells=True),
    "publish": Work(pairs_through("publish"), "putting the rows into the store", "preference pairs",
                    (10_000, 30_000, 100_000), (10_000_000, "10 million pairs"), tells=True),
    "open": Work(pairs_through("open"), "reading them in a step", "preference pairs", (10_000, 30_000, 100_000),
                 (10_000_000, "10 million pairs"), tells=True),
    "answers": Work(lambda size, _: _sampling(16, 48, size, 32), "sampling", "answers to each of 16 prompts",
                    (2, 4, 8, 16, 32)),
    "prompts": Work(lambda size, _: _sampling(size, 48, 4, 32), "sampling", "prompts of 48 tokens, 4 answers",
                    (16, 32, 64, 128)),
    "prompt_tokens": Work(lambda size, _: _sampling(32, size, 4, 32), "sampling", "tokens of a prompt",
                          (64, 128, 256, 512)),
    "answer_tokens": Work(lambda size, _: _sampling(32, 48, 4, size), "sampling", "tokens of an answer",
                          (32, 64, 128, 256)),
    "reward": Work(rewards, "a reward model's training", "pairs of 2 × 24 tokens", (128, 256, 512, 1024)),
    "rebuild": Work(recipe_runs("rebuild"), "the catalog from the journal", "iterations of 12 steps",
                    (25, 50, 100, 200), (1000, "1000 iterations")),
    "stale": Work(recipe_runs("stale"), "what is stale", "iterations of 12 steps", (25, 50, 100, 200),
                  (1000, "1000 iterations")),
    "lineage": Work(recipe_runs("lineage"), "lineage of the last policy", "iterations of 12 steps",
                    (25, 50, 100, 200), (1000, "1000 iterations")),
    "people": Work(judging, "the annotation book", "people who judge 20 pairs each", (5, 10, 20, 40),
                   (100, "100 annotators")),
}  # fmt: skip
