"""How long rows may be, in tokens, so that every step that reads them has room."""

import json
from pathlib import Path

from data_store.closest import did_you_mean
from data_store.errors import InputError
from flows.recipe.config import RunConfig
from flows.recipe.final_stages.stage import stages
from models.llama_presets import PRESETS, resolve_architecture
from tasks.temperature_tuning import AUTO

_CONTEXT = ("max_position_embeddings", "n_positions")  # GPT-2 has its own word


def limits(config: RunConfig) -> dict[str, int]:
    """The longest rows that the config has room for.

    A prompt leaves room for an answer in the context and wherever the answered prompt is learned from, and for the end
    of sequence that an answer gets which was cut off.
    """
    context, learned = context_length(config), config.fine_tune.training.sequence_length
    if not config.iterations:  # nothing is trained on answers, and no pair is read
        dialogue = min(config.sft.sequence_length, context)
        return {
            "dialogue_tokens": dialogue,
            "prompt_tokens": context - config.evaluate.sampling.max_new_tokens - 1,
            "pair_tokens": context,
        }
    answers = [config.evaluate.sampling]
    pairs = config.reward.max_length
    if config.final_stage in stages():
        stage = stages()[config.final_stage]
        answers += [sampling] if (sampling := stage.answers(config)) is not None else []
        pairs = min(pairs, stage.pair_tokens(config) or pairs)
    if config.distill is None:
        answers.append(config.rejection.sampling)
        if config.context_distillation is not None:
            answers.append(config.context_distillation.sampling)
        if config.draws_pairs:
            answers.append(config.collect.sampling)
            learned = min(learned, pairs)
    dialogue = min(config.sft.sequence_length, context)
    return {
        "dialogue_tokens": min(dialogue, config.fine_tune.training.sequence_length)
        if config.fine_tune.replay
        else dialogue,
        "prompt_tokens": min(context, learned) - max(sampling.max_new_tokens for sampling in answers) - 1,
        "pair_tokens": min(pairs, context),
    }


def gatt_tokens(config: RunConfig) -> int:
    """Of a Ghost Attention dialogue: what the context holds and fine-tuning learns from."""
    return min(context_length(config), config.fine_tune.training.sequence_length)


def preprompt_tokens(config: RunConfig) -> int:
    """Of a prompt behind its pre-prompt: what the context holds beside the answer and its end. Fine-tuning never sees
    the pre-prompt."""
    answer = 0 if config.context_distillation is None else config.context_distillation.sampling.max_new_tokens
    return context_length(config) - answer - 1


def splits(config: RunConfig) -> tuple[str, ...]:
    """The splits without which some step has no prompt."""
    if not config.iterations:
        return ("heldout",)
    stage = stages().get(config.final_stage)
    tuned = ("validation",) if config.distill is None and config.rejection.temperatures == AUTO else ()
    return tuple(dict.fromkeys(("train", *(stage.splits if stage else ()), *tuned, "heldout")))


def context_length(config: RunConfig) -> int:
    """Of the base model. Raises InputError where it does not say."""
    if config.base_model is not None and not config.is_described:
        return _base_context_length(config.base_model / "config.json")
    preset = config.model.preset
    if preset is not None and preset not in PRESETS:
        near = did_you_mean(preset, PRESETS)
        raise InputError(f"model.preset: unknown {preset!r}; there are {', '.join(PRESETS)}{near}")
    try:
        return resolve_architecture(config.model, config.tokenizer.vocab_size).context_length
    except ValueError as error:
        raise InputError(f"model: {error}") from None


def _base_context_length(file: Path) -> int:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"base_model: {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from None
    content = content if isinstance(content, dict) else {}
    length = next((content[name] for name in _CONTEXT if name in content), None)
    if not isinstance(length, int):
        if "text_config" in content:
            raise InputError(f"{file}: base_model reads more than text: give the folder of its text model alone")
        raise InputError(
            f"{file}: max_position_embeddings is missing: the context length of the base model, in tokens; add it"
        )
    return length
