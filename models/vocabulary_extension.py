"""More pieces for a tokenizer of SentencePiece, for text that it was not made for, and embeddings for them.

Old pieces keep their ids and merge before any new one does. A new piece begins as the mean of what the old tokenizer
would have said in its place, so that the model reads new text no worse than a shuffle of its pieces (Hewitt,
"Initializing new word embeddings for pretrained language models", 2021, takes the mean of all).
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import cast

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.checkpoint import output_embeddings
from models.tokenizer import load_tokenizer, save_tokenizer, sentences

PIECES = "tokenizer.model"
_NORMAL, _BPE = 1, 2  # in SentencePiece's own format
_LINES, _LONGEST = 1_000_000, 4096  # as a tokenizer from nothing is trained


def extend_tokenizer(base: Path, texts: Iterable[str], pieces: int, folder: Path, seed: int) -> PreTrainedTokenizerBase:
    """Write the tokenizer of the folder `base` with `pieces` new pieces, learned on `texts`, to `folder`.

    Raises ValueError where `base` has no BPE of SentencePiece, where other tokens stand behind its pieces, and where
    the texts hold fewer new pieces.
    """
    old = load_tokenizer(base)
    known = _opened(base, old)
    new = new_pieces({piece.piece for piece in known.pieces}, _learned(texts, pieces, seed), pieces)
    lowest = min(piece.score for piece in known.pieces if piece.type == _NORMAL)
    for number, piece in enumerate(new, start=1):
        known.pieces.add(piece=piece, score=lowest - number, type=_NORMAL)
    known.trainer_spec.vocab_size = len(known.pieces)
    save_tokenizer(old, folder)
    (folder / PIECES).write_bytes(known.SerializeToString(deterministic=True))
    (folder / "tokenizer.json").unlink(missing_ok=True)  # it is made anew of the pieces
    found = load_tokenizer(folder)
    moved = [token for token, number in old.get_vocab().items() if found.convert_tokens_to_ids(token) != number]
    if moved or len(found) != len(old) + pieces:
        raise ValueError(f"{base}: transformers gives {moved[:1] or len(found)} another place than SentencePiece does")
    found.save_pretrained(folder)
    return load_tokenizer(folder)


def new_pieces(known: set[str], learned: Iterable[str], pieces: int) -> list[str]:
    """The first `pieces` of `learned`, which are in the order in which they merge, that are not `known`; before each
    one the characters that it is made of, for pieces merge from these. Raises ValueError where there are fewer."""
    found: dict[str, None] = {}
    for piece in learned:
        if piece in known or piece in found:
            continue
        wanted = [each for each in dict.fromkeys((*piece, piece)) if each not in known and each not in found]
        if len(found) + len(wanted) <= pieces:
            found |= dict.fromkeys(wanted)
        if len(found) == pieces:
            return list(found)
    raise ValueError(f"these texts hold {len(found)} new pieces, not {pieces}: ask for fewer, or give more text")


def extend_embeddings(model: nn.Module, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> None:
    """Give a model of the tokenizer `old` a row for each piece of `new`, in the embeddings and in the head: the mean of
    the rows of the old pieces that it would be without its own. Old rows stay as they are to the bit."""
    plain = cast(PreTrainedModel, model)
    embeddings = cast(nn.Embedding, plain.get_input_embeddings())
    if embeddings.num_embeddings < len(new):
        plain.resize_token_embeddings(len(new), mean_resizing=False)
    layers = (plain.get_input_embeddings(), output_embeddings(plain))
    matrices = {id(layer.weight): cast(torch.Tensor, layer.weight) for layer in layers}  # one where they are tied
    encode = old.backend_tokenizer.model.tokenize
    with torch.no_grad():
        for number in range(len(old), len(new)):
            parts = [token.id for token in encode(cast(str, new.convert_ids_to_tokens(number)))]
            for weight in matrices.values():
                weight[number] = weight[parts].mean(0)


def _opened(folder: Path, tokenizer: PreTrainedTokenizerBase) -> "sentencepiece_model_pb2.ModelProto":
    file = folder / PIECES
    if not file.is_file():
        raise ValueError(f"{folder} has no {PIECES}: pieces can be added to a tokenizer of SentencePiece alone")
    known = sentencepiece_model_pb2.ModelProto.FromString(file.read_bytes())
    if known.trainer_spec.model_type != _BPE:
        raise ValueError(f"{file} is no BPE: pieces of another kind would change how old text is read")
    if len(tokenizer) != len(known.pieces):
        behind = tokenizer.convert_ids_to_tokens(len(known.pieces))
        raise ValueError(
            f"{folder}: {behind!r} was added behind the {len(known.pieces)} pieces of {PIECES}, where the first new "
            "one would stand: take a folder without added tokens"
        )
    return known


def _learned(texts: Iterable[str], pieces: int, seed: int) -> list[str]:
    """Pieces of these texts alone in the order in which they merge, and then single characters, the frequent ones
    first. More than are asked for: the old tokenizer has some."""
    sentencepiece.set_random_generator_seed(seed % 2**32)
    out = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(texts, _LONGEST),
        model_writer=out,
        model_type="bpe",
        vocab_size=2 * pieces + 8192,
        hard_vocab_limit=False,
        character_coverage=0.9995,
        split_digits=True,
        byte_fallback=True,
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        normalization_rule_name="identity",
        max_sentence_length=4 * _LONGEST,
        input_sentence_size=_LINES,
        shuffle_input_sentence=True,
        num_threads=1,
        minloglevel=2,
    )
    found = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    return [piece.piece for piece in found.pieces if piece.type == _NORMAL]
