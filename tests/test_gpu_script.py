"""benchmarks/gpu.py, whose smallest size any machine can go through."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_all_parts_of_the_gpu_script_work_at_the_smallest_size(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--size", "smallest", "--out", str(told)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    found = {entry["part"]: entry for entry in json.loads(told.read_text())}
    assert list(found) == ["pretrain", "sample", "ppo", "memory"]
    assert found["pretrain"]["tokens_per_second"] > 0
    assert found["sample"]["tokens_per_second"] > 0
    assert found["ppo"]["samples_per_second"] > 0
    assert all(found[part]["times_generate"] > 0 for part in ("sample", "ppo"))
    # five roles on one base hold little more than one: of a model this small the libraries are nearly all of it
    assert 0.9 < found["memory"]["times_policy_alone"] < 1.3
