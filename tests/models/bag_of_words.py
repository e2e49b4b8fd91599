"""A sentence encoder whose vectors can be worked out by hand: a BERT without layers whose embeddings are one-hot, so
that the mean over tokens is a bag of words; two texts of three words each with two in common have the cosine 2/3."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def write_tokenizer(words: Sequence[str], folder: Path) -> int:
    """A token for each word, in small letters; gives the size of the vocabulary."""
    vocab = {word: place for place, word in enumerate(("[PAD]", "[UNK]", *words))}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return len(vocab)


def write_modules(folder: Path, tokens: int, **pooling: object) -> None:
    """What sentence-transformers writes beside a model."""
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": tokens}))


def write_bag_of_words(words: Sequence[str], folder: Path, tokens: int = 16) -> Path:
    """The encoder's folder. The norm of embeddings is made to leave one-hot vectors as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(words, folder)
    config = BertConfig(
        vocab_size=size,
        hidden_size=size,
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        of = model.embeddings
        of.word_embeddings.weight.copy_(torch.eye(size))
        of.position_embeddings.weight.zero_()
        of.token_type_embeddings.weight.zero_()
        of.LayerNorm.weight.fill_((1 / size - 1 / size**2 + config.layer_norm_eps) ** 0.5)
        of.LayerNorm.bias.fill_(1 / size)
    model.save_pretrained(folder)
    write_modules(folder, tokens)
    return folder


def write_random(words: Sequence[str], folder: Path, seed: int = 0) -> Path:
    """A BERT that has learned nothing, over the same kind of tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=write_tokenizer(words, folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    write_modules(folder, 32)
    return folder
