from pathlib import Path

import pytest
import torch
from torch import nn

from models.checkpoint import load_policy, save_checkpoint
from models.config import LoraConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from tests.models.conftest import stirred


def served_llama(renderer: Renderer, seed: int, context: int = 256) -> nn.Module:
    """Two heads of 32, the smallest that vLLM's attention on a CPU takes, over one head of keys and values; input and
    output embeddings share their weights, which are large enough for an answer to be far from any other."""
    shape = Architecture(
        64, 2, 2, 1, 96, context_length=context, vocab_size=len(renderer.tokenizer), tie_embeddings=True
    )
    model = build_llama(shape, seed, renderer.pad_id, renderer.tokenizer.bos_token_id, renderer.tokenizer.eos_token_id)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(5)
    return model.eval()


@pytest.fixture(scope="session")
def served_folders(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> dict[str, Path]:
    """Two whole policies, `one` and `other`, and two adapters on the first, `adapter` and `next_adapter`."""
    root = tmp_path_factory.mktemp("served")
    for name, seed in (("one", 7), ("other", 8)):
        save_checkpoint(served_llama(renderer, seed), renderer.tokenizer, root / name)
    for name, seed in (("adapter", 11), ("next_adapter", 12)):
        lora = load_policy(root / "one", lora=LoraConfig(rank=4, alpha=8), trainable=True)
        save_checkpoint(stirred(lora, seed), renderer.tokenizer, root / name)
    return {path.name: path for path in root.iterdir()}
