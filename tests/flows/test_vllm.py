"""The pocket recipe with its pairs, candidates and evaluations drawn by a real vLLM server."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.recipe_runs import POCKET, Home
from tests.models.samplers.wrong_server import answering, says
from tests.vllm import MISSING, PROGRAM, SAMPLER, VLLM

SERVED = ("collect", "rejection", "evaluate")
WIDE = {"hidden_size": 64, "num_kv_heads": 1}  # heads of 32, the smallest that vLLM's attention on a CPU takes


def config_of(folder: Path, vllm: dict[str, Any], **more: Any) -> Path:
    content = yaml.safe_load(POCKET) | {"iterations": 1, "final_stage": "none", "gatt": None, "vllm": vllm, **more}
    content["model"] |= WIDE
    for section in SERVED:
        content[section]["sampling"]["sampler"] = SAMPLER
    path = folder / "pocket.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.vllm
@pytest.mark.skipif(not PROGRAM.exists(), reason=MISSING)
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}], ids=["whole weights", "adapters"])
def test_the_recipe_is_drawn_by_a_server_to_its_end_and_lineage_names_it(
    tmp_path: Path, server: str, lora: dict[str, int] | None
) -> None:
    home = Home(tmp_path, server)
    path = config_of(tmp_path, VLLM.model_dump(mode="json"), lora=lora)
    ran = home.halter("run", path)
    assert ran.code == 0, ran.err
    assert {state for _, _, state in home.runs()} == {"succeeded"}
    made = home.look("lineage", "dataset/candidates@V1")
    assert f"sampling.sampler={SAMPLER}" in made.out, made.out
    before = home.runs()
    again = home.halter("run", path)
    assert again.code == 0, again.err
    assert home.runs() == before
    assert home.processes() == []


@pytest.mark.slow
def test_a_server_that_is_not_there_or_is_another_version_ends_the_run_before_anything_is_computed(
    tmp_path: Path, server: str
) -> None:
    home = Home(tmp_path, server)
    missing = home.halter("run", config_of(tmp_path, {"command": ["/nowhere/vllm", "serve"]}))
    assert missing.code == 2
    assert "vllm.command: there is no program /nowhere/vllm to start" in missing.err
    with answering({"/version": says(b'{"version": "0.31.0"}')}) as (url, _):
        other = home.halter("run", config_of(tmp_path, {"url": url}, lora={"rank": 4, "alpha": 8}))
    assert other.code == 2
    assert "the server is vLLM 0.31.0" in other.err
    assert home.runs() == []
