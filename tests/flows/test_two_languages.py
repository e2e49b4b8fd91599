"""A Llama from nothing on real English and Korean text: shares, losses by source, and one threshold of the filter
changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.recipe_runs import ROOT, Home

TEXTS = ROOT.parent / "shared" / "data" / "pretrain"
STEPS, ROWS, LENGTH = 120, 8, 128
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(not TEXTS.is_dir(), reason="the real sets are absent: there is no folder ../shared/data"),
]
AFTER_THE_FILTER = ["describe_corpus", "pretrain", "train_tokenizer"]


def config_of(folder: Path, name: str, *, english: float, korean: float) -> Path:
    """300 web pages and 348 manuals, by these weights."""
    content: dict[str, Any] = {
        "name": name,
        "seed": 1,
        "iterations": 0,
        "data": {"documents": [str(TEXTS / file) for file in ("c4_demo.jsonl", "gnome_help_ko.jsonl.gz")]},
        "filter": {"languages": ["en", "ko"]},
        "mix": {
            "sources": [
                {"name": "english", "files": ["c4*"], "weight": english},
                {"name": "korean", "files": ["*_ko*"], "weight": korean},
            ],
            "heldout_percent": 5,
            "max_epochs": 10,
        },
        "tokenizer": {"vocab_size": 3000},
        "model": {
            "preset": "little",
            "hidden_size": 96,
            "num_layers": 2,
            "num_heads": 2,
            "num_kv_heads": 2,
            "ffn_size": 256,
        },
        "pretrain": {
            "learning_rate": 4e-3,
            "batch_size": ROWS,
            "max_steps": STEPS,
            "warmup_steps": 10,
            "sequence_length": LENGTH,
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def metrics_of(home: Home) -> dict[str, float]:
    return {name: value for run in reversed(home.store.runs()) for name, value in run.metrics.items()}


def redone(home: Home, before: int) -> list[str]:
    return sorted(step for _, step, _ in home.runs()[before:])


def test_both_languages_are_learned_by_their_shares_and_a_threshold_redoes_what_it_reaches(
    tmp_path: Path, server: str
) -> None:
    even = Home(tmp_path / "home", server, name="even")
    given = config_of(tmp_path, "even", english=1, korean=1)
    assert (run := even.halter("run", given)).code == 0, run.err
    found = metrics_of(even)
    tokens = STEPS * ROWS * LENGTH
    assert found["kept"] >= 640
    for source in ("english", "korean"):
        assert found[f"trained_tokens/{source}"] == tokens / 2
        assert found[f"documents/{source}"] > 250

    most = replace(even, name="most")
    assert (run := most.halter("run", config_of(tmp_path, "most", english=19, korean=1))).code == 0, run.err
    english = metrics_of(most)
    assert english["trained_tokens/korean"] == pytest.approx(tokens / 20, rel=0.01)
    assert english["tokens/korean"] == found["tokens/korean"], "tokenizer and documents are the same: losses compare"
    assert english["heldout_loss/korean"] > found["heldout_loss/korean"] + 0.5
    assert english["heldout_loss/english"] < found["heldout_loss/english"]

    before = len(even.runs())
    changed = ("rerun", "base", "filter_corpus", "--run", "even", "--downstream", "--set")
    assert (run := even.halter(*changed, "filter.max_blocked_per_100_words=3")).code == 0, run.err
    assert redone(even, before) == ["filter_corpus"], "the same documents stay: what is made of them stands"
    before = len(even.runs())
    assert (run := even.halter(*changed, "filter.min_words=60")).code == 0, run.err
    assert redone(even, before) == sorted(["filter_corpus", *AFTER_THE_FILTER]), "the files are not read again"
    assert metrics_of(even)["dropped/too_short"] > 20
    assert set(even.states("--run", "even").values()) == {"fresh"}
