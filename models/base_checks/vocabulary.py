"""The tokenizer of a model: an embedding for each id, and the ids that SentencePiece gives where it made them."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import sentencepiece
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.base_checks.finding import Finding
from models.dialogue import Renderer

PIECES = "tokenizer.model"

# Scripts, digits, runs of spaces, forms that a normaliser changes, characters that have no piece. None begins with a
# space: there transformers and SentencePiece differ by one piece, with Llama 2's tokenizer as well.
TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs, doesn't it?",
    "In 2024 it cost 1,204.50 dollars; 0.007 of them came back.",
    "안녕하세요, 등대는 북쪽에 있습니다.",
    "今日はいい天気ですね。我们去北京。",
    "Привет, как дела? Γειά σου Κόσμε.",
    "two  spaces   and    more,\tand a tab\nand a line",
    "ﬁne print: ＡＢＣ １２３ ½ ①",
    "café naïve Ångström",
    "for (int i = 0; i < 10; ++i) { x[i] += y[i] * 2; }",
    "🙂 👩‍🚀 ok",
    "ends with spaces  ",
)


def check_embeddings(model: nn.Module, renderer: Renderer) -> Finding:
    """Raises ValueError naming a token that texts or dialogues can hold and for which the model has no embedding.

    Special tokens that the chat template never writes are counted only: no text encodes to them.
    """
    tokenizer = renderer.tokenizer
    rows: int = cast(nn.Embedding, cast(PreTrainedModel, model).get_input_embeddings()).num_embeddings
    beyond = {id: token for token, id in tokenizer.get_vocab().items() if id >= rows}
    written = {*renderer.end_ids, renderer.pad_id, *_written(renderer)}
    if tokenizer.bos_token_id is not None:
        written.add(tokenizer.bos_token_id)
    unused = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special} - written
    if bad := sorted(set(beyond) - unused):
        raise ValueError(
            f"the tokenizer has token {beyond[bad[0]]!r} with id {bad[0]}, the model has {rows} embeddings: "
            f"{len(bad)} tokens have none. Tokenizer and weights are not of one model, or tokens were added without "
            "`resize_token_embeddings`: copy both from one place"
        )
    more = f"; {len(beyond)} special tokens without one are never written" if beyond else ""
    return Finding("embeddings", f"{rows}, one for each token that is written{more}")


def _written(renderer: Renderer) -> set[int]:
    question = {"role": "user", "content": "x"}
    return {
        *renderer.dialogue([question, {"role": "assistant", "content": "y"}]).input_ids,
        *renderer.prompt([question]),
    }


def check_pieces(tokenizer: PreTrainedTokenizerBase, folder: Path) -> Finding | None:
    """Compare with SentencePiece's own ids; None where the folder holds no tokenizer of SentencePiece's.

    Raises ValueError with the text on which the two differ. transformers opens every `tokenizer.model` as BPE, and
    takes neither its normaliser nor its rule for white space.
    """
    path = folder / PIECES
    if not path.is_file():
        return None
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):  # Llama 3 calls a file of tiktoken so
        return Finding("SentencePiece", f"{PIECES} is not one of SentencePiece's, and was not compared")
    for text in TEXTS:
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        wanted = pieces.encode(text)
        if found != wanted:
            raise ValueError(
                f"{PIECES}: transformers opens it with other ids than SentencePiece gives: {text!r} becomes "
                f"{len(found)} tokens, {_shown(tokenizer.convert_ids_to_tokens(found))}, where SentencePiece has "
                f"{len(wanted)}, {_shown(pieces.id_to_piece(wanted))}. Add the tokenizer.json that the model's authors "
                "made, or convert it with the class that its model type has in transformers"
            )
    return Finding("SentencePiece", f"the same ids as {PIECES} on {len(TEXTS)} texts")


def _shown(pieces: Sequence[str]) -> str:
    return " ".join(pieces[:6]) + (" …" if len(pieces) > 6 else "")
