"""Cards of exported models and rows, read by the hub's own tools."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard

from data_store.catalog.origins import FileOrigin
from data_store.content.publishing import describe_source
from data_store.estimate import Estimate
from data_store.incoming.sources import register
from data_store.names import AssetName
from data_store.reading.preference_formats.datasets import SCHEMA
from data_store.reading.preference_readers import read_preferences
from data_store.records import Metric, Publication, RunInput, RunOutput, RunRecord
from data_store.store import Store
from flows.session import remember, store_root
from tests.data_store.store_bench import Bench
from tests.data_store.upkeep.test_withdrawals import judgement
from tests.flows.commands.test_export_model import answer, halter
from tests.flows.test_identity import named
from tests.tasks.little_policy import little_policy

HOSTILE = "<img src=x>"


def committed(
    store: Store, step: str, made: dict[str, Publication], reads: Iterable[str] = (), metrics: Iterable[Metric] = ()
) -> None:
    heads, inputs = store.heads(), []
    for number, name in enumerate(reads):
        head = heads[AssetName.parse(name)]
        role = "policy" if "policy" in name else f"in {number}"
        inputs.append(RunInput(role, head.asset, head.version_id, head.run_id))
    roles = {name: "responses" if "responses" in name else name for name in made}
    outputs = {roles[name]: RunOutput(AssetName.parse(name), each) for name, each in made.items()}
    record = RunRecord(step, "V1", f"of {step}", "1", {"config": {"annotator": None, "heldout_percent": 12}}, 3)
    store.commit_run(record, inputs, outputs, list(metrics))


def dropped(role: str, reason: str, count: int) -> list[dict[str, Any]]:
    return [{"doc_id": f"{role}/{n}-{reason}", "source": "a:1", "reason": reason, "detail": ""} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A run whose pairs came from a file, with what was refused of them, and a policy that was evaluated."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(named("pocket"))
    store = Store.open(store_root("pocket"))
    bench = Bench(store, tmp_path / "work")
    file = tmp_path / "pairs.jsonl"
    file.write_text("{}\n")
    register(store, AssetName("source", "pairs", "external"), describe_source("source", file), FileOrigin(str(file)))
    pairs = [
        {**judgement(n, "anna" if n < 3 else HOSTILE), "split": "heldout" if n == 0 else "train"} for n in range(4)
    ]
    refused = [
        *dropped("safety_preferences", "identical_responses", 2),
        *dropped("helpfulness_preferences", "identical_responses", 1),
        *dropped("demonstrations", "empty_answer", 5),
    ]
    long = dropped("preferences", "too_long", 7)

    def rows(kind: str, content: list[dict[str, Any]]) -> Publication:
        return store.publish("dataset", bench.rows(kind, content), row_kind=kind)

    talk = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes"}]
    dialogue = {"dialogue_id": "1", "source": "talks.jsonl:1", "kind": "ordinary", "messages": talk}
    imported = {
        "dataset/refused@base": rows("dropped", refused),
        "dataset/demonstrations@base": rows("dialogue", [dialogue]),
    }
    committed(store, "import_data", imported, ["source/pairs@external"])
    committed(store, "fit_context", {"dataset/too-long@base": rows("dropped", long)}, ["dataset/refused@base"])
    made = {"dataset/preferences@V1": rows("preference", pairs)}
    committed(store, "collect_preferences", made, ["dataset/too-long@base"])
    policy = store.publish("model", little_policy(tmp_path))
    committed(store, "fine_tune", {"model/policy@V1": policy}, ["dataset/preferences@V1"])
    answers = {"dataset/evaluation-responses@V1": rows("response", [answer(n) for n in range(3)])}
    violation = Metric.of("violation", Estimate(0.25, 40, 0.14, 0.4, "somebody"))
    committed(store, "evaluate", answers, ["model/policy@V1"], [violation, Metric.of("kl_to_sft", 1.5)])
    return store


@pytest.mark.slow
def test_a_model_card_gives_the_hub_its_figures_with_n_interval_and_judge(store: Store, tmp_path: Path) -> None:
    words = ("--license", "apache-2.0", "--language", "en", "--source-license", "pairs.jsonl=mit")
    halter("export", "model", "model/policy@V1", tmp_path / "exported", *words)
    card = ModelCard.load(tmp_path / "exported" / "README.md")
    assert (card.data.license, card.data.language, card.data.tags) == ("apache-2.0", ["en"], ["halter"])
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-generation")
    found = {each.metric_type: each for each in card.data.eval_results}
    violation = found["violation"]
    assert (violation.metric_value, violation.dataset_name) == (0.25, "held-out prompts of V1")
    assert violation.metric_args == {"value": 0.25, "n": 40, "low": 0.14, "high": 0.4, "judge": "somebody"}
    assert found["kl_to_sft"].metric_args is None
    assert "| `pairs.jsonl` | `mit` |" in card.text
    assert "| dataset/preferences@V1 | 4 |" in card.text
    assert "`halter rerun V1 fine-tune --run pocket`" in card.text
    assert "with seed 3" in card.text
    assert str(tmp_path) not in card.content, "no path of this machine"


@pytest.mark.slow
def test_a_data_card_says_how_much_whose_under_which_licence_and_what_was_left_out_and_why(
    store: Store, tmp_path: Path
) -> None:
    words = ("--license", "mit", "--language", "en", "--language", "ko", "--source-license", "pairs.jsonl=mit")
    told = json.loads(
        halter("export", "dataset", "dataset/preferences@V1", tmp_path / "pairs", *words, "--json").stdout
    )
    assert told["rows"] == {"heldout": 1, "train": 3}
    card = DatasetCard.load(tmp_path / "pairs" / "README.md")
    assert (card.data.license, card.data.language, card.data.size_categories) == ("mit", ["en", "ko"], ["n<1K"])
    assert {each["split"]: each["path"] for each in card.data.configs[0]["data_files"]} == {
        "heldout": "heldout.jsonl",
        "train": "train.jsonl",
    }
    for line in (
        "| train | 3 |",
        "By rating: `better` 4 (100%).",
        "Judged: 1 by `<img src=x>`, 3 by `anna`.",
        "| `pairs.jsonl` | `mit` |",
        "| import_data of V1 | `identical_responses` | 3 |",
        "| fit_context of V1 | `too_long` | 7 |",
        '"heldout_percent": 12',
    ):
        assert line in card.text, line
    assert "empty_answer" not in card.text, "of demonstrations"
    assert str(tmp_path) not in card.content
    rows = read_preferences([tmp_path / "pairs" / "train.jsonl"]).rows.to_pylist()
    assert sorted(row["annotator"] for row in rows) == [HOSTILE, "anna", "anna"]


@pytest.mark.slow
def test_datasets_opens_the_folder_by_its_card(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Features, load_dataset

    halter("export", "dataset", "dataset/preferences@V1", tmp_path / "pairs")
    found = load_dataset(str(tmp_path / "pairs"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"heldout": 1, "train": 3}
    assert found["train"][0]["chosen"] == [{"role": "assistant", "content": "yes"}]
    card = DatasetCard.load(tmp_path / "pairs" / "README.md").data.to_dict()
    (told,) = card["dataset_info"]
    assert Features._from_yaml_list(told["features"]) == Features.from_arrow_schema(SCHEMA)


@pytest.mark.slow
@pytest.mark.conformance(
    "an export whose column begins with nulls does not open", equation="flows.shown.data_card:data_card"
)
def test_a_column_may_be_null_for_longer_than_datasets_looks(store: Store, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "pairs"
    halter("export", "dataset", "dataset/preferences@V1", folder)
    (first, *_) = (json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines())
    rows = [{**first, "rating": None if number < 20 else "better"} for number in range(30)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # 2,000 bytes at a time in the place of its 10 MB
    found = load_dataset(str(folder), chunksize=2000, split="train", cache_dir=str(tmp_path / "cache"))
    assert found["rating"] == [None] * 20 + ["better"] * 10


@pytest.mark.slow
def test_demonstrations_have_a_card_too_and_what_is_neither_is_refused(store: Store, tmp_path: Path) -> None:
    halter("export", "dataset", "dataset/demonstrations@base", tmp_path / "talks")
    card = DatasetCard.load(tmp_path / "talks" / "README.md")
    assert card.data.license == "unknown"
    assert "| import_data of V1 | `empty_answer` | 5 |" in card.text
    assert "identical_responses" not in card.text
    (row,) = (tmp_path / "talks" / "train.jsonl").read_text().splitlines()
    assert json.loads(row)["messages"][-1] == {"role": "assistant", "content": "yes"}
    for words, message in (
        (("dataset/refused@base",), "holds neither preferences nor demonstrations"),
        (("dataset/nothing@V1",), "there is no dataset/nothing@V1; there are: "),
        (("dataset/preferences@V1", "--source-license", "pairs.jsonl"), "write NAME=LICENSE"),
        (
            ("dataset/preferences@V1", "--source-license", "other=mit"),
            "there is no such source; there are: pairs.jsonl",
        ),
    ):
        refused = halter("export", "dataset", words[0], tmp_path / "x", *words[1:], code=2)
        assert message in " ".join(refused.stderr.split())
        assert not (tmp_path / "x").exists()
