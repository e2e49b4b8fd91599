"""The models that a row lays out, whole or as adapters on one base, opened here and by the libraries that TRL takes."""

from pathlib import Path
from typing import Any

# What all trainers of both sides are told: nothing is written while they take turns, and nothing is learned.
LEARNING_RATE = 1e-9
NO_END = 10**6


def base_of(folder: Path) -> Path | None:
    """None where the models are whole."""
    return folder / "base" if (folder / "base").exists() else None


def trl_arguments(folder: Path, rows: int) -> dict[str, Any]:
    """Of any of its trainers. By default they would compute activations twice, in bfloat16."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": rows,
        "learning_rate": LEARNING_RATE,
        "num_train_epochs": NO_END,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def trl_ppo_arguments(folder: Path, prompts: int, *, mini_batches: int, at_once: int, tokens: int) -> dict[str, Any]:
    """Of its PPO trainer up to 1.9: as many prompts an iteration, which has no end, and so many answers at once."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": prompts,
        "num_mini_batches": mini_batches,
        "num_ppo_epochs": 1,
        "total_episodes": prompts * 10_000,
        "local_rollout_forward_batch_size": at_once,
        "stop_token": "eos",
        "response_length": tokens,
        "temperature": 1.0,
        "learning_rate": LEARNING_RATE,
        "num_sample_generations": 0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }


def with_transformers(kind: type, folder: Path, name: str, **options: Any) -> Any:
    """A model in float32, to be trained, as peft and transformers open it."""
    import torch
    from peft import PeftModel

    base = base_of(folder)
    opened = kind.from_pretrained(base or folder / name, dtype=torch.float32, **options)  # type: ignore[attr-defined]
    return PeftModel.from_pretrained(opened, folder / name, is_trainable=True) if base else opened


def tokenizer_of(folder: Path) -> Any:
    """The policy's."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "policy")
