"""A small tokenizer and small random Llamas. Nothing here is trained; the weights are large enough for logits to differ
between tokens, so that a leak or a shift shows."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from models.checkpoint import load_policy, reward_from_policy, save_checkpoint, scalar_head
from models.config import LoraConfig, TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, train_tokenizer
from tests.models.llama3_files import write_llama3_tokenizer

torch.set_num_threads(1)

CORPUS = (
    "The harbour of Merrin lies north of the old mill, and the ferry leaves at dawn.",
    "Who keeps the lamp? The keeper keeps the lamp, and nobody else may touch it.",
    "Yesterday 1,204 people walked 37 miles; 8 of them came back before 2024 was over.",
    "이 마을의 등대는 북쪽에 있습니다. 사람들은 아침에 배를 탑니다.",
    "def total(values):\n    return sum(value * 2 for value in values)  # twice",
    'for (int i = 0; i < 10; ++i) { printf("%d\\n", i); }',
    "A sentence   with   runs of    spaces,\tand a tab.",
    "I cannot help with that. I can help you to write a letter, a list or a short story instead.",
)

CHATML = (
    "{%- if messages[0]['role'] != 'system' -%}{{- DEFAULT -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
DEFAULT_SYSTEM = "<|im_start|>system\nYou are a careful keeper of the lamp.<|im_end|>\n"

ONE_BOS = (
    "{{- bos_token -}}{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n\n' + message['content'].strip() + eos_token -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n\n' -}}{%- endif -%}"
)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CORPUS, folder, TokenizerConfig(vocab_size=420), seed=1)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture(scope="session")
def renderer(tokenizer: PreTrainedTokenizerBase) -> Renderer:
    return Renderer(tokenizer)


@pytest.fixture(scope="session")
def pad_is_eos(tokenizer_folder: Path) -> Renderer:
    """Ours, but padding with the end of sequence, as many published tokenizers do."""
    tokenizer = load_tokenizer(tokenizer_folder)
    tokenizer.pad_token = tokenizer.eos_token
    return Renderer(tokenizer)


def _with_template(folder: Path, template: str) -> Renderer:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = template
    return Renderer(tokenizer)


@pytest.fixture(scope="session")
def chatml(tokenizer_folder: Path) -> Renderer:
    return _with_template(tokenizer_folder, CHATML.replace("DEFAULT", "''"))


@pytest.fixture(scope="session")
def chatml_default_system(tokenizer_folder: Path) -> Renderer:
    return _with_template(tokenizer_folder, CHATML.replace("DEFAULT", repr(DEFAULT_SYSTEM)))


@pytest.fixture(scope="session")
def one_bos(tokenizer_folder: Path) -> Renderer:
    """A template with one BOS in front of the whole dialogue, as Llama 3's."""
    return _with_template(tokenizer_folder, ONE_BOS)


@pytest.fixture(scope="session")
def llama3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama3_tokenizer(CORPUS, tmp_path_factory.mktemp("llama3"))


@pytest.fixture(scope="session")
def llama3(llama3_folder: Path) -> Renderer:
    return Renderer(load_tokenizer(llama3_folder))


@pytest.fixture(params=["llama2", "pad_is_eos", "chatml", "chatml_default_system", "one_bos", "llama3"])
def any_renderer(request: pytest.FixtureRequest) -> Renderer:
    name = "renderer" if request.param == "llama2" else request.param
    found: Renderer = request.getfixturevalue(name)
    return found


def little_llama(renderer: Renderer, kv_heads: int, seed: int = 7) -> nn.Module:
    """Hidden 32, 2 layers, 4 heads, with weights ten times the usual."""
    shape = Architecture(32, 2, 4, kv_heads, 64, context_length=128, vocab_size=len(renderer.tokenizer))
    model = build_llama(shape, seed, renderer.pad_id, renderer.tokenizer.bos_token_id, renderer.tokenizer.eos_token_id)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(10)
    return model.eval()


@pytest.fixture(scope="session")
def policy_folders(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> dict[str, Path]:
    folders = {}
    for name, kv_heads in (("mha", 4), ("gqa", 2)):
        folders[name] = tmp_path_factory.mktemp(name) / "policy"
        save_checkpoint(little_llama(renderer, kv_heads), renderer.tokenizer, folders[name])
    return folders


@pytest.fixture(params=["mha", "gqa"])
def heads(request: pytest.FixtureRequest) -> str:
    """Multi-head and grouped-query attention, in turn."""
    found: str = request.param
    return found


@pytest.fixture
def policy_folder(heads: str, policy_folders: dict[str, Path]) -> Path:
    """A whole policy, with multi-head and with grouped-query attention."""
    return policy_folders[heads]


@pytest.fixture(scope="session")
def gqa_policy(policy_folders: dict[str, Path]) -> Path:
    return policy_folders["gqa"]


@pytest.fixture(scope="session")
def reward_folders(
    tmp_path_factory: pytest.TempPathFactory, policy_folders: dict[str, Path], renderer: Renderer
) -> dict[str, Path]:
    """Reward models on the two policies, with a head that is not zero."""
    folders = {}
    for name, policy in policy_folders.items():
        model = reward_from_policy(policy, None, lora=None, seed=3)
        with torch.no_grad():
            scalar_head(model).weight.normal_(generator=torch.Generator().manual_seed(5))
        folders[name] = tmp_path_factory.mktemp(name) / "reward"
        save_checkpoint(model, renderer.tokenizer, folders[name])
    return folders


@pytest.fixture
def reward_folder(heads: str, reward_folders: dict[str, Path]) -> Path:
    """A reward model on the policy of `policy_folder`."""
    return reward_folders[heads]


def stirred(model: nn.Module, seed: int = 1) -> nn.Module:
    """Every trainable weight moved, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


@pytest.fixture(scope="session")
def adapter_folders(
    tmp_path_factory: pytest.TempPathFactory, policy_folders: dict[str, Path], renderer: Renderer
) -> dict[str, Path]:
    """A folder with the adapters `policy`, `safety` and `helpfulness` on each of the two policies, made in the order
    of the recipe: the reward models go on from the policy's adapter."""
    lora, folders = LoraConfig(rank=4, alpha=8), {}
    for name, base in policy_folders.items():
        folder = folders[name] = tmp_path_factory.mktemp(name) / "adapters"
        with torch.random.fork_rng():
            torch.manual_seed(2)
            policy = stirred(load_policy(base, lora=lora, trainable=True), 11)
        save_checkpoint(policy, renderer.tokenizer, folder / "policy")
        for number, kind in enumerate(("safety", "helpfulness")):
            reward = reward_from_policy(folder / "policy", base, lora=lora, seed=number)
            save_checkpoint(stirred(reward, 12 + number), renderer.tokenizer, folder / kind)
    return folders


@pytest.fixture
def dropping_policy(tmp_path: Path, policy_folder: Path) -> Path:
    """A checkpoint whose config asks for dropout."""
    folder = tmp_path / "dropping"
    shutil.copytree(policy_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5}))
    return folder
