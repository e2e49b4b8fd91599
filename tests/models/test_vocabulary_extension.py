"""New pieces for a tokenizer of SentencePiece: old ids and old text stay, new rows are means of old ones."""

import random
from itertools import permutations
from pathlib import Path
from typing import cast

import pytest
import sentencepiece
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from models.base_checks.vocabulary import check_pieces
from models.checkpoint import output_embeddings
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.tokenizer import load_tokenizer, save_tokenizer
from models.vocabulary_extension import extend_embeddings, extend_tokenizer, new_pieces
from tests.models.conftest import CORPUS

WORDS = ("설정", "프로그램", "사용자", "화면", "단추를", "누르면", "열립니다", "파일을", "저장하고", "닫습니다")
PIECES = 60


def manuals(seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=12)) for _ in range(80)]


def ids_of(tokenizer: PreTrainedTokenizerBase, piece: str) -> list[int]:
    return [token.id for token in tokenizer.backend_tokenizer.model.tokenize(piece)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_tokenizer(renderer.tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = tmp_path_factory.mktemp("extended")
    extend_tokenizer(base, manuals(1), PIECES, folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def both(base: Path, extended: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    return load_tokenizer(base), load_tokenizer(extended)


def test_a_piece_comes_behind_the_characters_that_it_merges_from() -> None:
    """«ab» needs nothing; «가나» two characters; «나다» one more, for which there is no room with five; «라» fits."""
    learned = ["ab", "b", "가나", "나다", "라"]
    assert new_pieces({"a", "b"}, learned, 5) == ["ab", "가", "나", "가나", "라"]
    assert new_pieces({"a", "b"}, learned, 6) == ["ab", "가", "나", "가나", "다", "나다"]
    with pytest.raises(ValueError, match="hold 7 new pieces, not 9: ask for fewer, or give more text"):
        new_pieces({"a", "b"}, learned, 9)


@pytest.mark.conformance(
    "new pieces move old ids, or change how old text is read", equation="models.vocabulary_extension:extend_tokenizer"
)
def test_old_pieces_keep_their_ids_and_old_text_is_read_as_before(
    both: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase], extended: Path
) -> None:
    old, new = both
    assert len(new) == len(old) + PIECES
    assert [new.convert_ids_to_tokens(number) for number in range(len(old))] == [
        old.convert_ids_to_tokens(number) for number in range(len(old))
    ]
    english = [text for text in CORPUS if text.isascii()]
    assert len(english) > 3
    assert list(Renderer(new).documents(english)) == list(Renderer(old).documents(english))
    assert check_pieces(new, extended) is not None, "transformers and SentencePiece give the same ids"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(extended / "tokenizer.model"))
    assert pieces.get_piece_size() == len(new)


def test_a_new_piece_does_not_cut_two_old_ones_that_it_lies_across(base: Path, tmp_path: Path) -> None:
    """Of the old pieces «ab» and «cd», one after the other, «bc» is learned: merged first, it would leave «a bc d»."""
    known = load_tokenizer(base)
    vocabulary = known.get_vocab()
    words = [piece for piece in vocabulary if len(piece) == 3 and piece.isascii() and piece.isalpha()]
    first, second = next(
        (a, b)
        for a, b in permutations(words, 2)
        if ids_of(known, a + b) == [vocabulary[a], vocabulary[b]] and a[-1] + b[0] not in vocabulary
    )
    across = first[-1] + second[0]
    new = extend_tokenizer(base, [f"{across} " * 50], 2, tmp_path / "out", seed=1)
    assert across in new.get_vocab()
    old = [vocabulary[first], vocabulary[second]]
    assert ids_of(new, first + second) == old
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out" / "tokenizer.model"))
    assert pieces.encode(first + second) == old, "nor for other tools, which read SentencePiece's file alone"


def test_new_text_is_fewer_tokens_and_every_new_piece_is_reached(
    both: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
) -> None:
    old, new = both
    (before,), (after,) = (list(Renderer(each).documents([" ".join(manuals(2))])) for each in both)
    assert len(after) < len(before) / 2
    assert new.decode(after[1:-1]) == old.decode(before[1:-1])
    for number in range(len(old), len(new)):
        piece = cast(str, new.convert_ids_to_tokens(number))
        assert ids_of(new, piece) == [number], piece


def test_the_same_text_and_seed_give_the_same_bytes(base: Path, extended: Path, tmp_path: Path) -> None:
    extend_tokenizer(base, manuals(1), PIECES, tmp_path / "again", seed=3)
    names = sorted(path.name for path in extended.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (extended / name).read_bytes(), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.conformance(
    "new pieces move old ids, or change how old text is read", equation="models.vocabulary_extension:extend_embeddings"
)
def test_a_new_row_is_the_mean_of_the_rows_of_the_old_pieces_and_old_rows_stay(
    both: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase], tied: bool
) -> None:
    old, new = both
    shape = Architecture(16, 1, 2, 2, 32, context_length=64, vocab_size=len(old), tie_embeddings=tied)
    model = build_llama(shape, 1, 3, 1, 2)

    def rows() -> tuple[torch.Tensor, torch.Tensor]:
        layers = cast(nn.Embedding, model.get_input_embeddings()), output_embeddings(model)
        return cast(tuple[torch.Tensor, torch.Tensor], tuple(cast(torch.Tensor, each.weight) for each in layers))

    before = [each.detach().clone() for each in rows()]
    extend_embeddings(model, old, new)
    assert model.config.vocab_size == len(new)
    piece = len(old) + PIECES - 1
    parts = ids_of(old, cast(str, new.convert_ids_to_tokens(piece)))
    assert len(parts) > 1, "bytes, before"
    for was, weight in zip(before, rows(), strict=True):
        assert torch.equal(weight[: len(old)], was)
        torch.testing.assert_close(weight[piece], sum(was[part] for part in parts) / len(parts))
    assert (rows()[0] is rows()[1]) == tied


def test_a_tokenizer_without_sentencepiece_and_one_with_tokens_behind_it_are_refused_by_name(
    base: Path, llama3_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{llama3_folder} has no tokenizer.model: pieces can be added"):
        extend_tokenizer(llama3_folder, manuals(1), 5, tmp_path / "out", seed=1)
    more = load_tokenizer(base)
    more.add_tokens(["<think>"])
    save_tokenizer(more, tmp_path / "more")
    with pytest.raises(ValueError, match=r"'<think>' was added behind the 420 pieces of tokenizer\.model"):
        extend_tokenizer(tmp_path / "more", manuals(1), 5, tmp_path / "out", seed=1)
