"""Dialogues as token ids: one renderer for SFT, reward models, rollouts, evaluation and chat.

Any chat template works. The template is applied to placeholders, never to what people or models wrote, and each run of
plain text is then encoded with control tokens disabled: a user who types ``<s>`` or ``[INST]`` gets those letters, not
the control token. What the model says is encoded apart from what it reads, exactly as sampling does it, so prompt ids
are always a prefix of the full ids.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import cast

from transformers import PreTrainedTokenizerBase

# Llama 3.2's template writes today's date into each prompt unless it is given one: ids, and all that is learned from
# them, would be others tomorrow. Llama 3.1's template names this one.
TEMPLATE_DATE = "26 Jul 2024"

Message = Mapping[str, str]

# Private-use characters: they survive every template's strip() and never occur next to each other in real text.
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACEHOLDER = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


@dataclass(frozen=True)
class Rendered:
    """Token ids of one dialogue.

    `loss_mask[t]` is True where the model itself says token t (the end of sequence of each of its turns included).
    `message_lengths[i]` is the number of tokens of message i; control tokens count to the message that they introduce,
    those that ask for an answer to the message before it.
    """

    input_ids: list[int]
    loss_mask: list[bool]
    message_lengths: list[int]


@dataclass(frozen=True)
class _Piece:
    """A control token (`special`), or plain text: literal parts and placeholders of messages, to be encoded as one
    run."""

    special: int | None
    parts: tuple[str | int, ...]
    message: int


class Renderer:
    """Turns messages into token ids for one tokenizer. Raises ValueError where a chat template cannot serve."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template: add chat_template.jinja to its folder, or use a chat model as base"
            )
        self.tokenizer = tokenizer
        self.eos_id: int = tokenizer.eos_token_id
        self.end_ids: tuple[int, ...] = (self.eos_id,)
        self.pad_id: int = tokenizer.pad_token_id
        specials = sorted(
            {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens),
            key=len,
            reverse=True,
        )
        self._specials = re.compile("(" + "|".join(map(re.escape, specials)) + ")")
        self._special_id = {token: cast(int, tokenizer.convert_tokens_to_ids(token)) for token in specials}
        # Text never encodes to these, so in a rendered dialogue they are its format.
        self.formatting_ids: frozenset[int] = frozenset(self._special_id.values())
        self._pieces = lru_cache(maxsize=512)(self._compile)
        self._encode = lru_cache(maxsize=100_000)(self._encode_run)

    @cached_property
    def identity(self) -> str:
        """A short hash of what decides ids: equal for tokenizers that render alike."""
        added = sorted((number, str(token)) for number, token in self.tokenizer.added_tokens_decoder.items())
        decides = [sorted(self.tokenizer.get_vocab().items()), added, self.tokenizer.chat_template, TEMPLATE_DATE]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]

    def dialogue(self, messages: Sequence[Message], answer_ids: Sequence[int] | None = None) -> Rendered:
        """All turns of a dialogue that ends with the assistant.

        `answer_ids`: the ids of its last turn as they were sampled, with an end where the model said one; the turn is
        exactly these. Without them it is the text, with the template's end.
        """
        if not messages or messages[-1]["role"] != "assistant":
            raise ValueError("a dialogue to learn from must end with an assistant message")
        if answer_ids is None:
            return self._render(messages, generation_prompt=False)
        asked = self._render(messages[:-1], generation_prompt=True)
        return Rendered(
            [*asked.input_ids, *answer_ids],
            [*asked.loss_mask, *[True] * len(answer_ids)],
            [*asked.message_lengths, len(answer_ids)],
        )

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to the place where the model speaks. Raises ValueError unless the last message is the user's."""
        if not messages or messages[-1]["role"] != "user":
            raise ValueError("a prompt must end with a user message")
        return self._render(messages, generation_prompt=True).input_ids

    def response(self, ids: Iterable[int]) -> str:
        """The text of sampled ids, control tokens dropped."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    def documents(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """Each document of the corpus for pretraining: BOS, text, EOS."""
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        rest = iter(texts)
        while batch := [" " + text for text in islice(rest, 1000)]:
            for ids in self._encode_runs(batch):
                yield [*bos, *ids, self.eos_id]

    def _render(self, messages: Sequence[Message], generation_prompt: bool) -> Rendered:
        pieces, says = self._pieces(tuple(message["role"] for message in messages), generation_prompt)
        contents = [message["content"].strip() for message in messages]
        ids: list[int] = []
        mask: list[bool] = []
        lengths = [0] * len(messages)
        for piece, spoken in zip(pieces, says, strict=True):
            if piece.special is not None:
                new: Sequence[int] = (piece.special,)
            else:
                new = self._encode("".join(contents[p] if isinstance(p, int) else p for p in piece.parts))
            ids.extend(new)
            mask.extend([spoken] * len(new))
            lengths[piece.message] += len(new)
        return Rendered(ids, mask, lengths)

    def _encode_run(self, text: str) -> tuple[int, ...]:
        (ids,) = self._encode_runs([text])
        return tuple(ids)

    def _encode_runs(self, texts: list[str]) -> list[list[int]]:
        return cast(
            list[list[int]],
            self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"],
        )

    def _template(self, messages: list[dict[str, str]], generation_prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generation_prompt, date_string=TEMPLATE_DATE
            )
        )

    def _compile(self, roles: tuple[str, ...], generation_prompt: bool) -> tuple[tuple[_Piece, ...], tuple[bool, ...]]:
        """The template's skeleton for these roles: pieces, and whether the model says each.

        Every assistant turn is what the template adds to the prompt before it; a template that rewrites earlier turns
        when later ones come cannot be trained on, and is refused.
        """
        messages = [{"role": role, "content": f"{_OPEN}{i}{_CLOSE}"} for i, role in enumerate(roles)]
        full = self._template(messages, generation_prompt)
        pieces: list[_Piece] = []
        says: list[bool] = []
        done = 0
        for i, role in enumerate(roles):
            if role != "assistant":
                continue
            before, after = self._template(messages[:i], True), self._template(messages[: i + 1], False)
            if not (full.startswith(before) and after.startswith(before) and len(before) >= done):
                raise ValueError(f"the chat template changes earlier turns when message {i + 1} ({role}) comes")
            self._split(full[done : len(before)], max(i - 1, 0), pieces, says, spoken=False)
            end = self._end_of_turn(after, before, i)
            if not full.startswith(after[:end]):
                raise ValueError(f"the chat template changes message {i + 1} ({role}) when later ones come")
            self._split(full[len(before) : end], i, pieces, says, spoken=True)
            done = end
        if generation_prompt:  # what a template writes behind the last answer is nobody's
            self._split(full[done:], len(roles) - 1, pieces, says, spoken=False)
        return tuple(pieces), tuple(says)

    def _end_of_turn(self, after: str, before: str, i: int) -> int:
        """Where the model's turn ends: behind its end of sequence. What the template writes after it is never
        learned."""
        eos = str(self.tokenizer.eos_token)
        place = after.find(eos, len(before))
        if place < 0:
            raise ValueError(f"the chat template does not end an assistant message with {eos!r}: message {i + 1}")
        return place + len(eos)

    def _split(self, text: str, message: int, pieces: list[_Piece], says: list[bool], *, spoken: bool) -> None:
        """Cut a part of the skeleton into control tokens and runs of plain text."""
        current = message if spoken else None
        for fragment in self._specials.split(text):
            if not fragment:
                continue
            if fragment in self._special_id:
                pieces.append(_Piece(self._special_id[fragment], (), message))
            else:
                parts: list[str | int] = []
                for k, part in enumerate(_PLACEHOLDER.split(fragment)):
                    if k % 2:
                        parts.append(int(part))
                        current = int(part)
                    elif part:
                        parts.append(part)
                pieces.append(_Piece(None, tuple(parts), message if current is None else current))
            says.append(spoken)
