"""Somebody talks with one or two models: the dialogue, and which of two answers is the better one, for the book.

Whoever talks sees which model said what, so that these judgements are in batches of their own, and their rows say so.
"""

import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from data_store.annotation.batches import BatchSpec, Message, batches, open_batch
from data_store.annotation.book import Book
from data_store.annotation.judging import Verdict, judge, lease_item
from data_store.annotation.live import BusyError, LiveResponse
from data_store.annotation.people import annotators
from data_store.annotation.writing import Dialogue, enter_written
from data_store.commands import halter
from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.rows import AXES

SIDES = ("a", "b")
SOURCE = "chat, with the models' names in sight"
_PREFIX = "chat-"
_MOST_CHARACTERS = 8000
_MOST_TURNS = 200


@dataclass(frozen=True)
class Said:
    """A whole answer: with raw scores by the name of the reward model, seconds to the first token and to the end, and
    why it is no whole answer of the model (`stopped`), if it is none."""

    response: LiveResponse
    scores: Mapping[str, float]
    first_seconds: float
    seconds: float
    stopped: str = ""


class Speaker(Protocol):
    """A model that answers. name: as people know it."""

    name: str

    def answer(self, messages: Sequence[Message], temperature: float, seed: int) -> Iterator[str | Said]:
        """The text so far, longer each time, and at the end the whole answer. Raises TooLongError, before anything is
        computed, for a dialogue without room for an answer."""


@dataclass
class Turn:
    """What somebody wrote, and the answers, one or two. chosen: the one that the dialogue goes on with."""

    prompt: str
    answers: list[Said] = field(default_factory=list)
    chosen: str = "a"
    saved: bool = False


@dataclass(frozen=True)
class Keeper:
    """Writes judgements of a chat into the book. name: who judges. part: of the models, `V2`. is_held_out: whether a
    prompt is one that nothing may train on. withdrawn: who has had their rows taken out."""

    book: Book
    name: str
    part: str
    is_held_out: Callable[[Sequence[Message]], bool]
    withdrawn: Callable[[], Collection[str]]

    def check(self) -> None:
        """Raises InputError where this person may not judge: unknown, disabled, or withdrawn."""
        known = {one.name: one for one in annotators(self.book)}
        if self.name not in known:
            raise InputError(
                f"there is no annotator {self.name!r}: enter them with `{halter('annotators', 'add', self.name)}`"
            )
        if known[self.name].disabled_at is not None:
            raise InputError(f"annotator {self.name} is disabled: nothing is saved under this name")
        if self.name in self.withdrawn():
            raise InputError(
                f"annotator {self.name} has withdrawn their rows, so nothing is saved under this name; "
                f"`{halter('withdrawals')}` lists who has"
            )

    def keep(self, messages: Sequence[Message], axis: str, sides: Sequence[LiveResponse], verdict: Verdict) -> str:
        """Write one judgement down, with who and when; gives the batch. Raises InputError for a prompt that is held out
        for evaluation, for a verdict that cannot be, and as `check` does."""
        self.check()
        verdict.check(axis)
        spoken = [message for message in messages if message["role"] != "system"]
        asked = [place + 1 for place, message in enumerate(spoken) if message["role"] == "user"]
        if self.is_held_out(messages) or any(self.is_held_out(spoken[:end]) for end in asked):
            raise InputError("a prompt of this dialogue is held out for evaluation: nothing may be trained on it")
        if sides[0].text == sides[1].text:
            raise InputError("both answers are the same: there is nothing to choose")
        *before, last = messages
        begun = messages[: len(messages) - len(spoken) + asked[0]]
        prompt_id = content_hash([[each["role"], each["content"]] for each in begun])[:24]
        dialogue = Dialogue(axis, tuple(before), prompt_id)  # all turns of a dialogue are on one side of a split
        batch_id = self._batch()
        key = f"{sides[0].seed}-{sides[1].seed}"
        item_id = enter_written(self.book, batch_id, self.name, dialogue, last["content"], sides, key)
        with self.book.writing(durable=False) as connection:
            form_key = lease_item(connection, item_id, self.name, self.book.clock())
        judge(self.book, self.name, form_key, verdict)
        return batch_id

    def _batch(self) -> str:
        """The open batch of chats of this part; the next one where people have closed it."""
        stem = f"{_PREFIX}{self.part.lower()}"
        taken = {one.spec.batch_id: one.closed for one in batches(self.book)}
        free = next(name for k in range(1, len(taken) + 2) if taken.get(name := f"{stem}-{k}") is None)
        if free not in taken:
            open_batch(self.book, BatchSpec(free, self.part, SOURCE, quota=1, written_prompts=True), [])
        return free


