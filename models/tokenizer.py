"""SentencePiece BPE as Llama 1 and 2 use it, opened as a transformers tokenizer. Llama 3's byte-level BPE opens too.

Llama 2 (arXiv 2307.09288), section 2.2: byte-pair encoding by SentencePiece, all numbers split into single digits,
unknown UTF-8 characters fall back to bytes. The marks of a dialogue (``[INST]`` …) are control symbols here: no text
that a user or a model writes can encode to them.
"""

import codecs
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import cast

import sentencepiece
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from models.config import TokenizerConfig

ENDS_KEY = "end_token_ids"  # in tokenizer_config.json: ids at which the model stops beside its end of sequence

CONTROL_SYMBOLS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")

# Llama 2's dialogue format. `generation` marks what the model says, its end of sequence included, for loss masks.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = '<<SYS>> ' + messages[0]['content'].strip() + '<</SYS>>' -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set system = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for message in turns -%}"
    "{%- if message['role'] != ('user' if loop.index0 is even else 'assistant') -%}"
    "{{- raise_exception('roles must alternate user/assistant, after at most one system message') -}}{%- endif -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- bos_token + '[INST]' + (system if loop.first else '') + ' ' + message['content'].strip() + '[/INST]' -}}"
    "{%- else -%}{%- generation -%}{{- ' ' + message['content'].strip() + eos_token -}}{%- endgeneration -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


def train_tokenizer(texts: Iterable[str], folder: Path, config: TokenizerConfig, seed: int) -> PreTrainedTokenizerBase:
    """Train SentencePiece BPE on `texts` and write a folder that `AutoTokenizer.from_pretrained` opens.

    The folder holds `tokenizer.model` (SentencePiece), `tokenizer.json` and `tokenizer_config.json`.
    Raises ValueError where the text holds too few different pieces for `config.vocab_size`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model_file = folder / "tokenizer.model"
    sentencepiece.set_random_generator_seed(seed % 2**32)
    try:
        with model_file.open("wb") as out:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=sentences(texts, config.max_sentence_length),
                model_writer=out,
                model_type="bpe",
                vocab_size=config.vocab_size,
                character_coverage=config.character_coverage,
                split_digits=True,
                byte_fallback=True,
                allow_whitespace_only_pieces=True,
                remove_extra_whitespaces=False,
                # with a dummy prefix transformers and SentencePiece disagree on texts that begin with a space
                add_dummy_prefix=False,
                normalization_rule_name="identity",
                max_sentence_length=4 * config.max_sentence_length,
                input_sentence_size=config.sample_sentences,
                shuffle_input_sentence=True,
                num_threads=1,
                unk_id=0,
                bos_id=1,
                eos_id=2,
                pad_id=3,
                pad_piece="<pad>",
                control_symbols=list(CONTROL_SYMBOLS),
                minloglevel=2,
            )
    except RuntimeError as error:
        raise ValueError(
            f"SentencePiece could not make {config.vocab_size} pieces of this corpus: {error}. "
            "Lower tokenizer.vocab_size or give more text."
        ) from error
    tokenizer = LlamaTokenizer.from_pretrained(
        folder,
        bos_token="<s>",  # noqa: S106  (names of tokens, not passwords)
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        additional_special_tokens=list(CONTROL_SYMBOLS),
        padding_side="right",
        add_prefix_space=False,
        add_bos_token=False,  # one BOS, set where a dialogue or document is rendered
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Open a tokenizer folder, SentencePiece or byte-level BPE, never the network.

    One that has no padding token, or pads with its end of sequence, gets another of its special tokens for it. Plain
    transformers reads the score of a dialogue at the last token that is no padding; with the end as padding that is the
    one before its end. Nothing is added: no id and no embedding changes.

    The ids at which the folder's model stops (`eos_token_id` of generation_config.json, else of config.json) go with
    the tokenizer into every checkpoint: an adapter's folder has neither file. Raises ValueError where such a file
    cannot be read.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.pad_token = _padding(tokenizer)  # None where no token is special
    ends = {*_declared_ends(folder), *declared_ends(tokenizer)} - {tokenizer.eos_token_id}
    if ends:
        tokenizer.init_kwargs[ENDS_KEY] = sorted(ends)
    return tokenizer


def declared_ends(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids at which the model stops beside its end of sequence, as `load_tokenizer` found them."""
    return list(tokenizer.init_kwargs.get(ENDS_KEY, ()))


