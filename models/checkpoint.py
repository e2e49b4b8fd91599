"""Opening and writing checkpoints: whole models, or LoRA adapters on a frozen base. Only safetensors, never the
network.

A checkpoint folder opens in plain transformers (`AutoModelForCausalLM`, `AutoModelForSequenceClassification`) or, for
adapters, in plain peft over the base model. Adapters are never stacked: each one is complete with respect to the base.

Precision: whatever is trained is held in float32, and so are adapters and scalar heads, trained or not. A step of 1e-6
is lost in a bfloat16 weight: its neighbours are a 256th away. `dtype` is that of all other weights; whole models that
are trained under "bfloat16" open spread inside their rounding (models/rounding.py).
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import (
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from models.checkpoint_files import MOST_BYTES, write_plainly
from models.config import LoraConfig
from models.devices import CPU, device
from models.loading_report import require_same_names, require_whole
from models.origins import remembered
from models.rounding import spread_in_rounding
from models.tokenizer import save_tokenizer


def is_adapter(folder: Path) -> bool:
    """True for a LoRA adapter, which needs its base model to open."""
    return (folder / "adapter_config.json").exists()


def load_policy(
    folder: Path,
    base: Path | nn.Module | None = None,
    *,
    lora: LoraConfig | None = None,
    trainable: bool = False,
    dtype: str = "float32",
    on: torch.device | None = None,
) -> nn.Module:
    """A causal language model from `folder`, on the device of this process; a trainable one on the CPU, from where its
    trainer takes it. `on` names another device.

    An adapter is put on `base`: on a model of its own from that folder, or on the weights of that loaded model, which
    stays as it is and carries any number of adapters so (see `_over_weights_of`). With `lora`, a folder that holds a
    whole model gets a fresh adapter (which changes no output before it is trained). Raises ValueError for an adapter
    without a base.
    """
    if is_adapter(folder):
        model = _on_base(AutoModelForCausalLM, folder, base, trainable, dtype)
    else:
        model = _whole(AutoModelForCausalLM, folder, "float32" if trainable and lora is None else dtype)
        if lora is not None:
            model = get_peft_model(model, peft_config(lora, TaskType.CAUSAL_LM))
        elif trainable and dtype == "bfloat16":
            spread_in_rounding(model)
    return remembered(_prepared(model, trainable, on), not trainable and lora is None, folder, base, False, dtype)


def load_reward(
    folder: Path,
    base: Path | nn.Module | None = None,
    *,
    trainable: bool = False,
    dtype: str = "float32",
    on: torch.device | None = None,
) -> nn.Module:
    """A reward model: a transformer with one scalar head, as `AutoModelForSequenceClassification` opens it.

    `base` and `on` as in `load_policy`; a loaded base is a causal language model.
    """
    if is_adapter(folder):
        model = _on_base(AutoModelForSequenceClassification, folder, base, trainable, dtype)
    else:
        model = _headed(folder, "float32")  # its own head would be rounded
        if trainable and dtype == "bfloat16":
            spread_in_rounding(backbone(model))
        elif not trainable:
            for parameter in backbone(model).parameters():
                parameter.data = parameter.data.to(getattr(torch, dtype))
    return remembered(_prepared(model, trainable, on), not trainable, folder, base, True, dtype)


def reward_over(base: nn.Module) -> nn.Module:
    """A reward model over the very weights of a loaded causal language model, with a fresh head of its own; nothing is
    trainable. Raises ValueError where the architecture has none (see `classifier_of`)."""
    return _prepared(_over_weights_of(base, AutoModelForSequenceClassification), trainable=False, on=None)


def reward_from_policy(
    folder: Path, base: Path | None, *, lora: LoraConfig | None, seed: int, dtype: str = "float32"
) -> nn.Module:
    """A trainable reward model that starts as the policy in `folder` with a fresh scalar head (Llama 2, section 3.2.2).

    The head starts at zero: both responses of every pair score alike before the first step. The model is on the CPU,
    from where its trainer takes it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if is_adapter(folder):
            if lora is None:
                raise ValueError(f"{folder.name} is an adapter: reward models on it need `lora` too")
            model = _headed(_required(base), dtype, fresh_head=True)
            model = get_peft_model(model, peft_config(lora, TaskType.SEQ_CLS))
            _copy_adapter(folder, model)
        else:
            model = _headed(folder, "float32" if lora is None else dtype, fresh_head=True)
            if lora is not None:
                model = get_peft_model(model, peft_config(lora, TaskType.SEQ_CLS))
            elif dtype == "bfloat16":
                spread_in_rounding(backbone(model))
    with torch.no_grad():
        for parameter in scalar_head(model).parameters():
            parameter.zero_()
    return _prepared(model, trainable=True, on=None)


