"""Answers between rows and token ids: what a row holds of one, and what models read and learn of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.dialogue import Rendered, Renderer

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Answer:
    """An assistant's turn: the text that people see, and the token ids that it is where it was sampled.

    `ids` are of the tokenizer named by `tokenizer` (`Renderer.identity`), both None for what was not sampled here. They
    end with an end of turn where the model said one. `finished`: it did; what was not sampled here counts as finished.
    `row` names it in errors.
    """

    text: str
    ids: list[int] | None
    finished: bool
    tokenizer: str | None
    row: str


@dataclass(frozen=True)
class Drawn(Answer):
    """An answer that was just sampled."""

    ids: list[int]
    tokenizer: str

    def columns(self, side: str = "") -> dict[str, Any]:
        """What a row keeps of it beside its text; `side` is "_a" or "_b" for one side of a pair."""
        return {f"token_ids{side}": self.ids, f"finished{side}": self.finished, "tokenizer": self.tokenizer}


Dialogue = tuple[Messages, Answer]
"""What an answer is given to, and the answer."""


def response_of(row: Mapping[str, Any]) -> Dialogue:
    """A row of kind response."""
    name = f"response {row['response_id']}"
    return row["messages"], Answer(row["text"], row["token_ids"], row["finished"], row["tokenizer"], name)


def sides_of(row: Mapping[str, Any]) -> tuple[Dialogue, Dialogue]:
    """The two answers, a and b, of a row of kind pair or preference."""
    name = f"preference {row['preference_id']}" if "preference_id" in row else f"pair {row['pair_id']}"

    def side(letter: str) -> Dialogue:
        ids, finished = row[f"token_ids_{letter}"], row[f"finished_{letter}"] is not False
        answer = Answer(row[f"response_{letter}"], ids, finished, row["tokenizer"], f"{name}, response {letter}")
        return row["messages"], answer

    return side("a"), side("b")


def last_answer_of(row: Mapping[str, Any]) -> Dialogue:
    """A row of kind dialogue, which ends with the answer."""
    *before, last = row["messages"]
    name = f"dialogue {row['dialogue_id']}"
    return before, Answer(last["content"], row["token_ids"], row["finished"] is not False, row["tokenizer"], name)


def dialogue_ids(renderer: "Renderer", messages: Messages, answer: Answer) -> "Rendered":
    """A dialogue with its answer as models read and learn it: the sampled ids where they are of this tokenizer, else
    the text. Only an answer that is finished has an end.

    Raises ValueError, with the answer's row, where what is read would not be the prompt as the model was asked it and
    the very ids that it said.
    """
    from models.dialogue import Rendered

    whole = answered(messages, answer.text)
    if answer.ids is not None and answer.tokenizer == renderer.identity:
        rendered = renderer.dialogue(whole, answer.ids)
        if rendered.input_ids != [*renderer.prompt(messages), *answer.ids]:
            raise ValueError(f"{answer.row}: the dialogue's ids are not its prompt's and the {len(answer.ids)} sampled")
        return rendered
    rendered = renderer.dialogue(whole)
    if answer.finished or rendered.input_ids[-1] not in renderer.end_ids:
        return rendered
    *lengths, last = rendered.message_lengths  # cut, and sampled with another tokenizer: the template wrote the end
    return Rendered(rendered.input_ids[:-1], rendered.loss_mask[:-1], [*lengths, last - 1])


def rendered(renderer: "Renderer", row: Mapping[str, Any]) -> "list[Rendered]":
    """A demonstration, a row of kind dialogue, as SFT learns it: every answer of one that was written, and of one whose
    last answer was drawn that answer alone."""
    if row["token_ids"] is None:
        return renderer.dialogues(row["messages"])
    from models.dialogue import Rendered

    whole = dialogue_ids(renderer, *last_answer_of(row))
    before = sum(whole.message_lengths[:-1])
    return [Rendered(whole.input_ids, [False] * before + whole.loss_mask[before:], whole.message_lengths)]


def open_renderer(folder: Path, template_date: date | None = None) -> "Renderer":
    """The renderer of a checkpoint's or tokenizer's folder. A base's is told the date for its template; checkpoints
    keep it."""
    from models.dialogue import Renderer
    from models.tokenizer import load_tokenizer

    return Renderer(load_tokenizer(folder), template_date)


def answered(messages: Messages, response: str) -> list[dict[str, str]]:
    """The dialogue with one more assistant turn."""
    return [*map(dict, messages), {"role": "assistant", "content": response}]


def row_id(*parts: Any) -> str:
    """A short id that depends on nothing but its parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:24]
