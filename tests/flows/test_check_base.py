"""`halter run` with a base model that cannot be right: exit code 2, one message, and nothing else was done."""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from models.tokenizer import load_tokenizer
from tests.flows.recipe_runs import Home
from tests.flows.test_cli import files_config
from tests.models.conftest import CORPUS
from tests.models.families import write
from tests.models.llama3_files import write_llama3_tokenizer


def brought(folder: Path) -> Path:
    folder.mkdir()
    return write("Llama 3.x", load_tokenizer(write_llama3_tokenizer(CORPUS, folder)), folder)


def config_with(folder: Path, **changes: object) -> Path:
    path = files_config(folder)
    content = yaml.safe_load(path.read_text())
    del content["data"]["documents"]
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


@pytest.mark.slow
@pytest.mark.conformance("a base model that cannot be right", equation="tasks.check_base:check_base")
def test_a_base_that_cannot_be_right_ends_the_command_before_anything_else_is_done(tmp_path: Path, server: str) -> None:
    home = Home(tmp_path / "home", server, "files")
    base = brought(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    save_file({f"pretrained_model.{k}": v for k, v in weights.items()}, base / "model.safetensors", {"format": "pt"})
    finished = home.halter("run", config_with(tmp_path, base_model="base"))
    assert finished.code == 2
    (line,) = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: check_base of base: base_model {base}: weights of a LlamaForCausalLM are not there")
    assert "their names begin with 'pretrained_model.': save the model itself" in line
    assert "Traceback" not in finished.err
    assert home.runs() == [("base", "check_base", "failed")]
    assert home.processes() == []
    # nor does a single step begin before the base was looked at, whether that was never right or is not any more
    once_more = home.halter("rerun", "V0", "sft")
    assert (once_more.code, home.runs()) == (2, [("base", "check_base", "failed")] * 2)
    assert line in once_more.err.splitlines()
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert home.halter("rerun", "base", "check-base").code == 0
    save_file({**weights, "lm_head.weight": weights["lm_head.weight"] * float("nan")}, base / "model.safetensors")
    swapped = home.halter("rerun", "V0", "sft")
    assert swapped.code == 2
    assert f"error: check_base of base: base_model {base}: model.safetensors" in swapped.err
    ends = [("base", "check_base", state) for state in ("failed", "failed", "succeeded", "failed")]
    assert home.runs() == ends


@pytest.mark.slow
def test_a_judge_that_is_another_one_now_is_looked_at_before_it_judges(tmp_path: Path, server: str) -> None:
    home = Home(tmp_path / "home", server, "files")
    judge = brought(tmp_path / "judge")
    weights = load_file(judge / "model.safetensors")
    spoilt = {**weights, "lm_head.weight": weights["lm_head.weight"] * float("nan")}
    save_file(spoilt, judge / "model.safetensors", {"format": "pt"})
    brought(tmp_path / "base")
    path = config_with(
        tmp_path, base_model="base", collect={"judge": {"folder": "judge"}, "sampling": {"max_new_tokens": 8}}
    )
    message = f"error: check_base of base: collect.judge.folder {judge}: model.safetensors"
    assert message in home.halter("run", path).err
    save_file(weights, judge / "model.safetensors", {"format": "pt"})
    assert home.halter("rerun", "base", "check-base").code == 0
    save_file(spoilt, judge / "model.safetensors", {"format": "pt"})
    swapped = home.halter("rerun", "V1", "judge_pairs")
    assert swapped.code == 2
    assert message in swapped.err
    assert home.runs() == [("base", "check_base", state) for state in ("failed", "succeeded", "failed")]