def _declared_ends(folder: Path) -> list[int]:
    return ends_in(folder / "generation_config.json") or ends_in(folder / "config.json")


def ends_in(path: Path) -> list[int]:
    """Ids at which the model stops by a config file of its folder; none where the file is absent or names none.

    Raises ValueError where it is no such file.
    """
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (ValueError, AttributeError):
        raise ValueError(f"{path}: it is no JSON with keys and values: copy it again") from None
    return [found] if isinstance(found, int) else list(found or ())


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of ids. Every character that is whole is kept; of one that is cut off at the end nothing is.

    The decoder of SentencePiece's bytes gives up all characters of a run of them where one is broken.
    """
    said = tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    text = said if isinstance(said, str) else said[0]
    if "\ufffd" not in text:
        return text
    tokens = cast(list[str], tokenizer.convert_ids_to_tokens(list(ids)))
    runs = [(is_byte, list(run)) for is_byte, run in groupby(tokens, lambda token: token in _byte_tokens())]
    if any(is_byte for is_byte, _ in runs):
        whole: list[str] = []
        for number, (is_byte, run) in enumerate(runs, start=1):
            whole += [_utf8((_byte_tokens()[token] for token in run), number == len(runs))] if is_byte else run
        return tokenizer.convert_tokens_to_string(whole)
    letters = _letter_bytes()
    tail = [letters[letter] for token in tokens[-4:] for letter in token if letter in letters]
    return text[: len(text) - (len(_utf8(tail, cut=False)) - len(_utf8(tail, cut=True)))]


def _utf8(values: Iterable[int], cut: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(values), final=not cut)


@lru_cache(maxsize=1)
def _byte_tokens() -> dict[str, int]:
    """SentencePiece's tokens for single bytes."""
    return {f"<0x{value:02X}>": value for value in range(256)}


@lru_cache(maxsize=1)
def _letter_bytes() -> dict[str, int]:
    """The letters with which byte-level vocabularies write bytes."""
    return {letter: value for value, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase, *more: object) -> str:
    """A short hash of what decides ids: vocabulary, merges, added tokens, the tokens that open and close, the chat
    template, and `more`. What only pads or cuts rows is not in it."""
    special = {str(token): [id, token.special] for id, token in tokenizer.added_tokens_decoder.items()}
    decides: list[object] = [special, tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template, *more]
    if tokenizer.is_fast:
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        decides += [content[part] for part in ("normalizer", "pre_tokenizer", "model", "added_tokens")]
    else:
        decides += [type(tokenizer).__name__, tokenizer.get_vocab()]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the tokenizer's files, SentencePiece's `tokenizer.model` among them where it was opened from one: other
    tools read that alone."""
    tokenizer.save_pretrained(folder)
    model_file = Path(tokenizer.name_or_path) / "tokenizer.model"
    if model_file.is_file() and model_file.parent.resolve() != folder.resolve():
        shutil.copyfile(model_file, folder / "tokenizer.model")


def _padding(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The special token that serves best for padding: the one for unknown characters (Llama 2), one that is called so
    or is kept free (Llama 3), one that the chat template does not write, any other; no dialogue ends with it. The end
    of sequence where there is no other."""
    specials = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    template = str(tokenizer.chat_template)

    def worth(entry: tuple[int, str]) -> tuple[bool, ...]:
        _, token = entry
        name = token.lower()
        return (
            token == tokenizer.unk_token,
            "pad" in name,
            "reserved" in name or "unused" in name,
            token not in template and token != tokenizer.bos_token,
        )

    free = [entry for entry in sorted(specials.items()) if entry[1] != tokenizer.eos_token]
    return max(free, key=worth)[1] if free else cast(str | None, tokenizer.eos_token)


def sentences(texts: Iterable[str], limit: int) -> Iterator[str]:
    """SentencePiece wants one sentence a row; long lines are cut at `limit` characters, not skipped."""
    for text in texts:
        for line in text.splitlines():
            for start in range(0, len(line), limit):
                yield " " + line[start : start + limit]
