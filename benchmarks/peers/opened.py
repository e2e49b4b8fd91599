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
