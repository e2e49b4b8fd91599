"""A training whose model is spread over two processes: what it learns, what it writes, what it holds, and its end when
it is killed. The processes are real ones that talk through gloo; the launcher lets the main one alone write files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import distributed, nn
from transformers import TrainingArguments

from models.checkpoint import load_policy
from models.config import DPOConfig, LoraConfig, PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import resolve_architecture
from models.training import sft
from models.training.hf import training_arguments
from models.training.packing import PackedCollator, pack
from models.training.pretrain import PretrainTrainer
from models.training.processes import data_parallel
from models.training.reporting import Quiet, Reporter
from models.training.sft import fine_tune
from models.training.sharding import as_the_main_one_decides, own, shard
from tests.models.training.little_runs import LITTLE, contents, dialogues
from tests.models.training.test_two_processes import CHANGES, Launch, completed, curves, same

SPREAD = {"processes": 2, "sharded": True}
TRAINERS = ("pretrain", "sft", "reward", "dpo")


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.conformance("a spread training differs", equation="models.training.sharding:shard")
def test_a_model_that_is_spread_over_two_processes_learns_and_writes_what_one_process_does(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    """Losses, gradient norms and weights agree to a millionth, checkpoints on the way too, and the files are the same
    ones. Of SFT the base is frozen and the adapters are spread."""
    one = completed(launch, trainer, tmp_path / "one")
    for passes in (1, 2):
        folder = completed(launch, trainer, tmp_path / f"spread {passes}", accumulation_steps=passes, **SPREAD)
        same(one, folder)
        assert contents(folder / "out").keys() == contents(one / "out").keys()
        for name in ("config.json", "adapter_config.json"):
            if (one / "out" / name).exists():
                assert (folder / "out" / name).read_text() == (one / "out" / name).read_text()


@pytest.mark.slow
@pytest.mark.conformance("a spread training differs", equation="models.training.sharding:save_spread")
def test_dpo_of_all_weights_keeps_the_policy_that_one_process_keeps(launch: Launch, tmp_path: Path) -> None:
    """It is put together and written at a look, while the training goes on."""
    one, folder = (completed(launch, "dpo", tmp_path / f"{len(more)}", adapted=False, **more) for more in ({}, SPREAD))
    same(one, folder)
    assert contents(folder / "out").keys() == contents(one / "out").keys()
    assert (folder / "out" / "config.json").read_text() == (one / "out" / "config.json").read_text()
    assert json.loads((folder / "metrics.json").read_text())["best_step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.conformance("resume quietly does nothing, or skips data", equation="models.training.sharding:spread_like")
def test_a_spread_training_that_was_killed_ends_with_the_bytes_of_one_that_was_not(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    straight = completed(launch, trainer, tmp_path / "straight", checkpoint_seconds=1e9, **SPREAD)
    broken = tmp_path / "broken"
    changes: dict[str, Any] = {"batch_size": 4, "learning_rate": 1e-3, **CHANGES[trainer], **SPREAD}
    for number in (2, 3):  # within an epoch, and at its end
        assert launch(trainer, broken, die_before=f"checkpoint-{number}", **changes) == 1
        assert "training process 1 of 2 ended with code -9" in (broken / "output.txt").read_text()
        assert [path.name for path in (broken / "work").glob("checkpoint-*")] == [f"checkpoint-{number - 1}"]
    completed(launch, trainer, broken, **SPREAD)
    assert contents(broken / "out") == contents(straight / "out")
    assert json.loads((broken / "metrics.json").read_text()) == json.loads((straight / "metrics.json").read_text())
    assert curves(broken) == curves(straight)


@data_parallel
def held(model: nn.Module, rows: Any, config: PretrainConfig, *, work: Path, reporter: Reporter) -> dict[str, float]:
    """Bytes of weights, gradients' room and Adam's moments in each process after a step."""
    arguments = TrainingArguments(**training_arguments(config, work, 1, max_steps=1))
    collator = PackedCollator(0)
    trainer = PretrainTrainer(config=config, model=model, args=arguments, train_dataset=rows, data_collator=collator)
    trainer.train()
    weights = sum(own(parameter).nbytes for parameter in model.parameters())
    moments = sum(own(each).nbytes for of in trainer.optimizer.state.values() for each in of.values() if each.dim())
    found: list[Any] = [None] * config.processes
    distributed.all_gather_object(found, (weights, moments))
    return {f"{rank}/{name}": float(n) for rank, each in enumerate(found) for name, n in enumerate(each)}


@pytest.mark.slow
@pytest.mark.conformance("a spread training that is spread in name only", equation="models.training.sharding:shard")
def test_each_process_holds_half_of_weights_and_moments(tmp_path: Path) -> None:
    shape = resolve_architecture(LITTLE, 300)
    rows = pack([[5, 6, 7, 8] * 4] * 8, [[5, 6, 7, 8] * 4] * 8, 16, 1)
    sizes = {}
    for is_spread in (False, True):
        config = PretrainConfig(
            batch_size=2, max_steps=1, warmup_steps=0, sequence_length=16, processes=2, sharded=is_spread
        )
        model = build_llama(shape, 1, 0, 1, 2)
        sizes[is_spread] = held(model, rows, config, work=tmp_path, reporter=Quiet())
    whole = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert sizes[False] == {"0/0": whole, "0/1": 2 * whole, "1/0": whole, "1/1": 2 * whole}
    assert sizes[True] == {name: size / 2 for name, size in sizes[False].items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "adapters on bfloat16", "the head by tiles"])
def test_tied_embeddings_adapters_on_a_half_base_and_a_head_by_tiles_are_spread_too(
    kind: str, policy_folders: dict[str, Path], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = LoraConfig(rank=4) if kind == "adapters on bfloat16" else None
    if kind == "the head by tiles":
        monkeypatch.setattr(sft, "_FUSE_FROM_LOGITS", 0)
    base, rendered = policy_folders["gqa"], [renderer.dialogue(messages) for messages in dialogues()]
    tied = load_policy(base)
    tied.config.tie_word_embeddings = True
    tied.tie_weights()  # type: ignore[operator]
    tied.save_pretrained(tmp_path / "tied")  # type: ignore[operator]
    losses = {}
    for name, more in (("spread", SPREAD), ("one", {})):
        config = SFTConfig(learning_rate=1e-3, batch_size=4, epochs=1, sequence_length=64, **more)  # type: ignore[arg-type]
        torch.manual_seed(11)
        model = load_policy(
            tmp_path / "tied", lora=lora, trainable=True, dtype="float32" if lora is None else "bfloat16"
        )
        out, work = tmp_path / name / "out", tmp_path / name / "work"
        found = fine_tune(model, rendered, renderer, config, out=out, work=work, seed=3, reporter=Quiet())
        losses[name] = found["loss"]
        AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["spread"] == pytest.approx(losses["one"], abs=1e-5)
    one, spread = (load_file(next((tmp_path / name / "out").glob("*.safetensors"))) for name in ("one", "spread"))
    assert one.keys() == spread.keys()
    assert "lm_head.weight" not in one
    for name, tensor in one.items():
        assert spread[name].dtype == tensor.dtype
        torch.testing.assert_close(spread[name], tensor, atol=1e-6, rtol=0)


@data_parallel
def decided(config: SFTConfig, *, reporter: Reporter) -> dict[str, float]:
    """What the second process hears, which always wants the opposite of the first."""
    rank = PartialState(cpu=True).process_index
    heard = [as_the_main_one_decides(bool(wanted) != bool(rank)) for wanted in (0, 1)]
    found: list[Any] = [None] * config.processes
    distributed.all_gather_object(found, heard)
    return {f"{rank}/{i}": float(each) for rank, some in enumerate(found) for i, each in enumerate(some)}


def test_all_processes_write_a_checkpoint_when_the_main_one_does() -> None:
    """Each has a clock of its own, and each holds a part."""
    config = SFTConfig(batch_size=2, processes=2)
    assert decided(config, reporter=Quiet()) == {"0/0": 0, "0/1": 1, "1/0": 0, "1/1": 1}


def test_a_model_is_spread_over_processes_that_have_met_or_not_at_all() -> None:
    with pytest.raises(RuntimeError, match="1 of 2 training processes have met"):
        shard(nn.Linear(2, 2), processes=2)


@pytest.mark.parametrize("kind", [SFTConfig, PretrainConfig, RewardConfig, DPOConfig, PPOConfig])
def test_what_is_not_spread_has_the_fingerprint_of_before_and_what_is_needs_processes(kind: type[SFTConfig]) -> None:
    assert "sharded" not in kind().model_dump(mode="json")
    assert kind(processes=2, sharded=True).model_dump(mode="json")["sharded"] is True
    assert (kind(processes=2, sharded=True).shards, kind(processes=2).shards) == (2, 1)
    with pytest.raises(ValidationError, match="processes is 1: raise it, or take it out"):
        kind(sharded=True)
