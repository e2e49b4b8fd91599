"""Whether a run's models can be what its config asks for, without weights: every role is built empty, and its shapes,
adapters, lengths, memory and checkpoint files are told in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from data_store.errors import InputError
from flows.forecast.forecast import shape_of
from flows.recipe.config import RunConfig
from flows.recipe.given_models import TOKENIZERS
from flows.recipe.lengths import context_length, limits
from models.config import TrainerConfig
from models.costs import BYTES, Memory, activation_bytes
from models.llama_presets import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from models.base_checks.dry_build import DryModel
    from models.base_checks.finding import Finding


@dataclass(frozen=True)
class RoleShape:
    """A model of the run: weights, those that are trained, bytes while it is trained or read, and the files of its
    checkpoint (name → bytes)."""

    role: str
    parameters: int
    trained: int
    memory: Memory
    files: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "memory": self.memory.as_json()}


@dataclass(frozen=True)
class Shapes:
    """All roles, and what was found of them: check → what."""

    roles: Sequence[RoleShape]
    found: Mapping[str, str]


def shapes_of(config: RunConfig) -> Shapes:
    """Build every role of the run on the meta device. Raises InputError naming the field where one cannot be, and what
    to do."""
    from models.base_checks.dry_build import check_layers, check_pass, dry, empty_policy, empty_reward

    where = "model" if config.base_model is None or config.is_described else f"base_model {config.base_model}"
    try:
        known = _described(config)
        policy = empty_policy(known)
        reward = empty_reward(known) if config.iterations and config.distill is None else None
        found = check_layers(policy, config.lora)
        found += [check_pass(policy, reward, context_length(config)), *_tokenizer(config, policy)]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    source = "published numbers: the folder is not here" if config.is_described else where
    told = {"architecture": f"{type(policy).__name__}, {known.model_type}, from {source}"}
    told |= {each.check: each.found for each in found}
    told |= _lengths(config)
    return Shapes(
        _roles(config, dry(policy, config.lora), None if reward is None else dry(reward, config.lora)),
        told,
    )


def _described(config: RunConfig) -> "PreTrainedConfig":
    from models.base_checks.structure import read_config
    from models.llama import llama_config

    if config.base_model is not None and not config.is_described:
        known = read_config(config.base_model)
        if getattr(known, "quantization_config", None):
            raise ValueError(
                "quantization_config: what quantized weights take is not planned: take the model as it was"
            )
        return known
    return llama_config(shape_of(config), None, 1, 2)


def _tokenizer(config: RunConfig, policy: "PreTrainedModel") -> "list[Finding]":
    """What the template makes of a turn, and whether each token has an embedding, where the folder has a tokenizer."""
    from models.base_checks.examine import opened_tokenizer
    from models.base_checks.finding import Finding
    from models.base_checks.template import check_template
    from models.base_checks.vocabulary import check_embeddings

    folder = config.base_model or config.tokenizer.folder
    if folder is None:
        return []
    if not any((folder / name).exists() for name in TOKENIZERS):
        return [Finding("chat template", "not looked at: the tokenizer is not here")]
    renderer, _ = check_template(opened_tokenizer(folder), folder, config.template_date)
    around, room = len(renderer.prompt([{"role": "user", "content": "x"}])), limits(config)["prompt_tokens"]
    if around > room:
        raise ValueError(
            f"the chat template puts {around} tokens around one letter, and a prompt may have {room}: raise the "
            "lengths in the config, or lower max_new_tokens"
        )
    return [
        check_embeddings(policy, renderer),
        Finding("chat template", f"{around} tokens around one letter"),
    ]


def _lengths(config: RunConfig) -> dict[str, str]:
    """Raises InputError for a length that the context cannot hold."""
    context, most = context_length(config), dict[str, int]()
    if config.trains_base:
        most["pretrain.sequence_length"] = config.pretrain.sequence_length
    if config.iterations and config.distill is None:
        most["reward.max_length"] = config.reward.max_length
        if config.final_stage == "dpo":
            most["dpo.max_length"] = config.dpo.max_length
    for key, length in most.items():
        if length > context:
            raise InputError(f"{key}: {length} is longer than the context of {context} tokens: set it to {context}")
    prompt = limits(config)["prompt_tokens"]
    if prompt < 1:
        raise InputError(
            f"max_new_tokens: the context of {context} tokens, and the rows that are learned from, hold no prompt "
            "beside the longest answer: lower max_new_tokens of the sampling sections, or raise "
            "fine_tune.training.sequence_length and reward.max_length"
        )
    dialogue = limits(config)["dialogue_tokens"]
    said = ", ".join(f"{key} {length:,}" for key, length in most.items())
    return {
        "context": f"{context:,} tokens{f'; {said}' if said else ''}",
        "lengths": f"dialogues of up to {dialogue:,} tokens, prompts of up to {prompt:,}",
    }


def _roles(config: RunConfig, policy: "DryModel", reward: "DryModel | None") -> list[RoleShape]:
    """Peaks are those of the longest rows that the config allows."""
    shape, context = _shape(config), context_length(config)
    rows: list[tuple[TrainerConfig, int]] = []
    if config.trains_base:
        rows.append((config.pretrain, config.pretrain.sequence_length))
    if config.data.world is not None or config.data.demonstrations:
        rows.append((config.sft, config.sft.sequence_length))
    if config.iterations:
        rows.append((config.fine_tune.training, config.fine_tune.training.sequence_length))
    if config.iterations and config.final_stage == "dpo":
        rows.append((config.dpo, 2 * min(config.dpo.max_length, context)))
    found = [_trained("policy", policy, shape, rows)]
    if reward is None:
        return found
    scored = shape and replace(shape, vocab_size=0)  # it gives no logits
    pairs = [(config.reward, 2 * min(config.reward.max_length, context))]
    found += [_trained(f"{axis} reward model", reward, scored, pairs) for axis in ("safety", "helpfulness")]
    if config.final_stage == "ppo":
        found.append(_ppo(config, policy, reward, shape))
    return found


def _trained(
    role: str, model: "DryModel", shape: Architecture | None, rows: Sequence[tuple[TrainerConfig, int]]
) -> RoleShape:
    """Of one process in the training that takes most of it: (how it is trained, tokens of a row)."""
    memories = [
        Memory(
            **{name: count / of.shards for name, count in model.held(of.dtype).items()},
            activations=_activations(shape, of, of.pass_rows * tokens),
        )
        for of, tokens in rows
    ]
    memory = max(memories, key=lambda each: each.total, default=Memory(4.0 * model.parameters, 0.0, 0.0, 0.0))
    return RoleShape(role, model.parameters, model.trained, memory, model.files)


def _ppo(config: RunConfig, policy: "DryModel", reward: "DryModel", shape: Architecture | None) -> RoleShape:
    """Policy and value model are trained, the reference and both reward models read; adapters share one base."""
    of, adapted = config.ppo, config.lora is not None
    tokens = min(context_length(config), limits(config)["prompt_tokens"] + of.sampling.max_new_tokens)
    held = [policy.held(of.dtype), reward.held(of.dtype, shares_base=adapted)]
    whole = {name: sum(each[name] for each in held) for name in held[0]}
    # the reference is held as the policy is, the reward models as they are read
    each_read = reward.parameters * BYTES[of.dtype]
    whole["weights"] += 4 * (policy.trained + 2 * reward.trained) if adapted else 4 * policy.parameters + 2 * each_read
    memory = Memory(
        **{name: count / of.shards for name, count in whole.items()},
        activations=_activations(shape, of, of.pass_rows * tokens),
    )
    trained = policy.trained + reward.trained
    others = 3 * reward.trained if adapted else policy.parameters + 3 * reward.parameters
    parameters = policy.parameters + others
    return RoleShape("PPO: all five", parameters, trained, memory, {})


def _activations(shape: Architecture | None, of: TrainerConfig, tokens: int) -> float:
    if shape is None:
        return 0.0
    return activation_bytes(shape, tokens, of.dtype, checkpointing=of.gradient_checkpointing)


def _shape(config: RunConfig) -> Architecture | None:
    """None where it is none of a Llama's kin, whose activations are not known."""
    try:
        return shape_of(config)
    except InputError:
        return None
