"""The step that looks at models which somebody brings, and the trainings that heed what it found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from models.config import LoraConfig, SFTConfig
from models.tokenizer import load_tokenizer
from tasks.check_base import CheckBaseConfig, check_base
from tasks.engine.step import Output, StepRun
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.sft import SFTStepConfig, sft
from tests.models.conftest import CORPUS
from tests.models.families import write
from tests.models.llama3_files import write_llama3_tokenizer
from tests.tasks.bench import step_run, written

ALONE = {"check": "packing", "found": "packed sequences are read into each other", "consequence": "one_dialogue_a_row"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of little models, by family."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = load_tokenizer(write_llama3_tokenizer(CORPUS, folder))

    def of(family: str) -> Path:
        path = folder / family
        return path if path.exists() else write(family, tokenizer, path)

    return of


def looked(folder: Path, lora: LoraConfig | None = None, **inputs: Path) -> tuple[StepRun, dict[str, float]]:
    folder.mkdir(exist_ok=True)
    outputs = {role: check_base.outputs[role] for role in inputs}
    run = step_run(folder, inputs=inputs, outputs=outputs, part="base")
    return run, dict(check_base.function(run, CheckBaseConfig(lora=lora)))


def test_what_was_found_is_written_for_each_model_and_shown_with_what_was_measured(
    tmp_path: Path, folders: Callable[[str], Path]
) -> None:
    lora = LoraConfig(target_modules=("q_proj",))
    _, metrics = looked(tmp_path, lora, base=folders("Llama 3.x"), judge=folders("Granite"))
    base, judge = written(tmp_path, "base"), written(tmp_path, "judge")
    assert {"files", "weights", "packing", "cache", "lora.target_modules"} <= {row["check"] for row in base}
    assert {"letters", "padding"} <= {row["check"] for row in judge}
    assert {row["consequence"] for row in (*base, *judge)} == {"none"}
    table = json.loads((tmp_path / "tables" / "models.json").read_text())
    assert [(row["model"], row["check"]) for row in table] == [
        (role, row["check"]) for role, rows in (("base", base), ("judge", judge)) for row in rows
    ]
    assert metrics["checks"] == len(table)
    assert metrics["difference"] == max(row["difference"] or 0.0 for row in table) < 1e-4


def test_the_same_model_is_found_the_same_again(tmp_path: Path, folders: Callable[[str], Path]) -> None:
    for number in ("1", "2"):
        looked(tmp_path / number, base=folders("Qwen3"))
    assert written(tmp_path / "1", "base") == written(tmp_path / "2", "base")


@pytest.mark.parametrize(("role", "key"), [("base", "base_model"), ("judge", "collect.judge.folder")])
def test_a_refusal_names_key_folder_file_reason_and_remedy(
    tmp_path: Path, folders: Callable[[str], Path], role: str, key: str
) -> None:
    folder = tmp_path / "brought"
    folder.mkdir()
    for path in folders("Llama 3.x").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError) as caught:
        looked(tmp_path / "run", **{role: folder})
    assert str(caught.value).startswith(f"{key} {folder}: model.safetensors: it is cut short")
    assert "copy it again" in str(caught.value)
    assert str(caught.value).count(str(folder)) == 1


def test_a_family_that_packs_not_is_found_out_and_has_a_row_for_each_dialogue(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, metrics = looked(tmp_path, base=folders("Qwen3.5"))
    rows = written(tmp_path, "base")
    assert [row["check"] for row in rows if row["consequence"] != "none"] == ["packing"]
    assert metrics["difference"] < 1e-3, "the leak is no rounding"


def dialogue(number: int) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"Who keeps lamp {number}?"}, {"role": "assistant", "content": "I do."}]
    return {"dialogue_id": f"d{number}", "source": "x.jsonl:1", "kind": "x", "messages": turns}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["sft", "fine_tune"])
@pytest.mark.parametrize("alone", [False, True], ids=["packed", "a row each"])
def test_trainings_heed_what_was_found(
    tmp_path: Path, folders: Callable[[str], Path], step: str, alone: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve dialogues of some 25 tokens: in rows of 256 they are two rows, so one step of two; else they are six."""
    base = folders("Llama 3.x")
    findings = [ALONE] if alone else [{**ALONE, "consequence": "none"}]
    rows = [dialogue(number) for number in range(12)]
    training = SFTConfig(learning_rate=1e-3, batch_size=2, epochs=1, sequence_length=256)
    inputs: dict[str, Any] = {"findings": ("finding", findings)}
    if step == "sft":
        inputs |= {"base": base, "demonstrations": ("dialogue", rows)}
        run = step_run(tmp_path, inputs=inputs, outputs={"policy": Output("model")})
        metrics = sft.function(run, SFTStepConfig(training=training))
    else:
        inputs |= {"policy": base, "picks": ("dialogue", rows)}
        run = step_run(tmp_path, inputs=inputs, outputs={"policy": Output("model")})
        metrics = fine_tune.function(run, FineTuneStepConfig(training=training, replay=0))
    assert metrics["dialogues"] == 12
    assert metrics["steps"] == (6 if alone else 1)
    assert ("each dialogue has a row of its own" in capsys.readouterr().out) == alone
