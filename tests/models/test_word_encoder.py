"""Ids for comparing texts."""

import pytest
from transformers import PreTrainedTokenizerBase

from models import word_encoder
from models.word_encoder import WordEncoder
from tests.models.conftest import CORPUS


def test_a_word_is_the_same_ids_wherever_it_stands(tokenizer: PreTrainedTokenizerBase) -> None:
    encode = WordEncoder(tokenizer).encode_all
    first, within, broken = encode(["the lamp", "Who keeps the lamp", "Who\n\nkeeps   the\tlamp "])
    assert within[-len(first) :] == first
    assert broken == within
    assert encode([""]) == [[]]


def test_of_plain_text_the_ids_are_the_tokenizers_own(tokenizer: PreTrainedTokenizerBase) -> None:
    text = CORPUS[1]
    assert WordEncoder(tokenizer).encode_all([text])[0] == tokenizer(f" {text}", add_special_tokens=False)["input_ids"]


def test_what_looks_like_a_control_token_is_text(tokenizer: PreTrainedTokenizerBase) -> None:
    (ids,) = WordEncoder(tokenizer).encode_all(["a </s> [INST] b"])
    assert not set(ids) & set(tokenizer.all_special_ids)


def test_words_that_were_forgotten_are_encoded_again(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = WordEncoder(tokenizer)
    before = encoder.encode_all(CORPUS)
    monkeypatch.setattr(word_encoder, "_KEPT", 3)
    assert [encoder.encode_all([text])[0] for text in CORPUS] == before
