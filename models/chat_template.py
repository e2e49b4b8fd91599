"""A tokenizer's chat template as a skeleton: what it writes around messages, and where the model's turn begins and
ends.

The template is applied to placeholders, never to what people or models wrote. Some templates look into messages: they
cut the thoughts off earlier answers, or take a switch out of the system message. What they look for is left in sight
there; everything else stays behind placeholders.
"""

import re
from ast import literal_eval
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from models.config import TEMPLATE_DATE

DATE_KEY = "template_date"  # in tokenizer_config.json: what a template is told that asks for the date

# Of a message, what the template is shown: a string as it is, or None for a text behind a placeholder.
Layout = tuple[str | None, ...]
# Roles and layouts of the messages of a dialogue.
Outline = tuple[tuple[str, Layout], ...]

# Private-use characters: they survive every template's strip() and never occur next to each other in real text.
_OPEN, _CLOSE = "\ue000", "\ue001"
PLACEHOLDER = re.compile(f"{_OPEN}(\\d+)\\.(\\d+){_CLOSE}")  # message, text of the message
_OPAQUE: Layout = (None,)
_STRING = r"""('[^'\n]+'|"[^"\n]+")"""
_CLOCK = re.compile(rf"strftime_now\(\s*{_STRING}\s*\)")
_METHODS = "split|replace|partition|startswith|endswith|find"
_LOOKS = re.compile(rf"\.\w*(?:{_METHODS})\(\s*{_STRING}|{_STRING}\s+(?:not\s+)?in\s")


@dataclass(frozen=True)
class Segment:
    """A part of a skeleton. `spoken`: the model says it, as message number `message`; else that is the message before
    which, at the latest, the model speaks."""

    text: str
    message: int
    spoken: bool


@dataclass(frozen=True)
class Turn:
    """What stands around the words of an answer, behind the prompt: what the template writes before them, what of that
    the model says, what comes after them, and the token that ends the turn."""

    written: str
    said: str
    trail: str
    end: str


