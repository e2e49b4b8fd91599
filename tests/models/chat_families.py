"""Little tokenizers with the special tokens, added tokens and chat templates of the families that people bring.

Vocabularies are small; what matters for rendering (which tokens are special, which take blanks, whether a blank is put
before the first word, what ends a turn) is as in the published folders. Templates are TRL's installed files where it
has them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import trl
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase

from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tests.models.conftest import CORPUS
from tests.models.llama3_files import WORDS

LLAMA_2 = (
    "{%- if messages[0].role == 'system' -%}{%- set rest = messages[1:] -%}"
    "{%- set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' -%}"
    "{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}{%- endif -%}"
    "{%- for m in rest -%}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('roles must alternate') -}}{%- endif -%}"
    "{%- if m.role == 'user' -%}{{- bos_token + '[INST] ' + (system if loop.first else '') + m.content + ' [/INST]' -}}"
    "{%- else -%}{{- ' ' + m.content + ' ' + eos_token -}}{%- endif -%}{%- endfor -%}"
)
# The system message stands in the last turn alone, so that earlier turns change.
MISTRAL = (
    "{{- bos_token -}}{%- if messages[0].role == 'system' -%}{%- set rest = messages[1:] -%}"
    "{%- set system = messages[0].content + '\n\n' -%}"
    "{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}{%- endif -%}"
    "{%- for m in rest -%}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('roles must alternate') -}}{%- endif -%}"
    "{%- if m.role == 'user' -%}{{- '[INST] ' + (system if loop.last else '') + m.content + '[/INST]' -}}"
    "{%- else -%}{{- ' ' + m.content + eos_token -}}{%- endif -%}{%- endfor -%}"
)
OLMO_2 = (
    "{{- bos_token -}}{%- for m in messages -%}"
    "{%- if m.role == 'assistant' -%}{{- '<|assistant|>\n' + m.content + eos_token + ('' if loop.last else '\n') -}}"
    "{%- else -%}{{- '<|' + m.role + '|>\n' + m.content + '\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}"
)
# The system message can switch thoughts off; the template writes an empty block of them then, for the model too.
SMOLLM_3 = (
    "{%- set said = messages[0].content if messages[0].role == 'system' else '' -%}"
    "{%- set block = '<think>\n\n</think>\n\n' if '/no_think' in said else '' -%}"
    "{{- '<|im_start|>system\nToday Date: ' + strftime_now('%d %B %Y') + '\n' -}}"
    "{{- said.replace('/no_think', '').rstrip() + '<|im_end|>\n' -}}"
    "{%- for m in messages -%}{%- if m.role != 'system' -%}"
    "{{- '<|im_start|>' + m.role + '\n' + (block if m.role == 'assistant' else '') + m.content + '<|im_end|>\n' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' + block -}}{%- endif -%}"
)
# GLM-4 writes no end of turn: the next turn's first token is the end.
GLM_4 = (
    "[gMASK]<sop>{%- for m in messages -%}{{- '<|' + m.role + '|>\n' + m.content -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THOUGHTS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
TURNS = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


@dataclass(frozen=True)
class Family:
    """What makes a family's tokenizer its own. `ends` are what generation_config.json names."""

    template: Callable[[], str]
    special: tuple[str, ...]
    eos: str
    ordinary: tuple[str, ...] = ()
    bos: str | None = None
    ends: tuple[str, ...] = ()
    sentencepiece: bool = False
    first_blank: bool = False
    takes_blanks: tuple[str, ...] = ()


def _trl(name: str) -> Callable[[], str]:
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text


LLAMA_3 = tuple(
    f"<|{name}|>" for name in ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eot_id", "eom_id")
)
GPT_OSS = tuple(
    f"<|{name}|>" for name in ("startoftext", "endoftext", "start", "end", "message", "channel", "return", "call")
)

COHERE = (
    *("BOS_TOKEN", "START_OF_TURN_TOKEN", "END_OF_TURN_TOKEN", "SYSTEM_TOKEN", "USER_TOKEN", "CHATBOT_TOKEN"),
    *("START_RESPONSE", "END_RESPONSE"),
)
GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
DEEPSEEK = tuple(f"<｜{name}▁of▁sentence｜>" for name in ("begin", "end"))

