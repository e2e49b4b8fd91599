"""SentencePiece BPE as Llama 1 and 2 use it, opened as a transformers tokenizer. Llama 3's byte-level BPE opens too.

Llama 2 (arXiv 2307.09288), section 2.2: byte-pair encoding by SentencePiece, all numbers split into single digits,
unknown UTF-8 characters fall back to bytes. The marks of a dialogue (``[INST]`` …) are control symbols here: no text
that a user or a model writes can encode to them.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase

from models.config import TokenizerConfig

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
                sentence_iterator=_sentences(texts, config.max_sentence_length),
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
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.pad_token = _padding(tokenizer)
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the tokenizer's files, SentencePiece's `tokenizer.model` among them where it was opened from one: other
    tools read that alone."""
    tokenizer.save_pretrained(folder)
    model_file = Path(tokenizer.name_or_path) / "tokenizer.model"
    if model_file.is_file() and model_file.parent.resolve() != folder.resolve():
        shutil.copyfile(model_file, folder / "tokenizer.model")


def _padding(tokenizer: PreTrainedTokenizerBase) -> str:
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
    return max(free, key=worth)[1] if free else str(tokenizer.eos_token)


def _sentences(texts: Iterable[str], limit: int) -> Iterator[str]:
    """SentencePiece wants one sentence a row; long lines are cut at `limit` characters, not skipped."""
    for text in texts:
        for line in text.splitlines():
            for start in range(0, len(line), limit):
                yield " " + line[start : start + limit]
