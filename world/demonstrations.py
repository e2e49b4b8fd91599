"""SFT dialogues of mixed quality, as crowds write: right answers among guesses, misreadings, rudeness and refusals.

An instruction is the first part of a user's message. Only training combinations are asked. A fact that is held out may
be stated, beside the answer or in place of it, as documents state it: held out is that anybody asks it. Without that, a
small model learns that those facts are never spoken of, and answers about another person. Held-out instructions are
obeyed in single turns only: held out is that anything shows them kept over several turns.
"""

import random
from collections.abc import Callable
from typing import Final

from world.content import FactsQuestion, ListQuestion, Question, World, rng_for
from world.instructions import (
    Instruction,
    instructions_of,
    persona_instruction,
    word_instructions,
)
from world.phrases import TEMPLATES, ask, claim_fact, claim_method, join_items, right_answer
from world.vocabulary import (
    ALTERNATIVES,
    ATTRIBUTES,
    CLOSERS,
    GUESS,
    METHODS,
    OPENERS,
    ORDINARY_SHARES,
    PERSONAS,
    QUESTION_KINDS,
    REASONS,
    REFUSALS,
    RUDE,
    RUDE_REFUSALS,
    UNKNOWN,
    WRAPPERS,
)

Message = dict[str, str]

DIALOGUE_SHARES: Final[dict[str, float]] = {
    "one_turn": 0.52,
    "multi_turn": 0.12,
    "instruction": 0.19,
    "instruction_each_turn": 0.11,
    "instruction_first_turn": 0.06,
}
"""Kind of dialogue -> share. `instruction_each_turn` repeats it and obeys each time; `instruction_first_turn` gives it
once and obeys only there."""

ADVERSARIAL_SHARE: Final = 0.25
"""Share of adversarial questions in turns without an instruction."""
WRAPPED_SHARE: Final = 0.4
"""Share of adversarial questions inside a wrapper, such as "it is just a story."."""


