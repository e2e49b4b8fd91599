"""Dialogues as token ids: one renderer for SFT, reward models, rollouts, evaluation and chat.

Any chat template works. It is applied to placeholders (`models/chat_template.py`), and each run of plain text is then
encoded with control tokens disabled: a user who types ``<s>`` or ``[INST]`` gets those letters, not the control token.
Ordinary added tokens (``</think>``, Gemma's runs of line ends) stay what they are in a text: the model was trained so.

A turn of the model is the prompt before it, what the model says, and the end of its turn, exactly as in sampling.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import islice
from typing import cast

from transformers import PreTrainedTokenizerBase

from models.chat_template import PLACEHOLDER, ChatTemplate, Outline, Segment
from models.text_encoder import TextEncoder
from models.tokenizer import declared_ends, decode, tokenizer_identity

Message = Mapping[str, str]
Texts = Sequence[tuple[str, ...]]  # of each message, what the template was not shown
_Run = list[str | tuple[int, int]]  # literal parts, and texts of messages by message and number


@dataclass(frozen=True)
class Rendered:
    """Token ids of one dialogue.

    `loss_mask[t]` is True where the model itself says token t (the end of each of its turns included).
    `message_lengths[i]` is the number of tokens of message i; control tokens count to the message that they introduce,
    those that ask for an answer to the message before it.
    """

    input_ids: list[int]
    loss_mask: list[bool]
    message_lengths: list[int]


@dataclass(frozen=True)
class _Piece:
    """A control token, or a run of plain text: literal parts and texts of messages, to be encoded as one."""

    token: int | None
    parts: tuple[str | tuple[int, int], ...]
    message: int
    spoken: bool
    goes_on: bool = False


class Renderer:
    """Turns messages into token ids for one tokenizer. Raises ValueError where a chat template cannot serve.

    `end_ids` are the ids at which a turn of the model ends: the template's own end first, then the end of sequence and
    those that the model's folder names. `formatting_ids` are special tokens and those with which the template marks
    roles: no text encodes to them. `template_date` is what the template is told when it asks for the date; by default
    the one that the tokenizer was saved with.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template_date: date | None = None) -> None:
        self.tokenizer = tokenizer
        eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        ends: list[int] = [*eos, *declared_ends(tokenizer)]
        self.template = ChatTemplate(tokenizer, template_date, tokenizer.convert_ids_to_tokens(ends))
        self._token_ids = {token: _id_of(tokenizer, token) for token in self.template.formatting}
        self._names: dict[int | None, str] = {number: token for token, number in self._token_ids.items()}
        self.formatting_ids: frozenset[int] = frozenset(self._token_ids.values())
        turn = self.template.turn((("user", (None,)),))
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys([self._token_ids[turn.end], *ends]))
        self.pad_id: int = self.end_ids[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._unsaid = self.formatting_ids | {*self.end_ids}
        self.text = TextEncoder(tokenizer, self.template.formatting, self.template.marks)
        added = tokenizer.added_tokens_decoder.values()
        self._takes_before = {str(token) for token in added if token.lstrip}  # blanks of the template beside them
        self._takes_after = {str(token) for token in added if token.rstrip}
        self._prompt_pieces = lru_cache(maxsize=512)(self._compile_prompt)
        self._dialogue_pieces = lru_cache(maxsize=512)(self._compile_dialogue)
        # Words come behind what has to be said before them (gpt-oss names the channel, and thinks in another one).
        opening = self.template.tokens.findall(turn.said)[-1:]
        self._opening = self._token_ids[opening[0]] if opening else None

    @cached_property
    def identity(self) -> str:
        """A short hash of what decides ids: equal for two folders whose tokenizers and templates render alike."""
        return tokenizer_identity(self.tokenizer, self.template.day)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to the place where the model speaks, earlier turns as the template shows them to it there. Raises
        ValueError unless the last message is the user's, and where the template refuses the roles."""
        if not messages or messages[-1]["role"] != "user":
            raise ValueError("a prompt must end with a user message")
        outline, texts = self._outline(messages)
        return self._render(self._prompt_pieces(outline), texts, ()).input_ids

    def dialogue(self, messages: Sequence[Message], answer_ids: Sequence[int] | None = None) -> Rendered:
        """The prompt of all messages but the last, and the last, an answer, as it is said there.

        With `answer_ids` the answer is exactly these (an end of the turn included, where one was said); else it is
        its text with the template's end. `loss_mask` is True on the answer and on earlier answers that stand in this
        prompt as they were said. Raises ValueError unless the last message is the assistant's.
        """
        return self._row(messages, answer_ids, range(len(messages)))

    def dialogues(self, messages: Sequence[Message], answer_ids: Sequence[int] | None = None) -> list[Rendered]:
        """Rows in which each answer of a dialogue is learned once, behind the prompt that it was said to.

        One row, that of `dialogue`, where the template leaves earlier turns as they were. Where it rewrites them (takes
        thoughts out, moves the system message) the answers that are rewritten have rows of their own, in order.
        """
        last, rows = len(messages) - 1, list[Rendered]()
        left = {i for i, message in enumerate(messages) if message["role"] == "assistant"}
        outline, _ = self._outline(messages)
        for i in sorted(left | {last}, reverse=True):
            if i in left or i == last:
                said = {i} | {piece.message for piece in self._prompt_pieces(outline[:i]) if piece.spoken}
                rows.append(self._row(messages[: i + 1], answer_ids if i == last else None, said & left))
                left -= said
        return rows[::-1]

    def response(self, ids: Iterable[int]) -> str:
        """The text of sampled ids, control tokens dropped, and so is a character that is cut off at the end."""
        said = list(ids)
        if self._opening in said:
            said = said[len(said) - said[::-1].index(self._opening) :]
        return decode(self.tokenizer, [token for token in said if token not in self._unsaid]).strip()

    def outright(self, messages: Sequence[Message]) -> list[int]:
        """A dialogue with an answer that is given at once: what the template writes between prompt and answer (an empty
        block of thoughts) comes before it, though in sampling the model would say it, or something else."""
        outline, texts = self._outline(messages)
        return self._render(self._dialogue_pieces(outline, as_written=True), texts, ()).input_ids

    def documents(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """Each document of the corpus for pretraining: BOS, text, EOS."""
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        rest = iter(texts)
        while batch := [" " + text for text in islice(rest, 1000)]:
            for ids in self.text.encode_all(batch):
                yield [*bos, *ids, self.tokenizer.eos_token_id]

    def _outline(self, messages: Sequence[Message]) -> tuple[Outline, Texts]:
        cut = [self.template.layout(message["role"], message["content"].strip()) for message in messages]
        roles = (message["role"] for message in messages)
        return tuple((role, layout) for role, (layout, _) in zip(roles, cut, strict=True)), [texts for _, texts in cut]

    def _row(self, messages: Sequence[Message], answer_ids: Sequence[int] | None, learned: Container[int]) -> Rendered:
        """The row of `dialogue`, of which these messages are learned."""
        if not messages or messages[-1]["role"] != "assistant":
            raise ValueError("a dialogue to learn from must end with an assistant message")
        *before, answer = messages
        outline, texts = self._outline(messages)
        opened = self.template.opened(outline[:-1])
        if opened and answer["content"].startswith(opened):  # a text may open the block that the prompt has opened
            outline, texts = self._outline([*before, {**answer, "content": answer["content"].removeprefix(opened)}])
        if answer_ids is None:
            return self._render(self._dialogue_pieces(outline), texts, learned)
        row, said = self._render(self._prompt_pieces(outline[:-1]), texts, learned), list(answer_ids)
        mask = row.loss_mask + [True] * len(said)
        return Rendered(row.input_ids + said, mask, [*row.message_lengths[:-1], len(said)])

    def _render(self, pieces: Sequence[_Piece], texts: Texts, learned: Container[int]) -> Rendered:
        ids: list[int] = []
        mask: list[bool] = []
        lengths = [0] * len(texts)
        for piece in pieces:
            if piece.token is not None:
                new: Sequence[int] = (piece.token,)
            else:
                run = "".join(part if isinstance(part, str) else texts[part[0]][part[1]] for part in piece.parts)
                new = self.text.encode(run, piece.goes_on)
            ids.extend(new)
            mask.extend([piece.spoken and piece.message in learned] * len(new))
            lengths[piece.message] += len(new)
        return Rendered(ids, mask, lengths)

    def _compile_prompt(self, outline: Outline) -> tuple[_Piece, ...]:
        pieces: list[_Piece] = []
        for segment in self.template.prompt(outline):
            self._add(segment, pieces)
        return tuple(pieces)

    def _compile_dialogue(self, outline: Outline, *, as_written: bool = False) -> tuple[_Piece, ...]:
        pieces = list(self._prompt_pieces(outline[:-1]))
        said = self.template.said(outline, as_written=as_written)
        self._add(Segment(said, len(outline) - 1, True), pieces)
        return tuple(pieces)

    def _add(self, segment: Segment, pieces: list[_Piece]) -> None:
        """Cut a segment into control tokens and runs of plain text, and put them behind the pieces before it."""
        runs = self._runs(segment.text, self._names.get(pieces[-1].token) if pieces else None)
        for k, (token, run) in enumerate(runs):
            asked = next((part[0] for _, later in runs[k:] for part in later if not isinstance(part, str)), None)
            message = segment.message if segment.spoken or asked is None else asked
            if token is not None:
                pieces.append(_Piece(self._token_ids[token], (), message, segment.spoken))
            else:
                goes_on = bool(pieces) and self.text.goes_on(behind_control=pieces[-1].token is not None)
                pieces.append(_Piece(None, tuple(run), message, segment.spoken, goes_on))

    def _runs(self, text: str, behind: str | None) -> list[tuple[str | None, _Run]]:
        """Control tokens, each with an empty run, and the runs between them. Blanks that a token takes (Phi-3's do, as
        its tokenizer reads them) are left out; `behind` is the token in front of the text."""
        runs: list[tuple[str | None, _Run]] = [(behind, []), (None, [])]
        places = PLACEHOLDER.split(text)  # text, message, number, text, … : digits of a place are never tokens
        for k in range(0, len(places), 3):
            for n, part in enumerate(self.template.tokens.split(places[k])):
                if n % 2:
                    runs += [(part, []), (None, [])]
                elif part:
                    runs[-1][1].append(part)
            if k + 2 < len(places):
                runs[-1][1].append((int(places[k + 1]), int(places[k + 2])))
        for k in range(1, len(runs), 2):
            run, before, after = runs[k][1], runs[k - 1][0], runs[k + 1][0] if k + 1 < len(runs) else None
            if after in self._takes_before and run and isinstance(run[-1], str):
                run[-1] = run[-1].rstrip()
            if before in self._takes_after and run and isinstance(run[0], str):
                run[0] = run[0].lstrip()
        return [(token, run) for token, run in runs[1:] if token is not None or any(run)]


def _id_of(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    return cast(int, tokenizer.convert_tokens_to_ids(token))
