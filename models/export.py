"""A checkpoint as other tools want it: one whole model, adapters merged into their base."""

import json
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils import logging

from models.checkpoint import is_adapter, load_policy, load_reward, save_checkpoint
from models.devices import CPU
from models.tokenizer import load_tokenizer


def is_reward_model(folder: Path) -> bool:
    """Whether a checkpoint is a reward model, by its config; else it is a policy or a base."""
    if is_adapter(folder):
        return bool(json.loads((folder / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS")
    architectures = json.loads((folder / "config.json").read_text()).get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def held_in(folder: Path) -> str:
    """The precision of a checkpoint's weights; of adapters, their own: in bfloat16 most of what they have learned would
    be rounded away when it is merged."""
    if is_adapter(folder):
        return "float32"
    config = json.loads((folder / "config.json").read_text())
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def write_whole_model(folder: Path, base: Path | None, out: Path, *, dtype: str | None = None) -> str:
    """Write the checkpoint in `folder` to `out` as one model: weights in `dtype` (the checkpoint's if not given, which
    is returned), config, generation config, and the tokenizer's files, `tokenizer.model` where there is one.

    Merged in float32 on the CPU, and rounded once. Raises ValueError for an adapter without a base.
    """
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what a head lacks in the base is as it should be
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    wanted = dtype or held_in(folder)
    reward = is_reward_model(folder)
    model: nn.Module = (load_reward if reward else load_policy)(folder, base, on=CPU)
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    model.to(getattr(torch, wanted))
    cast(PreTrainedConfig, model.config).use_cache = True  # ours is off for training's sake
    save_checkpoint(model, load_tokenizer(folder), out)
    for path in out.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone
    return wanted
