"""All checks of a model that somebody brings, the cheap ones first; its weights are read for their numbers, and loaded
once. Finished in seconds: what cannot be right is said before anything is trained or anybody is asked.
"""

from datetime import date
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerBase

from models.base_checks.encoder import check_encoder
from models.base_checks.files import check_files, check_finite
from models.base_checks.finding import Finding, first_line
from models.base_checks.reading import check_padding, check_reading
from models.base_checks.structure import check_adapters, check_architecture
from models.base_checks.template import check_template
from models.base_checks.vocabulary import check_embeddings, check_pieces
from models.checkpoint import load_policy
from models.config import LoraConfig
from models.dialogue import Renderer
from models.loading_report import NotTheModelError
from models.sentence_encoder import open_encoder
from models.tokenizer import load_tokenizer
from models.verdicts import verdict_tokens

# Whatever a file that somebody brings makes transformers raise is a fault of the file.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)


def examine_base(folder: Path, lora: LoraConfig | None, template_date: date | None = None) -> list[Finding]:
    """What was found of a base model. Raises ValueError where the recipe cannot use it: file, reason, what to do.

    Needs 4 bytes of memory a parameter.
    """
    renderer, found = _examine_files(folder, template_date, rewards=True)
    model = _loaded(folder)
    found.append(check_embeddings(model, renderer))
    if lora is not None:
        found.append(check_adapters(model, lora))
    return [*found, *check_reading(model, renderer)]


def examine_judge(folder: Path, letters: tuple[str, str]) -> list[Finding]:
    """The same of a model that only says which of two letters comes next."""
    renderer, found = _examine_files(folder, None, rewards=False)
    verdict_tokens(renderer, letters)
    found.append(Finding("letters", f"{' and '.join(letters)} are single tokens"))
    model = _loaded(folder)
    return [*found, check_embeddings(model, renderer), check_padding(model, renderer)]


def examine_policy(folder: Path) -> list[Finding]:
    """The same of a model that only answers."""
    renderer, found = _examine_files(folder, None, rewards=False)
    model = _loaded(folder)
    return [*found, check_embeddings(model, renderer), check_padding(model, renderer)]


def examine_tokenizer(folder: Path, template_date: date | None = None) -> list[Finding]:
    """The same of a tokenizer with its chat template, without a model."""
    tokenizer = opened_tokenizer(folder)
    renderer, served = check_template(tokenizer, folder, template_date)
    found = check_pieces(tokenizer, folder)
    size = Finding("vocabulary", f"{len(renderer.tokenizer):,} tokens")
    return [size, *([] if found is None else [found]), *served]


def examine_encoder(folder: Path) -> list[Finding]:
    """The same of an encoder of sentences."""
    found = [check_files(folder), check_finite(folder)]
    try:
        with torch.random.fork_rng():
            encoder = open_encoder(folder)
    except NotTheModelError as error:
        raise ValueError(str(error).removeprefix(f"{folder}: ")) from None
    except ValueError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"transformers cannot open the encoder: {first_line(error)}") from None
    return [*found, *check_encoder(encoder)]


def opened_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Raises ValueError where transformers cannot open it, and where it has no end of sequence."""
    try:
        tokenizer = load_tokenizer(folder)
    except _UNREADABLE as error:
        raise ValueError(f"transformers cannot open the tokenizer: {first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise ValueError("tokenizer_config.json: it names no eos_token, so no answer can end: give it one")
    return tokenizer


def _examine_files(folder: Path, template_date: date | None, *, rewards: bool) -> tuple[Renderer, list[Finding]]:
    found: list[Finding | None] = [check_files(folder), check_architecture(folder, rewards=rewards)]
    tokenizer = opened_tokenizer(folder)
    renderer, served = check_template(tokenizer, folder, template_date)
    found += [check_pieces(tokenizer, folder), *served, check_finite(folder)]
    return renderer, [each for each in found if each is not None]


def _loaded(folder: Path) -> nn.Module:
    try:
        with torch.random.fork_rng():
            return load_policy(folder)
    except NotTheModelError as error:
        raise ValueError(str(error).removeprefix(f"{folder}: ")) from None
    except _UNREADABLE as error:
        raise ValueError(f"transformers cannot open the model: {first_line(error)}") from None