class ChatTemplate:
    """Raises ValueError where the tokenizer has no template, and from every method where the template refuses the
    roles that it is given."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, day: date | None, end_tokens: Iterable[str]) -> None:
        """`day` is what a template is told that asks for the date; None for the one that the tokenizer was saved with.
        `end_tokens` end a turn where the template itself writes no end behind an answer."""
        if not tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template: add chat_template.jinja to its folder, or use a chat model as base"
            )
        self.tokenizer = tokenizer
        self._text = lru_cache(maxsize=512)(self._apply)
        self.turn = lru_cache(maxsize=512)(self._turn)
        self.opened = lru_cache(maxsize=512)(self._opened)
        source = tokenizer.get_chat_template()
        asks = "strftime_now" in source or "date_string" in source
        if asks and day is not None:
            tokenizer.init_kwargs[DATE_KEY] = day.isoformat()  # goes into the folder of every checkpoint
        saved = date.fromisoformat(tokenizer.init_kwargs.get(DATE_KEY, TEMPLATE_DATE.isoformat()))
        self.day: date | None = saved if asks else None
        # The template, with its clock stopped.
        self.source = _CLOCK.sub(lambda call: repr(saved.strftime(_literal(call[1]))), source)
        if "strftime_now(" in self.source:
            raise ValueError("the chat template makes the format of the date itself: write the format into the call")
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= set(tokenizer.all_special_tokens)
        if not special:
            raise ValueError("the tokenizer has no special token: nothing could end a turn")
        ordinary = {str(token) for token in tokenizer.added_tokens_decoder.values()} - special
        looked_for = _looked_for(source, special)
        self._looked_for = _any_of(looked_for) if looked_for else None
        # Tokens that are not special, but with which the template marks roles all the same (DeepSeek's `<｜User｜>`).
        candidates = frozenset(token for token in ordinary - looked_for if _is_mark(token))
        self.marks = self._role_marks(candidates, special)
        self.formatting = frozenset(special | self.marks)
        self._blocks = {block for block in (ordinary | looked_for) - self.marks if _is_mark(block)}
        self.tokens = _any_of(self.formatting)
        self._end_tokens = frozenset(end_tokens)

    def layout(self, role: str, content: str) -> tuple[Layout, tuple[str, ...]]:
        """What of a message the template is shown, and the texts that it is not shown."""
        if self._looked_for is None or role == "user" or not self._looked_for.search(content):
            return _OPAQUE, (content,)
        shown: list[str | None] = []
        texts: list[str] = []
        for k, part in enumerate(self._looked_for.split(content)):
            core = "" if k % 2 else part.strip()
            if not core:
                shown.append(part)
                continue
            before, _, after = part.partition(core)  # a template strips blanks: they must be in its sight
            shown += [before, None, after]
            texts.append(core)
        return tuple(part for part in shown if part != ""), tuple(texts)

    def prompt(self, outline: Outline) -> list[Segment]:
        """The template's text up to the place where the model speaks after these messages.

        It is cut around each earlier answer that stands there as the model said it, behind the prompt that it was said
        to. An answer that the template rewrites in the dialogue that follows is text to read.
        """
        full, done, segments = self._text(outline, True), 0, list[Segment]()
        for i, (role, _) in enumerate(outline):
            if role != "assistant":
                continue
            before = self._text(outline[:i], True)
            said = self.said(outline[: i + 1])
            if len(before) >= done and full.startswith(before + said):
                segments += [Segment(full[done : len(before)], i - 1, False), Segment(said, i, True)]
                done = len(before) + len(said)
        segments.append(Segment(full[done:], len(outline) - 1, False))
        for i, (role, layout) in enumerate(outline):
            if role != "assistant" and None in layout and f"{_OPEN}{i}.0{_CLOSE}" not in full:
                raise ValueError(f"the chat template leaves out message {i + 1} of {_roles(outline)}")
        return segments

    def said(self, outline: Outline, *, as_written: bool = False) -> str:
        """The last message, an answer, as the model would say it behind the prompt, with the end of its turn; or as the
        template writes it there."""
        turn = self.turn(outline[:-1])
        lead = turn.written if as_written else turn.said
        return f"{lead}{_shown(len(outline) - 1, outline[-1][1])}{turn.trail}{turn.end}"

    def _opened(self, outline: Outline) -> str:
        """The block that the prompt after these messages has opened for the model (`<think>`), or nothing."""
        before = self._text(outline, True).rstrip()
        return max((block for block in self._blocks if before.endswith(block)), key=len, default="")

    def _turn(self, outline: Outline) -> Turn:
        """What stands around the words of an answer to these messages.

        Between prompt and words the template may write something of its own (Qwen3: an empty block of thoughts), which
        no model says. Blanks are how the first word is written, and tokens that no text can hold (gpt-oss: the channel)
        have to be said.
        """
        i = len(outline)
        before, place = self._text(outline, True), f"{_OPEN}{i}.0{_CLOSE}"
        after = self._text((*outline, ("assistant", _OPAQUE)), False)
        if place not in after:
            raise ValueError(f"the chat template leaves out the answer to {_roles(outline)}")
        head, _, tail = after.partition(place)
        written = head.removeprefix(before) if head.startswith(before) else ""
        said = "" if written.strip() and not self.tokens.search(written) else written
        found = self.tokens.search(tail)
        if not found:
            return Turn(written, said, "", self._unwritten_end(outline))
        end, following = found, self.tokens.match(tail, found.end())
        while following and end.group() not in self._end_tokens:  # Cohere ends the words first, and then the turn
            end = following if following.group() in self._end_tokens else end
            following = self.tokens.match(tail, following.end())
        return Turn(written, said, tail[: end.start()], end.group())

    def _unwritten_end(self, outline: Outline) -> str:
        """GLM-4's turns end with the `<|user|>` of the next one; others with the end of sequence alone."""
        if outline and outline[-1][0] == "user":
            more = (*outline, ("assistant", _OPAQUE), ("user", _OPAQUE))
            _, _, tail = self._text(more, True).partition(f"{_OPEN}{len(outline)}.0{_CLOSE}")
            found = self.tokens.match(tail)
            if found and found.group() in self._end_tokens:
                return found.group()
        if self.tokenizer.eos_token is None:
            raise ValueError("the chat template writes no token behind an answer, and the tokenizer has no eos_token")
        return str(self.tokenizer.eos_token)

    def _role_marks(self, ordinary: frozenset[str], special: set[str]) -> frozenset[str]:
        """Those of the tokens that begin or end a turn. What the template writes inside of the model's turn (`<think>`)
        the model says too."""
        if not ordinary:
            return ordinary
        user, system, answer = ("user", _OPAQUE), ("system", _OPAQUE), ("assistant", _OPAQUE)
        tokens, found = _any_of(ordinary | special), set[str]()
        asked = self._text((user,), False)
        found.update(tokens.findall(asked))
        with suppress(ValueError):  # not every template takes a system message
            found.update(tokens.findall(self._text((system, user), False)))
        _, _, end = self._text((user, answer), False).partition(f"{_OPEN}1.0{_CLOSE}")
        for behind in (self._text((user,), True).removeprefix(asked), end):
            found.update(tokens.findall(behind)[:1])
        return frozenset(found & ordinary)

    def _apply(self, outline: Outline, generation_prompt: bool) -> str:
        messages = [{"role": role, "content": _shown(i, layout)} for i, (role, layout) in enumerate(outline)]
        told = {} if self.day is None else {"date_string": self.day.strftime("%d %b %Y")}
        try:
            return cast(
                str,
                self.tokenizer.apply_chat_template(
                    messages,
                    chat_template=self.source,
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                    **told,  # type: ignore[arg-type]  # what is told goes on to the template
                ),
            )
        except (TemplateError, TypeError, LookupError) as error:
            raise ValueError(f"the chat template refuses a dialogue of {_roles(outline)}: {error}") from None


def _shown(message: int, layout: Layout) -> str:
    """A message as the template sees it."""
    numbers = iter(range(len(layout)))
    return "".join(f"{_OPEN}{message}.{next(numbers)}{_CLOSE}" if part is None else part for part in layout)


def _looked_for(source: str, special: set[str]) -> set[str]:
    """Strings that the template looks for in messages. Words are none (`"content" in message` asks for a field), and
    special tokens are never in a text."""
    found = {_literal(first or second).strip() for first, second in _LOOKS.findall(source)}
    return {text for text in found if _is_mark(text) and not any(token in text for token in special)}


def _literal(string: str) -> str:
    return str(literal_eval(string))


def _is_mark(text: str) -> bool:
    """`<think>`, `/no_think`, `[INST]`, but neither a word nor digits nor blanks nor punctuation."""
    return bool(re.search(r"[^\W_]", text)) and bool(re.search(r"[^\w\s]", text)) and not re.search(r"\s", text)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text)))) + ")")


def _roles(outline: Outline) -> str:
    return "the roles " + ", ".join(role for role, _ in outline) if outline else "no messages"
