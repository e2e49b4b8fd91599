"""What a policy wrote can be longer as text again than what was drawn: fine_tune leaves it out and counts it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.config import ArchitectureConfig, SFTConfig, TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import resolve_architecture
from models.tokenizer import train_tokenizer
from tasks.engine.step import Output
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tests.tasks.bench import step_run

TINY = ArchitectureConfig(
    hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=2, ffn_size=32, context_length=128, tie_embeddings=True
)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Renderer]:
    """A policy with fresh weights, and its renderer."""
    folder = tmp_path_factory.mktemp("policy")
    words = [f"question number {i} and answer number {i * i}" for i in range(200)]
    tokenizer = train_tokenizer(words, folder, TokenizerConfig(vocab_size=300, character_coverage=1.0), seed=0)
    shape = resolve_architecture(TINY, len(tokenizer))
    model = build_llama(shape, 0, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    model.save_pretrained(folder)
    return folder, Renderer(tokenizer)


def pick(number: int, answer: str) -> dict[str, Any]:
    """One best response."""
    messages = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": answer}]
    return {"dialogue_id": f"p{number}", "source": "rejection_sample@V1", "kind": "safety", "messages": messages}


def config(length: int) -> FineTuneStepConfig:
    """One pass over rows of `length` tokens."""
    return FineTuneStepConfig(training=SFTConfig(batch_size=1, sequence_length=length, epochs=1))


def test_picks_that_outgrew_their_row_are_left_out_and_counted(policy: tuple[Path, Renderer], tmp_path: Path) -> None:
    folder, renderer = policy
    rows = [pick(1, "answer 1"), pick(2, "answer \ufffd\ufffd\ufffd\ufffd")]  # each mark is three bytes, three tokens
    lengths = [len(renderer.dialogue(row["messages"]).input_ids) for row in rows]
    assert lengths[1] > lengths[0]
    run = step_run(
        tmp_path, inputs={"policy": folder, "picks": ("dialogue", rows)}, outputs={"policy": Output("model")}
    )
    metrics = fine_tune.function(run, config(lengths[0]))
    assert (metrics["picks"], metrics["too_long"], metrics["dialogues"]) == (2.0, 1.0, 1.0)
    assert metrics["read_from_text"] == 2
    assert (tmp_path / "out" / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize("warmup", [0.03, 0.0])
def test_one_step_that_is_all_warm_up_learns_nothing_and_says_so(
    policy: tuple[Path, Renderer], tmp_path: Path, warmup: float
) -> None:
    folder, _ = policy
    run = step_run(
        tmp_path,
        inputs={"policy": folder, "picks": ("dialogue", [pick(1, "answer 1")])},
        outputs={"policy": Output("model")},
    )
    training = SFTConfig(batch_size=1, sequence_length=64, epochs=1, warmup_ratio=warmup)
    assert fine_tune.function(run, FineTuneStepConfig(training=training))["steps"] == 1
    before, after = (load_file(each / "model.safetensors") for each in (folder, tmp_path / "out" / "policy"))
    is_unlearned = all(torch.equal(before[name], after[name]) for name in before)
    noted = tmp_path / "notes.jsonl"
    assert is_unlearned is bool(warmup)
    assert noted.exists() is is_unlearned
    assert not is_unlearned or "nothing was learned" in noted.read_text()


def test_where_no_pick_fits_the_step_says_what_to_raise(policy: tuple[Path, Renderer], tmp_path: Path) -> None:
    folder, _ = policy
    run = step_run(
        tmp_path,
        inputs={"policy": folder, "picks": ("dialogue", [pick(1, "answer 1")])},
        outputs={"policy": Output("model")},
    )
    with pytest.raises(ValueError, match=r"longer than fine_tune\.training\.sequence_length, 8: raise it"):
        fine_tune.function(run, config(8))
