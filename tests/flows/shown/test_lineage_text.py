"""What people read of a lineage: what differs from the defaults, on about one screen."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import RunInput, RunOutput, RunRecord
from data_store.store import Store
from flows.recipe.defaults import differing
from flows.shown.lineage_text import lineage_lines
from flows.shown.lineage_view import lineage_document
from tasks.import_data import ImportStepConfig
from tests.data_store.store_bench import Bench


class Sampling(BaseModel):
    tokens: int = 64
    batch: int = 8


class Training(BaseModel):
    rate: float
    epochs: int = 2
    names: tuple[str, ...] = ("a", "b")
    sampling: Sampling = Sampling(tokens=16)
    adapter: Sampling | None = None


class StepConfig(BaseModel):
    training: Training
    folders: list[str] = Field(default_factory=list)


PLAIN = {"rate": 0.5, "epochs": 2, "names": ["a", "b"], "sampling": {"tokens": 16, "batch": 8}, "adapter": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"epochs": 3}, {"training.epochs": 3}),
        ({"names": ["a"]}, {"training.names": ["a"]}),
        ({"sampling": {"tokens": 64, "batch": 8}}, {"training.sampling.tokens": 64}),  # the section's own default is 16
        ({"adapter": {"tokens": 64, "batch": 8}}, {"training.adapter": {}}),  # there, and as its model has it
        ({"adapter": {"tokens": 64, "batch": 4}}, {"training.adapter.batch": 4}),
        ({"of_later": 1}, {"training.of_later": 1}),
    ],
)
def test_what_differs_is_named_whole_and_what_has_no_default_always(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = {"training": {**PLAIN, **changes}, "folders": []}
    assert differing(StepConfig, values) == {"training.rate": 0.5, **expected}


def test_of_a_step_that_is_not_known_all_is_shown() -> None:
    assert differing(None, {"training": PLAIN}) == {"training": PLAIN}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A corpus, a tokenizer made from it, and a base model made from both, by two texts of one file."""
    bench = Bench(Store.open(tmp_path / "store"), tmp_path / "work")
    (tmp_path / "corpus.txt").write_text("llama")
    head = register_file(bench.store, tmp_path / "corpus.txt")
    known = RunInput("documents", head.asset, head.version_id, None)
    for step, name, code, config in (
        ("import_data", "dataset/raw@base", "1" * 64, {"text_field": "body", "heldout_percent": 10}),
        ("train_tokenizer", "tokenizer/tokenizer@base", "1" * 64, {"vocab_size": 400, "character_coverage": 0.9995}),
        ("pretrain", "model/base@base", "2" * 64, {"training": {"max_steps": 12}}),
    ):
        files = {"tasks/engine/step.py": code, f"tasks/{step}.py": "3" * 64, "models/config.py": "4" * 64}
        env = {"python": "3.11.7"}
        record = RunRecord(step, "base", step, "5" * 64, {"config": config}, 7, code_files=files, env=env)
        bench.store.commit_run(record, [known], {"out": RunOutput(AssetName.parse(name), bench.publish(step))})
        made = bench.store.heads()[AssetName.parse(name)]
        known = RunInput("in", made.asset, made.version_id, record.run_id)
    return bench.store


def text(store: Store, **options: Any) -> str:
    return "\n".join(lineage_lines(lineage_document(store, AssetName.parse("model/base@base")), **options))


@pytest.mark.slow
def test_the_last_runs_are_whole_and_those_before_are_named_with_what_all_began_with(store: Store) -> None:
    found = text(store)
    assert "source/corpus.txt@external" in found
    assert "set vocab_size=400\n" in found, "its coverage is the default"
    assert "set training.max_steps=12" in found
    before = "Before these, 1 run (--depth 0 shows all)\n  base import_data\n  base import_data set text_field=body"
    assert before in found
    assert ImportStepConfig().heldout_percent == 10
    assert "heldout_percent" not in found


def test_depth_says_how_far_back(store: Store) -> None:
    assert "train_tokenizer →" not in text(store, depth=1)
    assert "import_data →" in text(store, depth=3)
    assert text(store, depth=0) == text(store, depth=3)
    assert "Before these" not in text(store, depth=0)


@pytest.mark.slow
def test_code_is_a_line_for_each_layer_and_says_where_runs_had_other_versions(store: Store) -> None:
    found = text(store)
    assert "  1 file\n" in found.partition("  models ")[2]
    assert "  4 files, 1 of them not the same in all runs" in found.partition("  tasks ")[2]
    assert "tasks/engine/step.py" not in found.partition("\nCode\n")[2]
    whole = text(store, code=True)
    assert f"      {'1' * 64}  tasks/engine/step.py\n      {'2' * 64}  tasks/engine/step.py\n" in whole


def test_the_document_holds_all_of_it(store: Store) -> None:
    runs = lineage_document(store, AssetName.parse("model/base@base"))["runs"]
    assert [(run["step"], run["depth"]) for run in runs] == [
        ("pretrain", 1),
        ("train_tokenizer", 2),
        ("import_data", 3),
    ]
    assert runs[1]["config"]["config"] == {"vocab_size": 400, "character_coverage": 0.9995}
    assert runs[1]["set"] == {"vocab_size": 400}


@pytest.mark.slow
def test_a_source_says_in_facts_where_it_came_from(store: Store, tmp_path: Path) -> None:
    (source,) = lineage_document(store, AssetName.parse("model/base@base"))["sources"]
    path = str(tmp_path / "corpus.txt")
    assert source["origin"] == f"registered from {path}"
    assert source["facts"] == {"kind": "file", "path": path, "location": path}