FAMILIES: dict[str, Family] = {
    "SmolLM2": Family(_trl("qwen2_5"), CHATML, "<|im_end|>"),
    "SmolLM3": Family(lambda: SMOLLM_3, CHATML, "<|im_end|>", THOUGHTS),
    "Llama 2": Family(
        lambda: LLAMA_2, ("<unk>", "<s>", "</s>"), "</s>", bos="<s>", sentencepiece=True, first_blank=True
    ),
    "Llama 3.1": Family(
        _trl("llama3_1"), LLAMA_3, "<|eot_id|>", bos=LLAMA_3[0], ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
    ),
    "Llama 3.2": Family(_trl("llama3_2"), LLAMA_3, "<|eot_id|>", bos=LLAMA_3[0]),
    "Qwen2.5": Family(_trl("qwen2_5"), CHATML, "<|im_end|>", THOUGHTS[2:], ends=("<|im_end|>", "<|endoftext|>")),
    "Qwen base": Family(_trl("qwen2_5"), CHATML, "<|endoftext|>", THOUGHTS[2:]),
    "Qwen3": Family(_trl("qwen3"), CHATML, "<|im_end|>", THOUGHTS, ends=("<|im_end|>", "<|endoftext|>")),
    "Qwen3.5": Family(_trl("qwen3_5_think"), CHATML, "<|im_end|>", THOUGHTS),
    "Gemma 3": Family(
        _trl("gemma3"),
        GEMMA,
        "<eos>",
        ("\n\n", "<table>", *"0123456789", "lamp"),
        bos="<bos>",
        ends=("<eos>", "<end_of_turn>"),
        sentencepiece=True,
    ),
    "Phi-3": Family(
        _trl("phi3"),
        ("<unk>", "<s>", "<|endoftext|>", *TURNS[:3], "<|end|>"),
        "<|endoftext|>",
        bos="<s>",
        sentencepiece=True,
        first_blank=True,
        takes_blanks=(*TURNS[:3], "<|end|>"),
    ),
    "Mistral": Family(
        lambda: MISTRAL, ("<unk>", "<s>", "</s>"), "</s>", bos="<s>", sentencepiece=True, first_blank=True
    ),
    "OLMo 2": Family(lambda: OLMO_2, ("<|endoftext|>",), "<|endoftext|>", bos="<|endoftext|>"),
    "GLM-4": Family(
        lambda: GLM_4,
        ("<|endoftext|>", "[gMASK]", "<sop>", *TURNS),
        "<|endoftext|>",
        ends=("<|endoftext|>", "<|user|>", "<|observation|>"),
    ),
    "DeepSeek distill": Family(
        _trl("deepseek_r1_distill"),
        DEEPSEEK,
        DEEPSEEK[1],
        ("<｜User｜>", "<｜Assistant｜>", *THOUGHTS[:2]),
        bos=DEEPSEEK[0],
    ),
    "Cohere": Family(
        _trl("cohere2"),
        tuple(f"<|{name}|>" for name in COHERE),
        "<|END_OF_TURN_TOKEN|>",
        bos="<|BOS_TOKEN|>",
    ),
    "gpt-oss": Family(_trl("gptoss"), GPT_OSS, "<|return|>", bos="<|startoftext|>", ends=("<|return|>", "<|call|>")),
}


def write_family(name: str, folder: Path) -> Path:
    """The family's tokenizer as a folder that transformers opens."""
    family = FAMILIES[name]
    made = _sentencepiece(family.first_blank) if family.sentencepiece else _byte_level()
    made.add_special_tokens(
        [AddedToken(token, normalized=False, rstrip=token in family.takes_blanks) for token in family.special]
    )
    made.add_tokens([AddedToken(token, normalized=False, special=False) for token in family.ordinary])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": family.eos, "chat_template": family.template()}
    if family.bos:
        config["bos_token"] = family.bos
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    if family.ends:
        ends = [made.token_to_id(token) for token in family.ends]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


def with_template(tokenizer: PreTrainedTokenizerBase, template: str) -> Renderer:
    """A renderer of the same tokenizer with another template."""
    tokenizer.chat_template = template
    return Renderer(tokenizer)


def _byte_level() -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    return bpe


def _sentencepiece(first_blank: bool) -> tokenizers.Tokenizer:
    """As transformers converts SentencePiece's: blanks are `▁`, what has no piece is bytes."""
    plain = [line.replace(" ", "▁") for line in CORPUS if line.isascii()]
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(
        [f"▁{line}" for line in plain],
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=["▁"], show_progress=False),
    )
    content = json.loads(trained.to_str())["model"]
    vocab = {"<unk>": 0, **{f"<0x{value:02X}>": value + 1 for value in range(256)}}
    for piece in content["vocab"]:
        if not piece.isspace():
            vocab.setdefault(piece, len(vocab))
    merges = [tuple(pair) for pair in content["merges"] if all(part in vocab for part in (*pair, "".join(pair)))]
    bpe = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *steps] if first_blank else steps)
    strip = [decoders.Strip(" ", 1, 0)] if first_blank else []
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return bpe


def renderer_of(name: str, folder: Path) -> Renderer:
    """The renderer of a family, its folder written first."""
    return Renderer(load_tokenizer(write_family(name, folder)))
