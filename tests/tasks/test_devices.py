"""On a machine with an accelerator every forward pass of every step that draws, scores or judges runs there.

The accelerator is simulated (tests/models/elsewhere.py): a tensor that lies on the wrong side fails as it would there.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoint import load_policy, reward_from_policy, save_checkpoint, scalar_head
from models.config import LoraConfig, SamplingConfig
from models.tokenizer import load_tokenizer
from tasks.draw_pairs import DrawStepConfig, draw_pairs
from tasks.engine.step import Step
from tasks.evaluate import EvaluateStepConfig, evaluate
from tasks.judge_pairs import judge_pairs
from tasks.judging.registry import JudgePairsConfig
from tasks.judging.shares import SharesConfig
from tasks.live.answer_worker import Policies
from tasks.pair_strategy import PairStrategyConfig
from tasks.rejection_sample import RejectionConfig, rejection_sample
from tasks.synthesize_gatt import GattStepConfig, synthesize_gatt
from tests.models.conftest import stirred
from tests.models.elsewhere import CPU, DEVICE, elsewhere
from tests.tasks.bench import step_run
from tests.tasks.little_policy import WORDS, little_policy, terse_policy

ROOT = Path(__file__).resolve().parents[2]
LORA = LoraConfig(rank=2, alpha=4)
SAMPLING = SamplingConfig(max_new_tokens=4, batch_size=4, shards=2)
AXES = ("safety", "helpfulness")
Rows = tuple[str, list[dict[str, Any]]]


def prompt(number: int, split: str) -> dict[str, Any]:
    return {
        "prompt_id": f"{split}-{number}", "source": "test", "kind": "ordinary", "axis": AXES[number % 2],
        "split": split,
        "messages": [{"role": "user", "content": " ".join(WORDS.split()[number : number + 3])}],
    }  # fmt: skip


def preference(number: int) -> dict[str, Any]:
    asked = prompt(number, "heldout")
    return {
        **{name: asked[name] for name in ("prompt_id", "source", "axis", "messages")},
        "preference_id": f"p{number}", "iteration": "V1", "split": "heldout", "response_a": "the llama",
        "response_b": "green grass", "policy_version_a": None, "policy_version_b": None, "temperature_milli_a": None,
        "temperature_milli_b": None, "chosen": "a", "rating": "better",
        "safety_label": "both_safe" if asked["axis"] == "safety" else None, "annotator": "anna",
    }  # fmt: skip


def pair(number: int) -> dict[str, Any]:
    asked = prompt(number, "train")
    return {
        **{name: asked[name] for name in ("prompt_id", "source", "axis", "messages")},
        "pair_id": f"pair{number}", "iteration": "V1", "response_a": "the llama", "response_b": "green grass",
        "finished_a": True, "finished_b": True, "policy_version_a": "x", "policy_version_b": "y",
        "temperature_milli_a": 700, "temperature_milli_b": 1000,
    }  # fmt: skip


PROMPTS: Rows = ("prompt", [prompt(n, split) for n in range(6) for split in ("train", "heldout")])
PREFERENCES: Rows = ("preference", [preference(n) for n in range(6)])
INSTRUCTIONS: Rows = (
    "instruction",
    [{"instruction_id": "i", "source": "test", "text": "be kind", "short": "kind", "kind": "manner", "split": "train"}],
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Path]]:
    """`whole`: a policy and a reward model; `adapters`: the same as adapters, and the base of both."""
    folder = tmp_path_factory.mktemp("models")
    base = terse_policy(folder)
    tokenizer = load_tokenizer(base)
    torch.manual_seed(1)
    save_checkpoint(stirred(load_policy(base, lora=LORA, trainable=True)), tokenizer, folder / "adapter")
    for name, lora, source in (("reward", None, base), ("reward adapter", LORA, folder / "adapter")):
        model = reward_from_policy(source, base, lora=lora, seed=1)
        with torch.no_grad():
            scalar_head(model).weight.normal_()
        save_checkpoint(model, tokenizer, folder / name)
    judge = shutil.copytree(little_policy(folder / "noise"), folder / "judge")  # what a judge is asked is longer
    config = json.loads((judge / "config.json").read_text())
    (judge / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    return {
        "whole": {"policy": base, "reward": folder / "reward", "judge": judge},
        "adapters": {"policy": folder / "adapter", "reward": folder / "reward adapter", "base": base, "judge": judge},
    }


Inputs = dict[str, Rows | Path]


def rejecting(given: Inputs) -> tuple[Step, Any, Inputs]:
    return rejection_sample, RejectionConfig(prompts=4, samples=2, temperatures=(1.0,), sampling=SAMPLING), given


def drawing(given: Inputs) -> tuple[Step, Any, Inputs]:
    strategy = PairStrategyConfig(draw_factor=2.0)
    config = DrawStepConfig(ordinary_prompts=2, safety_prompts=2, sampling=SAMPLING, strategy=strategy)
    return draw_pairs, config, {**given, "previous": given["policy"]}


def evaluating(given: Inputs) -> tuple[Step, Any, Inputs]:
    config = EvaluateStepConfig(sampling=SAMPLING)
    return evaluate, config, {**given, "reference": given["policy"]}


def synthesizing(given: Inputs) -> tuple[Step, Any, Inputs]:
    return synthesize_gatt, GattStepConfig(dialogues=2, max_turns=2, dialogue_tokens=128, sampling=SAMPLING), given


def judging(given: Inputs) -> tuple[Step, Any, Inputs]:
    config = JudgePairsConfig(annotator="folder", shares=SharesConfig(lm=1), disagreement="negligibly_better")
    pairs: Rows = ("pair", [pair(n) for n in range(4)])
    return judge_pairs, config, {"judge": given["judge"], "pairs": pairs}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "adapters"])
@pytest.mark.parametrize("made", [rejecting, drawing, evaluating, synthesizing, judging])
def test_no_forward_pass_of_a_step_runs_elsewhere_than_on_the_device_of_the_process(
    models: Mapping[str, Mapping[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[Inputs], tuple[Step, Any, Inputs]],
    way: str,
) -> None:
    folders = models[way]
    given: Inputs = {
        "policy": folders["policy"], "judge": folders["judge"],
        **{f"{axis}_reward": folders["reward"] for axis in AXES},
        "prompts": PROMPTS, "preferences": PREFERENCES, "instructions": INSTRUCTIONS,
        **({"base": folders["base"]} if "base" in folders else {}),
    }  # fmt: skip
    step, config, inputs = made(given)
    asked = {role: output for role, output in step.outputs.items() if role != "judgements" or step is not evaluate}
    run = step_run(tmp_path, inputs=inputs, outputs=asked, part="V2")
    with elsewhere(monkeypatch) as read:
        step.function(run, config)
    assert len(read) >= 4
    assert set(read) == {DEVICE}


def test_a_policy_that_answers_live_and_its_base_lie_there_too(
    models: Mapping[str, Mapping[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, policies = models["adapters"], Policies()
    asked = {"version": "v", "messages": PROMPTS[1][0]["messages"], "prompt_tokens": 99, "max_new_tokens": 3}
    with elsewhere(monkeypatch) as read:
        assert policies.load("v", str(folders["policy"]), str(folders["base"])) == {"loaded": "v"}
        assert "text" in policies.answer({**asked, "temperature_milli": 1000, "seed": 1})
    assert set(read) == {DEVICE}


def test_the_simulated_device_refuses_operands_from_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch):
        here, there = torch.ones(2), torch.ones(2).to(DEVICE)
        assert (here.device, there.device, (there + 1).device, there.cpu().device) == (CPU, DEVICE, DEVICE, CPU)
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        assert torch.zeros(3, device=DEVICE)[0].device == DEVICE
        layer = torch.nn.Linear(2, 2)
        with pytest.raises(RuntimeError, match="same device"):
            layer(there)
        assert layer.to(DEVICE)(there).device == DEVICE


def test_one_module_alone_decides_on_devices_and_threads() -> None:
    """Random numbers of a checkpoint are those of all devices that there are (models/training/state.py)."""
    named = re.compile(r"set_num_threads|torch\.cuda|\.cuda\(|\"cuda|torch\.autocast\(\w+\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for layer in ("models", "tasks", "flows")
        for path in (ROOT / layer).rglob("*.py")
        if named.search(path.read_text())
    }
    assert found == {"models/devices.py", "models/training/state.py"}
    assert not [path for path in (ROOT / "tasks").rglob("*.py") if re.search(r"\.to\(", path.read_text())]