def backbone(model: nn.Module) -> nn.Module:
    """The transformer without its head; adapters stay in place. Raises ValueError for an architecture that keeps it
    elsewhere than it says."""
    plain = _plain(model)
    body = plain.base_model
    if body is plain:
        raise ValueError(f"{type(plain).__name__} has no transformer called {plain.base_model_prefix!r}")
    return body


def scalar_head(model: nn.Module) -> nn.Module:
    """The linear layer (d → 1) of a reward or value model: all that it has beside the transformer. Raises ValueError
    where that is more than one module."""
    plain, body = _plain(model), backbone(model)
    heads = [child for child in plain.children() if child is not body]
    if len(heads) != 1:
        what = f"{len(heads)} modules beside its transformer, a scalar head is one"
        raise ValueError(f"{type(plain).__name__} has {what}")
    return heads[0]


def read_head(model: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """What the scalar head makes of hidden states (…, d): (…), in float32 whatever they are held in. In bfloat16 scores
    of 3 would be a 64th apart, and the best of many candidates a tie."""
    with torch.autocast(hidden.device.type, enabled=False):
        values: torch.Tensor = scalar_head(model)(hidden.float())[..., 0]
    return values


def output_embeddings(model: nn.Module) -> nn.Module:
    """The linear layer (d → V) of a causal language model. Its result is the logits, unless the model scales or caps
    them, as Granite, Cohere and Gemma 2 do."""
    return cast(nn.Module, _plain(model).get_output_embeddings())  # type: ignore[no-untyped-call]


def classifier_of(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class in transformers that puts a scalar head on models of this config. Raises ValueError where there is
    none."""
    mapping = AutoModelForSequenceClassification._model_mapping
    if type(config) not in mapping:
        raise ValueError(
            f"transformers has no sequence classifier for {config.model_type}, so there can be no reward model of it"
        )
    return cast(type[PreTrainedModel], mapping[type(config)])


def _plain(model: nn.Module) -> PreTrainedModel:
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)


def save_checkpoint(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write weights (safetensors), config and tokenizer, which agree on padding and on the end of a sequence. The bytes
    depend on the weights alone, not on paths or time. `weights` are the model's own by name where it holds parts of
    them (models/training/sharding.py)."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        # `save_embedding_layers` left open would ask the hub whether the base is there
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False, state_dict=weights)
        write_plainly(folder / "adapter_config.json")
    else:
        agree_with(model, tokenizer)
        model.save_pretrained(folder, max_shard_size=MOST_BYTES, state_dict=weights)  # type: ignore[operator]
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    save_tokenizer(tokenizer, folder)


def agree_with(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Plain transformers reads of the config what ends an answer and which tokens of a batch are no padding. Without
    padding it refuses batches; with the end as padding it would read them wrong."""
    config = cast(PreTrainedConfig, model.config)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config.eos_token_id, config.pad_token_id = end, None if pad == end else pad
    generation: GenerationConfig | None = getattr(model, "generation_config", None)
    if generation is not None:
        ends = generation.eos_token_id
        known = ends if isinstance(ends, list) else [] if ends is None else [ends]
        others = [each for each in known if each != end]
        generation.eos_token_id = [end, *others] if others else end
        generation.pad_token_id = pad


def _headed(folder: Path, dtype: str, *, fresh_head: bool = False) -> nn.Module:
    """A model with a scalar head, which is in float32."""
    model = _whole(AutoModelForSequenceClassification, folder, dtype, fresh_head=fresh_head, num_labels=1)
    scalar_head(model).float()
    return model


def _whole(kind: type, folder: Path, dtype: str, *, fresh_head: bool = False, **kwargs: int) -> nn.Module:
    """A model of which every weight is in the folder, and nothing else is. With `fresh_head` it takes the transformer
    of another model, and its own head is new."""
    model, report = kind.from_pretrained(  # type: ignore[attr-defined]
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        attn_implementation=_attention(kind, folder),
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # the report has them
        **kwargs,
    )
    require_whole(model, report, folder, fresh_head=fresh_head)
    return cast(nn.Module, model)


def _attention(kind: type, folder: Path) -> str:
    """SDPA, where the architecture knows it. Gemma 2 and some others compute attention step by step."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    mapping = kind._model_mapping  # type: ignore[attr-defined]
    return "sdpa" if type(config) not in mapping or mapping[type(config)]._supports_sdpa else "eager"


def _on_base(kind: type, folder: Path, base: Path | nn.Module | None, trainable: bool, dtype: str) -> nn.Module:
    _require_adapter_weights(folder)
    if isinstance(base, nn.Module):
        model = _over_weights_of(base, kind)
    elif kind is AutoModelForCausalLM:
        model = _whole(kind, _required(base), dtype)
    else:
        model = _headed(_required(base), dtype, fresh_head=True)  # it is the adapter's
    # left open, peft would read the adapter by way of a GPU, in a process that may not touch one
    opened = PeftModel.from_pretrained(model, folder, is_trainable=trainable, torch_device="cpu")
    model = cast(nn.Module, opened)
    require_same_names(folder, set(get_peft_model_state_dict(model, save_embedding_layers=False)))
    return model


def _over_weights_of(base: nn.Module, kind: type) -> nn.Module:
    """New modules over the very parameters of `base`: what is put into them (adapters, a head) is theirs alone, the
    weights are held once."""
    same = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    model: nn.Module = copy.deepcopy(base, same)
    if kind is AutoModelForCausalLM:
        return model
    body = backbone(model)
    config = cast(PreTrainedConfig, body.config)
    config.num_labels = 1
    with torch.device("meta"):
        headed = cast(PreTrainedModel, classifier_of(config)._from_config(config))  # type: ignore[no-untyped-call]
    headed.config = config
    setattr(headed, headed.base_model_prefix, body)
    head = scalar_head(headed)
    weight = next(base.parameters())
    head.float().to_empty(device=weight.device)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return headed


def _required(base: Path | None) -> Path:
    if base is None:
        raise ValueError("an adapter needs its base model: give the base's folder")
    return base


def _require_adapter_weights(folder: Path) -> None:
    """peft would open a pickled adapter, or look on the network, where the safetensors are missing."""
    if not (folder / "adapter_model.safetensors").exists():
        raise ValueError(f"{folder.name} holds no adapter_model.safetensors; adapters are read from safetensors only")


def peft_config(lora: LoraConfig, task: TaskType) -> PeftLoraConfig:
    return PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.target_modules),
        lora_dropout=0.0,
        bias="none",
        task_type=task,
    )


def _copy_adapter(folder: Path, model: nn.Module) -> None:
    """Start an adapter from the weights of another one on the same base."""
    _require_adapter_weights(folder)
    source, target = PeftLoraConfig.from_pretrained(folder), cast(PeftModel, model).peft_config["default"]
    for field in ("r", "lora_alpha", "target_modules"):
        ours, theirs = getattr(target, field), getattr(source, field)
        if ours != theirs:
            raise ValueError(
                f"the adapter {folder.name} has {field} {theirs}, lora asks for {ours}: give them the same"
            )
    weights = load_peft_weights(str(folder), device="cpu")
    fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
    require_same_names(folder, {name for name in fresh if "lora_" in name})
    set_peft_model_state_dict(model, {**fresh, **weights})  # peft wants the new head among them


def _prepared(model: nn.Module, trainable: bool, on: torch.device | None) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # log-probabilities of rollout, reference and update must agree
        # attention layers copy it from the config when they are made; in some it is a module of its own
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010  (a module's own fields have no type)
    config = getattr(model, "config", None)
    if config is not None:
        config.use_cache = False  # with a cache packed rows leak into each other; sampling asks for its own
        for name in ("attention_dropout", "hidden_dropout", "resid_pdrop", "attn_pdrop"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
    if not trainable:
        model.requires_grad_(False)
    model.train(trainable)
    return model.to(on or (CPU if trainable else device()))