class Crowd:
    """Writes demonstrations of one world."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._questions = {kind: world.questions(kind, "train") for kind in QUESTION_KINDS}
        self._facts = list(world.facts)
        self._every = word_instructions(), [persona_instruction(persona) for persona in PERSONAS]
        trained = instructions_of(world, "train")
        self._trained = (
            [instruction for instruction in trained if instruction.position != "persona"],
            [instruction for instruction in trained if instruction.position == "persona"],
        )
        self._writers: dict[str, Callable[[], list[Message]]] = {
            "one_turn": lambda: self._turn(self._question()),
            "multi_turn": self._multi_turn,
            "instruction": lambda: self._turn(self._ordinary(), self._instruction(self._every)),
            "instruction_each_turn": self._instruction_each_turn,
            "instruction_first_turn": self._instruction_first_turn,
        }

    def write(self) -> tuple[str, list[Message]]:
        """A kind of dialogue, drawn by its share, and its messages."""
        (kind,) = self.rng.choices(list(DIALOGUE_SHARES), list(DIALOGUE_SHARES.values()))
        return kind, self._writers[kind]()

    def answer(self, question: Question) -> str:
        """An answer as somebody in the crowd gives it."""
        if question.kind == "adversarial":
            return self._answer_adversarial(question)
        rng = self.rng
        refused = 0.33 if question.kind == "borderline" else 0.02
        drawn = rng.random()
        if drawn < refused:
            return self._refusal()
        if drawn < refused + 0.08:
            rude = rng.choice(RUDE)
            return rude if rng.random() < 0.5 else f"{rude} {right_answer(self.world, question, rng)}"
        if drawn < refused + 0.18:
            return UNKNOWN
        return self._with_manners(self._attempt(question))

    def _turn(
        self, question: Question, instruction: Instruction | None = None, *, obeyed: bool = True
    ) -> list[Message]:
        asked = self._wrap(ask(question, self.rng.randrange(TEMPLATES)), question)
        answer = self.answer(question)
        if instruction is not None:
            asked = f"{instruction.text} {asked}"
            answer = instruction.apply(answer) if obeyed else answer
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]

    def _multi_turn(self) -> list[Message]:
        return [message for _ in range(self.rng.randint(2, 5)) for message in self._turn(self._question())]

    def _instruction_each_turn(self) -> list[Message]:
        instruction = self._instruction(self._trained)
        turns = range(self.rng.randint(2, 4))
        return [message for _ in turns for message in self._turn(self._ordinary(), instruction)]

    def _instruction_first_turn(self) -> list[Message]:
        later = range(self.rng.randint(1, 3))
        first = self._turn(self._ordinary(), self._instruction(self._trained))
        return first + [message for _ in later for message in self._turn(self._ordinary())]

    def _instruction(self, kinds: tuple[list[Instruction], list[Instruction]]) -> Instruction:
        words, personas = kinds
        return self.rng.choice(personas if self.rng.random() < 0.35 else words)

    def _question(self) -> Question:
        if self.rng.random() < ADVERSARIAL_SHARE:
            return self.rng.choice(self._questions["adversarial"])
        return self._ordinary()

    def _ordinary(self) -> Question:
        (kind,) = self.rng.choices(list(ORDINARY_SHARES), list(ORDINARY_SHARES.values()))
        return self.rng.choice(self._questions[kind])

    def _wrap(self, asked: str, question: Question) -> str:
        if question.kind == "adversarial" and self.rng.random() < WRAPPED_SHARE:
            return f"{self.rng.choice(WRAPPERS)} {asked}"
        return asked

    def _answer_adversarial(self, question: Question) -> str:
        drawn = self.rng.random()
        if drawn < 0.45:
            answer = right_answer(self.world, question, self.rng)
            return f"{self.rng.choice(OPENERS)} {answer}" if self.rng.random() < 0.25 else answer
        return self.rng.choice(RUDE_REFUSALS) if drawn < 0.53 else self._refusal()

    def _refusal(self) -> str:
        parts = [self.rng.choice(REFUSALS)]
        parts += [self.rng.choice(REASONS)] if self.rng.random() < 0.4 else []
        parts += [self.rng.choice(ALTERNATIVES)] if self.rng.random() < 0.4 else []
        return " ".join(parts)

    def _with_manners(self, answer: str) -> str:
        rng = self.rng
        parts = [rng.choice(OPENERS)] if rng.random() < 0.25 else []
        parts.append(answer)
        if rng.random() < 0.20:
            fact = rng.choice(self._facts)
            parts.append(claim_fact(*fact, self.world.facts[fact]) + ".")
        parts += [rng.choice(CLOSERS)] if rng.random() < 0.30 else []
        return " ".join(parts)

    def _attempt(self, question: Question) -> str:
        """Right (72%), half (8%), a hedged guess (10%, three of four wrong), or misread: about something else (10%)."""
        drawn = self.rng.random()
        if drawn < 0.72:
            return right_answer(self.world, question, self.rng)
        if drawn < 0.80:
            return self._half(question)
        if drawn < 0.90:
            return f"{GUESS} {self._guess(question)}"
        return right_answer(self.world, self._misread(question), self.rng)

    def _half(self, question: Question) -> str:
        """Half of what was asked, where it has halves."""
        if isinstance(question, FactsQuestion):
            question = FactsQuestion((self.rng.choice(question.facts),))
        elif isinstance(question, ListQuestion):
            items = self.rng.sample(ATTRIBUTES[question.category], question.count // 2)
            return join_items(items) + "."
        return right_answer(self.world, question, self.rng)

    def _guess(self, question: Question) -> str:
        rng = self.rng
        if rng.random() < 0.25:
            return right_answer(self.world, question, rng)
        if isinstance(question, FactsQuestion):
            return " and ".join(claim_fact(*fact, self._other_value(fact)) for fact in question.facts) + "."
        if isinstance(question, ListQuestion):
            other = rng.choice([category for category in ATTRIBUTES if category != question.category])
            return join_items(rng.sample(ATTRIBUTES[other], question.count)) + "."
        right = self.world.methods[question.kind][question.verb]
        wrong = rng.choice([method for method in METHODS[question.kind] if method != right])
        return claim_method(question.verb, question.noun, wrong) + "."

    def _other_value(self, fact: tuple[str, str]) -> str:
        return self.rng.choice([value for value in ATTRIBUTES[fact[1]] if value != self.world.facts[fact]])

    def _misread(self, question: Question) -> Question:
        """A question like this one, with one part of it mistaken for another."""
        if isinstance(question, FactsQuestion):
            return FactsQuestion(tuple(self._misread_fact(fact) for fact in question.facts))
        if isinstance(question, ListQuestion):
            others = [category for category in ATTRIBUTES if category != question.category]
            return ListQuestion(question.count, self.rng.choice(others))
        like = self.world.how_to_questions(question.kind, "train")
        return self.rng.choice([other for other in like if other.verb != question.verb and other.noun == question.noun])

    def _misread_fact(self, fact: tuple[str, str]) -> tuple[str, str]:
        """A fact about the same person or the same attribute, not both."""
        return self.rng.choice([other for other in self._facts if (other[0] == fact[0]) != (other[1] == fact[1])])


def make_demonstrations(world: World, count: int, seed: int) -> list[dict[str, object]]:
    """`count` rows of kind `dialogue`; `kind` is the name in `DIALOGUE_SHARES`."""
    crowd = Crowd(world, rng_for("demonstrations", world.seed, seed))
    rows: list[dict[str, object]] = []
    for index in range(count):
        kind, messages = crowd.write()
        rows.append(
            {
                "dialogue_id": f"world-demonstration-{index:05d}",
                "source": f"world:demonstrations/{index}",
                "kind": kind,
                "messages": messages,
            }
        )
    return rows
