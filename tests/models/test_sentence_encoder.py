"""Folders of sentence encoders: how they want to be read, vectors by hand, letters that a tokenizer does not know."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from models.base_checks.examine import examine_encoder
from models.sentence_encoder import Manner, SentenceEncoder, open_encoder, read_manner
from tests.models.bag_of_words import write_bag_of_words, write_modules, write_random

WORDS = ("red", "green", "blue", "apple", "pear", "plum")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag_of_words(WORDS, tmp_path_factory.mktemp("encoders") / "bag")


def embedded(encoder: SentenceEncoder, *texts: str) -> torch.Tensor:
    return encoder.embed(encoder.encode(texts))


def test_the_mean_over_one_hot_tokens_is_a_bag_of_words(bag: Path) -> None:
    vectors = embedded(open_encoder(bag), "red apple pear", "Pear red plum", "red red", "blue")
    wanted = [[1, 2 / 3, 3**-0.5, 0], [2 / 3, 1, 3**-0.5, 0], [3**-0.5, 3**-0.5, 1, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(vectors @ vectors.T, torch.tensor(wanted), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))


def test_with_cls_the_first_token_stands_for_the_text(bag: Path, tmp_path: Path) -> None:
    folder = write_bag_of_words(WORDS, tmp_path / "cls")
    write_modules(folder, 16, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    vectors = embedded(open_encoder(folder), "red apple pear", "red plum", "apple red")
    torch.testing.assert_close((vectors @ vectors.T)[0], torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0)


def test_a_text_has_the_same_vector_beside_longer_ones(tmp_path: Path) -> None:
    encoder = open_encoder(write_random(WORDS, tmp_path / "random"))
    texts = ["red", "red apple pear plum", "blue " * 20, "green pear"]
    alone = torch.cat([embedded(encoder, text) for text in texts])
    torch.testing.assert_close(embedded(encoder, *texts), alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("files", "manner"),
    [
        ({}, Manner()),
        ({"sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": True}}, Manner("mean", True, 128)),
        (
            {"modules.json": [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}]}
            | {"1_Pooling/config.json": {"pooling_mode": "cls"}},
            Manner("cls"),
        ),
    ],
)
def test_a_folder_says_how_it_is_read(tmp_path: Path, files: dict[str, Any], manner: Manner) -> None:
    (tmp_path / "1_Pooling").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert read_manner(tmp_path) == manner


def dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))


def most(folder: Path) -> None:
    write_modules(folder, 16, pooling_mode_max_tokens=True, pooling_mode_mean_tokens=True)


def language_model(folder: Path) -> None:
    (folder / "modules.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))


def lacking(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut(folder: Path) -> None:
    (folder / "sentence_bert_config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (dense, "modules.json: it names Dense; an encoder is one Transformer"),
        (most, "1_Pooling/config.json: pooling is mean_tokens and max_tokens|pooling is max_tokens and mean_tokens"),
        (language_model, "config.json: LlamaForCausalLM is a language model"),
        (lacking, "weights of a BertModel are not there .encoder.layer.1.output.dense.weight"),
        (pickled, "there is neither model.safetensors nor model.safetensors.index.json"),
        (cut, "sentence_bert_config.json: it is no JSON"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused_before_anything_else(tmp_path: Path, spoil: Any, message: str) -> None:
    folder = write_random(WORDS, tmp_path / "random")
    assert [each.check for each in examine_encoder(folder)] == ["files", "weights", "encoder", "padding"]
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        examine_encoder(folder)


def test_heads_that_another_class_put_on_it_do_not_matter(tmp_path: Path) -> None:
    folder = write_random(WORDS, tmp_path / "masked")
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(folder)
    BertForMaskedLM(config).save_pretrained(folder)
    assert examine_encoder(folder)


def test_a_text_is_no_longer_than_folder_tokenizer_and_positions_allow(tmp_path: Path) -> None:
    folder = write_bag_of_words(WORDS, tmp_path / "bag", tokens=1000)
    assert open_encoder(folder).most_tokens == 64
    write_modules(folder, 12)
    assert open_encoder(folder).most_tokens == 12


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(bytes_to_unicode().values())}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!")


def word_pieces() -> PreTrainedTokenizerFast:
    """As an English BERT has it: Hangul becomes single jamo."""
    pieces = ["[PAD]", "[UNK]", "lamp", "##s", "ᄇ", "ᄋ", "##ᅢ", "##ᅩ", "##ᆼ", "##ᄋ", "的"]
    tokenizer = Tokenizer(WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


@pytest.mark.conformance(
    "an encoder whose tokenizer does not know a language", equation="models.sentence_encoder:SentenceEncoder"
)
@pytest.mark.parametrize(
    ("make", "text", "found"),
    [
        (byte_level, "ab, é 등", (2, 4)),  # é is two bytes, 등 three
        (word_pieces, "Lamps", (0, 5)),
        (word_pieces, "lamps grün", (4, 9)),  # one unknown token of four letters
        (word_pieces, "배", (1, 1)),
        (word_pieces, "的", (0, 1)),
    ],
)
def test_letters_that_are_unknown_or_cut_are_counted(bag: Path, make: Any, text: str, found: tuple[int, int]) -> None:
    model = open_encoder(bag)._model
    assert SentenceEncoder(model, make(), Manner()).cut_letters([text]) == found
