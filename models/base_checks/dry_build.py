"""Models without weights: built on torch's meta device from a config alone, whatever their size, in seconds and next to
no memory. What cannot fit together is said before anything is fetched, loaded or trained."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import TaskType, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from models.base_checks.finding import Finding, first_line
from models.base_checks.structure import check_adapters
from models.checkpoint import classifier_of, output_embeddings, peft_config
from models.checkpoint_files import files_of
from models.config import LoraConfig
from models.costs import ADAM, BYTES, GRADIENT, WEIGHT

_MISFITS = (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, LookupError)


@dataclass(frozen=True)
class DryModel:
    """One role: its class in transformers, all its weights, those that are trained, and the files of its checkpoint
    (name → bytes)."""

    kind: str
    parameters: int
    trained: int
    files: Mapping[str, int]

    def held(self, dtype: str, *, shares_base: bool = False) -> Mapping[str, int]:
        """Bytes while it is held: what is trained in float32 with gradient and Adam's moments, the rest in `dtype`.
        With `shares_base` its frozen weights are those of another role, and count there."""
        frozen = 0 if shares_base else self.parameters - self.trained
        weights = frozen * BYTES[dtype] + self.trained * WEIGHT
        return {"weights": weights, "gradients": self.trained * GRADIENT, "optimizer": self.trained * ADAM}


def empty_policy(config: PreTrainedConfig) -> PreTrainedModel:
    """A causal language model without weights, in float32. Raises ValueError where its parts do not fit."""
    return _built(type(config), lambda: AutoModelForCausalLM.from_config(config))  # type: ignore[no-untyped-call]


def empty_reward(config: PreTrainedConfig) -> PreTrainedModel:
    """The same with one scalar head, as reward and value models are. Raises ValueError where the architecture has
    none."""
    kind, own = classifier_of(config), copy.deepcopy(config)
    own.num_labels = 1
    return _built(type(config), lambda: kind._from_config(own))  # type: ignore[no-untyped-call]


def dry(model: PreTrainedModel, lora: LoraConfig | None) -> DryModel:
    """What is known of a trained role: the whole model, or adapters on it."""
    kind, whole = type(model).__name__, sum(weight.numel() for weight in model.parameters())
    if lora is None:
        return DryModel(kind, whole, whole, files_of(model))
    task = TaskType.SEQ_CLS if getattr(model, "score", None) is not None else TaskType.CAUSAL_LM
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers', at what peft calls
        adapted = get_peft_model(model, peft_config(lora, task))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    heads = sum(weight.numel() for name, weight in model.named_parameters() if "original_module" in name)
    return DryModel(kind, whole - heads + trained, trained, files_of(adapted))


def check_layers(policy: PreTrainedModel, lora: LoraConfig | None) -> list[Finding]:
    """Whether the head is that of the embeddings, and which layers get adapters. Raises ValueError for a name in
    `lora.target_modules` that no linear layer has."""
    tied = output_embeddings(policy).weight is policy.get_input_embeddings().weight
    found = [Finding("head", "tied: the embeddings are the head" if tied else "of its own beside the embeddings")]
    return found if lora is None else [*found, check_adapters(policy, lora)]


def check_pass(policy: PreTrainedModel, reward: PreTrainedModel | None, tokens: int) -> Finding:
    """A row of `tokens` goes through all layers, each shape meeting the next; nothing is computed. Raises ValueError
    where two do not meet."""
    logits = _out_of(policy, tokens)
    if logits[:2] != (1, tokens):
        raise ValueError(f"config.json: a row of {tokens} tokens gives logits of {logits}, not (1, {tokens}, V)")
    said = f"a row of {tokens:,} tokens through all layers gives logits {logits}"
    if reward is None:
        return Finding("shapes", said)
    score = _out_of(reward, tokens)
    if score != (1, 1):
        raise ValueError(f"config.json: a row gives scores of {score} in a reward model, not (1, 1)")
    return Finding("shapes", f"{said} and a score {score}")


def _built(kind: type, build: Any) -> PreTrainedModel:
    try:
        with torch.device("meta"):
            model: nn.Module = build()
    except _MISFITS as error:
        raise ValueError(f"config.json: {kind.__name__} cannot be built: {first_line(error)}") from None
    return cast(PreTrainedModel, model.to(torch.float32))


def _out_of(model: nn.Module, tokens: int) -> tuple[int, ...]:
    """The shape of what comes out. In bfloat16, the one kind for which all operations know their shapes."""
    model.to(torch.bfloat16)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
            shape = tuple(model(input_ids=ids, use_cache=False).logits.shape)
    except _MISFITS as error:
        raise ValueError(f"config.json: {type(model).__name__} cannot read a row: {first_line(error)}") from None
    model.to(torch.float32)
    return shape
