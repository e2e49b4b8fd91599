"""Tokens and their embeddings, and tokenizers of SentencePiece's."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import LlamaTokenizer, PreTrainedTokenizerBase

from models.base_checks.examine import examine_base
from models.base_checks.vocabulary import TEXTS, check_embeddings, check_pieces
from models.checkpoint import load_policy
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tests.models.base_checks.conftest import Brought
from tests.models.conftest import CORPUS
from tests.models.families import write

TRAINING: dict[str, Any] = {
    "vocab_size": 420,
    "byte_fallback": True,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": 3,
    "minloglevel": 2,
}
OURS = {
    "model_type": "bpe",
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "add_dummy_prefix": False,
}


def pieces(folder: Path, **values: Any) -> PreTrainedTokenizerBase:
    """A folder with a tokenizer.model of these rules, opened as transformers opens it."""
    folder.mkdir(exist_ok=True)
    with (folder / "tokenizer.model").open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*CORPUS, *TEXTS] * 10), model_writer=out, **{**TRAINING, **values}
        )
    prefix = {"add_prefix_space": values.get("add_dummy_prefix", True)}
    tokenizer = LlamaTokenizer.from_pretrained(folder, add_bos_token=False, **prefix)
    tokenizer.save_pretrained(folder)
    return load_tokenizer(folder)


@pytest.mark.parametrize("prefix", [False, True], ids=["ours", "with a space in front, as Llama 2's"])
def test_a_tokenizer_that_is_opened_as_sentencepiece_made_it_passes(tmp_path: Path, prefix: bool) -> None:
    found = check_pieces(pieces(tmp_path / "bpe", **{**OURS, "add_dummy_prefix": prefix}), tmp_path / "bpe")
    assert found is not None
    assert found.found == f"the same ids as tokenizer.model on {len(TEXTS)} texts"


@pytest.mark.conformance(
    "a tokenizer.model that transformers opens otherwise", equation="models.base_checks.vocabulary:check_pieces"
)
@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "unigram"},
        {"normalization_rule_name": "nmt_nfkc"},
        {"remove_extra_whitespaces": True},
    ],
    ids=["unigram", "a normaliser", "white space is taken out"],
)
def test_a_tokenizer_that_transformers_opens_otherwise_is_refused_with_a_text(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    tokenizer = pieces(tmp_path / "other", **{**OURS, **changes})
    with pytest.raises(ValueError, match=r"tokenizer.model: transformers opens it with other ids.*tokenizer.json"):
        check_pieces(tokenizer, tmp_path / "other")


def test_a_base_with_such_a_tokenizer_is_refused_before_its_weights_are_loaded(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("Llama 2", tokenizer, tmp_path / "base")
    shutil.copy(tokenizer_folder / "tokenizer.model", folder)
    assert {each.check for each in examine_base(folder, None)} >= {"SentencePiece", "embeddings"}
    other = tmp_path / "other"
    pieces(other, **{**OURS, "model_type": "unigram"})
    (folder / "tokenizer.model").write_bytes((other / "tokenizer.model").read_bytes())
    monkeypatch.setattr("models.base_checks.examine.load_policy", None)
    with pytest.raises(ValueError, match=r"tokenizer.model: transformers opens it with other ids"):
        examine_base(folder, None)


def test_a_file_of_tiktoken_is_not_compared(tmp_path: Path, llama3_folder: Path) -> None:
    (tmp_path / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    found = check_pieces(load_tokenizer(llama3_folder), tmp_path)
    assert found is not None
    assert "was not compared" in found.found
    assert check_pieces(load_tokenizer(llama3_folder), llama3_folder) is None


def grown(folder: Path, token: str, *, special: bool) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens([token], special_tokens=special)
    tokenizer.save_pretrained(folder)
    return tokenizer


def test_a_token_without_an_embedding_is_named(brought: Brought) -> None:
    folder = brought()
    rows = len(load_tokenizer(folder))
    grown(folder, "<call>", special=False)
    with pytest.raises(ValueError, match=rf"token '<call>' with id {rows}, the model has {rows} embeddings: 1 tokens"):
        examine_base(folder, None)


def test_a_special_token_that_is_never_written_needs_no_embedding(brought: Brought) -> None:
    """Gemma 3's tokenizer has one for images, of which the text model knows nothing."""
    folder = brought()
    tokenizer = grown(folder, "<image>", special=True)
    found = check_embeddings(load_policy(folder), Renderer(tokenizer))
    assert "1 special tokens without one are never written" in found.found


def test_a_special_token_that_the_template_writes_needs_one(brought: Brought) -> None:
    folder = brought()
    tokenizer = grown(folder, "<turn>", special=True)
    tokenizer.chat_template = "<turn>" + str(tokenizer.chat_template)
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="token '<turn>' with id"):
        examine_base(folder, None)


def test_weights_of_a_smaller_vocabulary_are_refused(brought: Brought) -> None:
    folder = brought(vocab_size=300, **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")))
    with pytest.raises(ValueError, match=r"with id 300, the model has 300 embeddings: \d+ tokens have none"):
        examine_base(folder, None)
