"""Encoders of sentences, which somebody brings: the folder of a BERT, MiniLM, XLM-R …, as sentence-transformers writes
it or as transformers does. A text becomes one vector of length 1. Only safetensors, no code of the folder, never the
network.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from models.devices import device, device_of
from models.loading_report import require_body

MODULES = "modules.json"
_ROWS = 32  # texts of one pass
_KNOWN = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}
_UNBOUNDED = 1_000_000  # what tokenizers give for «as long as you like»


@dataclass(frozen=True)
class Manner:
    """How a folder wants to be read: what becomes of the hidden states of a text's tokens, mean or the first one's
    (cls); whether texts are put in small letters first; the most tokens of a text, None where it does not say."""

    pooling: str = "mean"
    lower: bool = False
    tokens: int | None = None


def read_manner(folder: Path) -> Manner:
    """Of the files that sentence-transformers writes beside the model; the mean over all tokens where there are none.
    Raises ValueError naming the file for modules and poolings that are not known here, and for a language model."""
    said = _content(folder, "sentence_bert_config.json")
    tokens, lower = said.get("max_seq_length"), bool(said.get("do_lower_case"))
    modules = _content(folder, MODULES)
    if not modules:
        names = _content(folder, "config.json").get("architectures") or []
        if any("CausalLM" in str(name) for name in names):
            raise ValueError(
                f"config.json: {names[0]} is a language model; means over its hidden states tell shared words, not "
                "what is meant: give the folder of a sentence encoder"
            )
        return Manner(lower=lower, tokens=tokens)
    pooling = "mean"
    for module in modules:
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Pooling":
            pooling = _pooling(folder, f"{path}/config.json")
        elif kind not in ("Transformer", "Normalize") or (kind == "Transformer" and path):
            where = f"in {path}" if kind == "Transformer" else kind
            raise ValueError(
                f"{MODULES}: it names {where}; an encoder is one Transformer in the folder itself, Pooling and "
                "Normalize: give another"
            )
    return Manner(pooling, lower, tokens)


def _pooling(folder: Path, file: str) -> str:
    said = _content(folder, file)
    chosen = [
        key.removeprefix("pooling_mode_") for key, is_on in said.items() if key.startswith("pooling_mode_") and is_on
    ]
    if isinstance(said.get("pooling_mode"), str):
        chosen = [said["pooling_mode"]]
    if len(chosen) != 1 or chosen[0] not in _KNOWN:
        raise ValueError(
            f"{file}: pooling is {' and '.join(chosen) or 'not said'}; mean and cls are known: give another"
        )
    return _KNOWN[chosen[0]]


def _content(folder: Path, name: str) -> Any:
    if not (folder / name).is_file():
        return {}
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{name}: it is no JSON: copy it again") from None


class SentenceEncoder:
    """A model with its tokenizer, on the device of this process."""

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, manner: Manner) -> None:
        self._model, self._tokenizer, self._manner = model, tokenizer, manner
        self.most_tokens = _most_tokens(model, tokenizer, manner)

    @property
    def pooling(self) -> str:
        """mean or cls."""
        return self._manner.pooling

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole texts with what opens and closes them. One with more than `most_tokens` cannot be embedded."""
        read = [text.lower() if self._manner.lower else text for text in texts]
        found: list[list[int]] = self._tokenizer(read, verbose=False)["input_ids"] if read else []
        return found

    @torch.inference_mode()
    def embed(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(N, d) on the CPU, each of length 1, of the ids of N texts."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        found = torch.empty(len(rows), self._model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        for start in range(0, len(rows), _ROWS):
            places = order[start : start + _ROWS]
            found[places] = self._pass([rows[place] for place in places]).float().cpu()
        return found

    def _pass(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        width, pad = max(map(len, rows)), cast(int, self._tokenizer.pad_token_id)
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        ids, mask = (each.to(device_of(self._model)) for each in (ids, mask))
        hidden: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self._manner.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def cut_letters(self, texts: Sequence[str]) -> tuple[int, int]:
        """(letters that the tokenizer does not know as such, all letters): those in an unknown token, in none, or cut
        into several tokens, as single bytes are."""
        lost = total = 0
        for text in texts:
            read = text.lower() if self._manner.lower else text
            found = self._tokenizer(read, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            tokens = [0] * len(read)
            for token, (start, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
                for place in range(start, end):
                    tokens[place] += 1 if token != self._tokenizer.unk_token_id else 2
            letters = [place for place, letter in enumerate(read) if letter.isalpha()]
            lost += sum(tokens[place] != 1 for place in letters)
            total += len(letters)
        return lost, total


def open_encoder(folder: Path) -> SentenceEncoder:
    """Raises ValueError where the folder is none of an encoder, lacks weights, or has a tokenizer that does not tell
    where its tokens stand."""
    manner = read_manner(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise ValueError("there is no tokenizer.json, and transformers makes none of the tokenizer: add it")
    if tokenizer.pad_token_id is None:
        raise ValueError(
            "tokenizer_config.json: it names no pad_token: give it the one that the model was trained with"
        )
    model, report = AutoModel.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # the report has them
    )
    require_body(model, report, folder)
    model.requires_grad_(False)
    return SentenceEncoder(model.eval().to(device()), tokenizer, manner)


def _most_tokens(model: nn.Module, tokenizer: PreTrainedTokenizerBase, manner: Manner) -> int:
    """The least of what the folder, its tokenizer and its position embeddings allow."""
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", _UNBOUNDED)
    before = config.pad_token_id + 1 if "roberta" in config.model_type else 0  # positions begin behind padding's
    return min(manner.tokens or _UNBOUNDED, int(min(tokenizer.model_max_length, _UNBOUNDED)), positions - before)
