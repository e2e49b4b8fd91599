"""A little Llama made by the recipe goes on with Korean: by the command, as a person would do it."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from data_store.figures import figure
from models.tokenizer import load_tokenizer, tokenizer_identity
from tests.flows.recipe_runs import POCKET, Home

PLACES = ("서울", "부산", "대구", "광주", "제주", "강릉", "전주", "수원")
THINGS = ("사과", "바다", "기차", "시장", "도서관", "할머니", "고양이", "학교", "편지", "저녁")
ENDS = ("에서 만났습니다.", "에 대해 이야기했습니다.", "보다 더 크다고 합니다.", "을 다시 보고 싶어 합니다.")
STEPS = 60


def korean(count: int) -> list[str]:
    drawn = random.Random(5)
    return [
        " ".join(
            f"{drawn.choice(PLACES)} 사람들은 {drawn.choice(THINGS)}와 {drawn.choice(THINGS)}{drawn.choice(ENDS)}"
            for _ in range(4)
        )
        for _ in range(count)
    ]


def config_of(folder: Path, base: Path, old: list[str], **changes: object) -> Path:
    for name, texts in (("ko", korean(120)), ("en", old)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    content = {
        "name": "korean",
        "iterations": 0,
        "base_model": str(base),
        "data": {"documents": ["ko.jsonl", "en.jsonl"]},
        "filter": {"languages": ["en", "ko"], "near_duplicate_similarity": 1.0},
        "mix": {
            "sources": [
                {"name": "korean", "files": ["ko.jsonl"], "weight": 1},
                {"name": "old", "files": ["en.jsonl"], "weight": 0},
            ],
            "heldout_percent": 10,
            "heldout_documents": 20,
            "max_epochs": 10,
        },
        "pretrain": {
            "learning_rate": 3e-3,
            "batch_size": 4,
            "max_steps": STEPS,
            "warmup_steps": 2,
            "sequence_length": 128,
        },
    }
    path = folder / "korean.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


def metrics_of(home: Home) -> Mapping[str, float]:
    found = {name: value for run in home.store.runs() for name, value in run.metrics.items()}
    assert {run.state for run in home.store.runs()} == {"succeeded"}
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, server: str) -> tuple[Path, list[str]]:
    """The model that the pocket recipe pretrains, as the guide says to export it, and documents that it has read."""
    folder = tmp_path_factory.mktemp("made")
    made = replace(Home(folder / "home"), server=server)
    content = {**yaml.safe_load(POCKET), "iterations": 0}
    (folder / "pocket.yaml").write_text(yaml.safe_dump(content))
    assert made.halter("run", folder / "pocket.yaml").code == 0
    exported = made.halter("export", "model", "model/base@base", folder / "base", "--run", "pocket")
    assert exported.code == 0, exported.err
    documents = made.store.rows(made.head("dataset/corpus@base")).to_pylist()
    return folder / "base", [row["text"] for row in documents if len(row["text"].split()) > 12][:60]


@pytest.mark.slow
@pytest.mark.conformance("continued pretraining begins with fresh weights", equation="tasks.pretrain:pretrain")
def test_a_llama_of_the_recipe_goes_on_with_korean_and_says_what_it_forgets(
    base: tuple[Path, list[str]], tmp_path: Path, server: str
) -> None:
    given, old_text = base
    config = config_of(tmp_path, given, old_text)
    home = Home(tmp_path / "home", server, name="korean")
    finished = home.halter("run", config, "--json")
    assert finished.code == 0, finished.err
    steps = [step for _, step, _ in home.runs()]
    assert steps[0] == "check_base"
    assert sorted(steps[1:]) == ["describe_corpus", "filter_corpus", "import_data", "pretrain"]

    found = metrics_of(home)
    before, after = (found[f"{what}/korean"] for what in ("heldout_loss_before", "heldout_loss"))
    assert after < before - 1, "the new text is learned"
    assert 0 < found["heldout_loss_before/old"] < found["heldout_loss/old"], "and the old one forgotten, which is told"
    assert found["trained_tokens"] == found["trained_tokens/korean"] == STEPS * 4 * 128
    assert "trained_tokens/old" not in found
    assert 0 < found["mfu"] < 1
    korean_row, old_row = finished.document["trained"]["sources"]
    assert [row["source"] for row in (korean_row, old_row)] == ["korean", "old"]
    assert korean_row["heldout_loss"].split()[0] == figure(after)
    assert (old_row["tokens"], korean_row["trained_tokens"]) == ("–", figure(found["trained_tokens"]))

    trained = home.store.checkout(home.head("model/base@base"))
    tokenizers = [load_tokenizer(folder) for folder in (given, trained)]
    assert len({tokenizer_identity(each) for each in tokenizers}) == 1
    assert (trained / "tokenizer.model").read_bytes() == (given / "tokenizer.model").read_bytes()
    lineage = home.look("lineage", "model/base@base")
    assert lineage.code == 0
    assert f"registered from {given}" in lineage.out, "the base is named, by its folder and by its content"
    again = home.halter("run", config, "--json")
    assert (again.code, len(home.runs())) == (0, 5), "nothing is computed twice"
    report = home.look("report", "--json", "--out", str(tmp_path / "page.html"))
    (row, old) = report.document["sections"]["corpus"]["tables"]["mix"]["rows"]
    assert (row[0]["text"], old[0]["text"]) == ("korean", "old")
    assert row[-2]["value"] == before
    assert old[-1]["value"] == found["heldout_loss/old"]


@pytest.mark.slow
def test_pieces_of_its_own_make_korean_fewer_tokens_and_the_model_learns_it_with_them(
    base: tuple[Path, list[str]], tmp_path: Path, server: str
) -> None:
    given, old_text = base
    config = config_of(tmp_path, given, old_text, extend_tokenizer={"pieces": 80, "sources": ["korean"]})
    home = Home(tmp_path / "home", server, name="korean")
    assert (finished := home.halter("run", config)).code == 0, finished.err
    found = metrics_of(home)
    assert found["vocab_size"] == 400 + 80
    assert found["tokens_per_character/korean"] < found["tokens_per_character_before/korean"] / 2
    assert found["tokens_per_character/old"] == found["tokens_per_character_before/old"]
    assert (found["changed_share/korean"], found["changed_share/old"]) == (1, 0)
    for name, falls in (("korean", True), ("old", False)):
        before, after = (found[f"heldout_loss{when}_per_character/{name}"] for when in ("_before", ""))
        assert (after < before) == falls, "tokens of two tokenizers are not the same, characters are"
    trained = home.store.checkout(home.head("model/base@base"))
    weights = {folder: load_file(folder / "model.safetensors") for folder in (given, trained)}
    rows = [weights[folder]["model.embed_tokens.weight"].shape[0] for folder in (given, trained)]
    assert rows == [400, 480]
    assert len(load_tokenizer(trained)) == 480
    assert (trained / "tokenizer.model").stat().st_size > (given / "tokenizer.model").stat().st_size


def test_korean_of_the_test_is_many_different_documents() -> None:
    assert len(set(korean(120))) == 120
