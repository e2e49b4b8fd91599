"""The sources of a mix: which documents are whose, what is refused before a training, and what is measured after it."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_store.errors import InputError
from data_store.estimate import Estimate
from models.config import ArchitectureConfig, PretrainConfig, TokenizerConfig
from models.mix_config import MixConfig
from models.tokenizer import train_tokenizer
from tasks.answers import open_renderer
from tasks.pretrain import MixedPretrainStepConfig, pretrain
from tasks.pretrain_sources import loss_per_token, measures, open_sources
from tests.tasks.bench import call_of, step_run

WORDS = ["stone", "river", "candle", "garden", "winter", "letter", "market", "bridge", "copper", "window"]
LITTLE = ArchitectureConfig(hidden_size=32, num_layers=1, num_heads=2, num_kv_heads=2, ffn_size=64, context_length=64)
TRAINING = PretrainConfig(learning_rate=1e-2, batch_size=4, max_steps=5, warmup_steps=0, sequence_length=32)


def text(n: int) -> str:
    return " ".join(WORDS[(n * place + n // 10) % 10] for place in range(1, 20)) + f" {n}"


def rows(file: str, numbers: range) -> list[dict[str, str]]:
    return [{"doc_id": f"{file}{n}", "source": f"{file}:{n}", "text": text(n)} for n in numbers]


DOCUMENTS = [*rows("web-1.jsonl", range(60)), *rows("book.txt", range(100, 140))]

WEB = {"name": "web", "files": ["web*"], "weight": 1}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([row["text"] for row in DOCUMENTS], folder, TokenizerConfig(vocab_size=300), seed=1)
    return folder


def mix_of(**changes: Any) -> MixConfig:
    sources = [
        {"name": "web", "files": ["web-*.jsonl"], "weight": 3, "annealed_weight": 0},
        {"name": "books", "files": ["nothing", "book.txt"], "weight": 1},
    ]
    given = {"sources": sources, "annealed_share": 0.2, "heldout_percent": 20, "heldout_documents": 5}
    return MixConfig.model_validate({**given, **changes})


def opened(folder: Path, tokenizer: Path, mix: MixConfig) -> Any:
    run = step_run(folder, inputs={"corpus": ("document", DOCUMENTS)})
    return open_sources(run, mix, open_renderer(tokenizer), TRAINING)


def test_documents_are_dealt_out_by_file_and_what_is_held_out_is_not_read(tmp_path: Path, tokenizer: Path) -> None:
    sources = opened(tmp_path, tokenizer, mix_of())
    assert list(sources.trained) == list(sources.heldout) == ["web", "books"]
    assert [len(documents) for documents in sources.heldout.values()] == [5, 5]
    held_out = [tuple(ids) for documents in sources.heldout.values() for ids in documents]
    every = {tuple(ids): row["source"][0] for row, ids in zip(DOCUMENTS, _ids(tokenizer), strict=True)}
    read = [
        {tuple(each.tokens.read(n, 0, each.tokens.length(n))) for n in range(len(each.tokens))}
        for each in sources.rows.streams
    ]
    assert [len(each) for each in read] == [55, 35]
    assert read[0] | read[1] == set(every) - set(held_out)
    assert {every[ids] for ids in read[0]} == {"w"}
    counts = sources.rows.schedule.counts()
    assert sum(counts) == len(sources.rows) == 20
    assert [sources.rows.schedule.place(row)[0] for row in range(16, 20)] == [1] * 4, "the annealed part is books alone"
    again = opened(tmp_path / "again", tokenizer, mix_of())
    assert [again.rows[n] for n in range(20)] == [sources.rows[n] for n in range(20)]


@pytest.mark.parametrize(("percent", "most", "web", "books"), [(1, 9, 1, 1), (10, 99, 6, 4), (50, 7, 7, 7)])
def test_of_each_source_the_share_is_held_out_and_at_least_one(
    tmp_path: Path, tokenizer: Path, percent: float, most: int, web: int, books: int
) -> None:
    sources = opened(tmp_path, tokenizer, mix_of(heldout_percent=percent, heldout_documents=most))
    assert [len(documents) for documents in sources.heldout.values()] == [web, books]
    assert [len(each.tokens) for each in sources.rows.streams] == [60 - web, 40 - books]


@pytest.mark.parametrize(("most", "measured"), [(99, 40), (7, 7)])
@pytest.mark.conformance("old text trains what is to be measured on it", equation="tasks.pretrain_sources:open_sources")
def test_nothing_trains_on_a_source_of_weight_0_and_all_of_it_is_held_out(
    tmp_path: Path, tokenizer: Path, most: int, measured: int
) -> None:
    """Its documents are not those that others read, and the rows of the others are what they are without it."""
    old = {"name": "books", "files": ["book.txt"], "weight": 0}
    mix = mix_of(sources=[WEB, old], annealed_share=0, heldout_documents=most)
    sources = opened(tmp_path, tokenizer, mix)
    assert list(sources.trained) == ["web"]
    assert {name: len(documents) for name, documents in sources.heldout.items()} == {
        "web": min(12, most),
        "books": measured,
    }
    assert [len(each.tokens) for each in sources.rows.streams] == [60 - min(12, most)]
    without = step_run(tmp_path / "without", inputs={"corpus": ("document", DOCUMENTS[:60])})
    alone = open_sources(
        without, mix.model_copy(update={"sources": mix.sources[:1]}), open_renderer(tokenizer), TRAINING
    )
    assert [alone.rows[n] for n in range(20)] == [sources.rows[n] for n in range(20)]
    assert list(measures(mix, goes_on=True)) == [
        *(f"{what}/web" for what in ("documents", "tokens", "trained_tokens", "epochs")),
        "heldout_loss_before/web",
        "heldout_loss/web",
        "heldout_loss_before/books",
        "heldout_loss/books",
    ]


def _ids(tokenizer: Path) -> list[list[int]]:
    return list(open_renderer(tokenizer).documents([row["text"] for row in DOCUMENTS]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sources": [{"name": "web", "files": ["web*"], "weight": 1}], "annealed_share": 0},
            "no source holds book.txt",
        ),
        (
            {"sources": [*mix_of().model_dump()["sources"], {"name": "x", "files": ["x"], "weight": 1}]},
            "x has no document to train on: no file of the corpus fits x",
        ),
        (
            {"sources": [*mix_of().model_dump()["sources"], {"name": "x", "files": ["x"], "weight": 0}]},
            "x has no document to measure: no file of the corpus fits x",
        ),
        (
            {"max_epochs": 0.01},
            r"web has 55 documents of 5,703 tokens .* read 0\.\d+ times, and mix.max_epochs is 0.01",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_training(
    tmp_path: Path, tokenizer: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opened(tmp_path, tokenizer, mix_of(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annealed_share": 0}, "go together"),
        ({"sources": [{"name": "a", "files": ["a"], "weight": 1}] * 2, "annealed_share": 0}, "two are called a"),
        ({"sources": [{"name": "a", "files": ["a"], "weight": 1, "annealed_weight": 0}]}, "every annealed_weight is 0"),
        ({"sources": [{"name": "a", "files": ["a"], "weight": 0}], "annealed_share": 0}, "nothing to train on"),
        (
            {"sources": [WEB, {"name": "a", "files": ["a"], "weight": 0, "annealed_weight": 1}]},
            "take annealed_weight out",
        ),
        ({"sources": [{"name": "a b", "files": ["a"], "weight": 1}]}, "pattern"),
    ],
)
def test_a_mix_that_says_nothing_whole_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mix_of(**changes)


def test_a_loss_is_the_mean_over_tokens_with_an_interval_over_documents() -> None:
    """By hand: 12 nats of 6 tokens; without either document 4 / 2 and 8 / 4."""
    assert loss_per_token([(8.0, 4), (4.0, 2)]) == Estimate(2.0, 2, 2.0, 2.0)
    uneven = loss_per_token([(4.0, 4), (6.0, 2)])
    error = math.sqrt(1 / 2 * 2 * (1.0**2))  # jackknife values 3 and 1 around 2
    assert (uneven.value, uneven.n) == (10 / 6, 2)
    assert (uneven.low, uneven.high) == (
        pytest.approx(10 / 6 - 1.959964 * error, abs=1e-5),
        pytest.approx(10 / 6 + 1.959964 * error, abs=1e-5),
    )
    assert loss_per_token([(4.0, 2)]) == Estimate(2.0, 1)


@pytest.mark.slow
def test_every_promised_figure_of_each_source_is_measured(tmp_path: Path, tokenizer: Path) -> None:
    inputs: dict[str, Any] = {"corpus": ("document", DOCUMENTS), "tokenizer": tokenizer}
    run = step_run(tmp_path, inputs=inputs, outputs=pretrain.outputs)
    config = MixedPretrainStepConfig(model=LITTLE, training=TRAINING, mix=mix_of())
    metrics = pretrain.function(run, config)

    given = {"corpus": ("dataset/corpus@base",), "tokenizer": ("tokenizer/tokenizer@base",)}
    call = call_of(pretrain, config, inputs=given)
    assert set(metrics) == set(pretrain.measures(call))
    assert metrics["trained_tokens"] == 20 * 32 == metrics["trained_tokens/web"] + metrics["trained_tokens/books"]
    assert metrics["epochs/web"] == metrics["trained_tokens/web"] / metrics["tokens/web"]
    for name in ("web", "books"):
        loss = metrics[f"heldout_loss/{name}"]
        assert isinstance(loss, Estimate)
        assert loss.n == 5
        assert 0 < loss.low < loss.value < loss.high < 2 * math.log(300)  # type: ignore[operator]