class Chat:
    """One dialogue with one or two speakers, for one person. Where two speak, both answer the same dialogue, which goes
    on with the answer that was chosen; so each pair of answers is one that can be judged.

    keeper: None where nothing can be saved; `why_not` then says why. `seed` makes a chat that can be repeated.
    """

    def __init__(
        self, speakers: Sequence[Speaker], keeper: Keeper | None, *, why_not: str = "", seed: int | None = None
    ) -> None:
        self.speakers, self.keeper, self.why_not = list(speakers), keeper, why_not
        self.system, self.temperature = "", 0.7
        self.turns: list[Turn] = []
        self._seeds = random.Random(seed)
        self._busy = threading.Lock()

    def say(self, prompt: str) -> Iterator[tuple[int, str | Said]]:
        """Each speaker's answer as it comes, by number. The turn is there once all have answered; where one could not,
        or whoever listens stopped, the dialogue is as before.

        Raises InputError for an empty or a long text, BusyError where an answer is under way, and as a speaker does.
        """
        prompt = prompt.strip()
        if not prompt or len(prompt) > _MOST_CHARACTERS:
            raise InputError(f"write something, of at most {_MOST_CHARACTERS} characters")
        if len(self.turns) >= _MOST_TURNS:
            raise InputError(f"the dialogue has {_MOST_TURNS} turns: begin a new one")
        return self._answers(Turn(prompt), list(enumerate(self.speakers)))

    def again(self) -> Iterator[tuple[int, str | Said]]:
        """One more answer of a single speaker to the last prompt, to be compared with the first one. One that is there
        already is replaced, unless it was saved."""
        if not self.turns or len(self.speakers) > 1 or self.turns[-1].saved:
            raise InputError("another answer can be had where one model has answered, and no judgement is saved")
        turn = self.turns[-1]
        return self._answers(Turn(turn.prompt, turn.answers[:1]), [(1, self.speakers[0])])

    def _answers(self, turn: Turn, asked: list[tuple[int, Speaker]]) -> Iterator[tuple[int, str | Said]]:
        with self._alone():
            is_new = len(turn.answers) == 0
            before = self.turns if is_new else self.turns[:-1]
            messages = [*self._dialogue(before), {"role": "user", "content": turn.prompt}]
            for number, speaker in asked:
                for piece in speaker.answer(messages, self.temperature, self._seeds.getrandbits(31)):
                    yield number, piece
                    if isinstance(piece, Said):
                        turn.answers.append(piece)
            self.turns = [*before, turn]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thing at a time: raises BusyError while an answer is under way, which would undo what is changed."""
        if not self._busy.acquire(blocking=False):
            raise BusyError("an answer is under way")
        try:
            yield
        finally:
            self._busy.release()

    def choose(self, side: str) -> None:
        """Let the dialogue go on with this answer to the last prompt, `a` or `b`."""
        if not self.turns or side not in SIDES[: len(self.turns[-1].answers)]:
            raise InputError("there is no such answer to choose")
        if self.turns[-1].saved:
            raise InputError("this judgement is saved: it stays what it is")
        with self._alone():
            self.turns[-1].chosen = side

    def save(self, axis: str, verdict: Verdict) -> str:
        """Save which of the two last answers is better; the dialogue goes on with it. Gives the batch of the book.

        Raises InputError where there are no two whole answers, where it is saved already, where nothing can be saved,
        and as `Keeper.keep` does.
        """
        if self.keeper is None:
            raise InputError(f"nothing can be saved here: {self.why_not}")
        if axis not in AXES:
            raise InputError(f"the axis is {axis!r}; use one of {', '.join(AXES)}")
        turn = self.turns[-1] if self.turns else Turn("")
        if len(turn.answers) < 2:
            raise InputError("there is one answer only: a judgement compares two")
        if turn.saved:
            raise InputError("this judgement is saved already")
        if any(each.stopped for each in turn.answers):
            raise InputError("an answer was stopped before its end, so that the two cannot be compared")
        messages = [*self._dialogue(self.turns[:-1]), {"role": "user", "content": turn.prompt}]
        with self._alone():
            batch = self.keeper.keep(messages, axis, [each.response for each in turn.answers], verdict)
            turn.chosen, turn.saved = verdict.chosen, True
        return batch

    def begin_anew(self, *, system: str | None = None, temperature: float | None = None) -> None:
        """An empty dialogue; a new system message or temperature is for what is said from now on, so it begins one.
        Raises InputError for a temperature out of (0, 2] and a long system message."""
        if temperature is not None and not 0 < temperature <= 2:
            raise InputError("the temperature is a number above 0, and 2 at most")
        if system is not None and len(system) > _MOST_CHARACTERS:
            raise InputError(f"the system message may have {_MOST_CHARACTERS} characters")
        with self._alone():
            self.turns = []
            self.system = self.system if system is None else system.strip()
            self.temperature = self.temperature if temperature is None else temperature

    def _dialogue(self, turns: Sequence[Turn]) -> list[Message]:
        messages: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for turn in turns:
            said = turn.answers[SIDES.index(turn.chosen)].response.text
            messages += [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": said}]
        return messages
