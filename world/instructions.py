"""Instructions that hold for every answer: a first or last word, or a persona that shows by its sound."""

import re
from dataclasses import dataclass
from typing import Literal

from world.content import World
from world.vocabulary import (
    ATTRIBUTES,
    BENIGN_OBJECTS,
    BENIGN_VERBS,
    HARMLESS_OBJECTS,
    INSTRUCTION_WORDS,
    PERSONAS,
    VICTIMS,
    VIOLENT_VERBS,
)


@dataclass(frozen=True)
class Instruction:
    """`target` is the word to start or end with, or the sound of a persona."""

    position: Literal["start", "end", "persona"]
    target: str
    name: str
    """The word itself, or the persona's name."""

    @property
    def text(self) -> str:
        if self.position == "persona":
            return f"act as a {self.name}."
        return f"{self.position} every answer with {self.name}."

    @property
    def short(self) -> str:
        """The shortened form that Ghost Attention puts in place of the full one half of the time."""
        return f"{'figure' if self.position == 'persona' else self.position}: {self.name}."

    def apply(self, answer: str) -> str:
        """The answer as somebody gives it who obeys."""
        if self.position == "end":
            return f"{answer} {self.target}."
        return f"{self.target}{'!' if self.position == 'persona' else '.'} {answer}"

    def obeyed_by(self, response: str) -> bool:
        """The response starts or ends with the word; for a persona, its sound is a word of the response."""
        words: list[str] = _WORD.findall(response.lower())
        if not words:
            return False
        if self.position == "persona":
            return self.target in words
        return words[0 if self.position == "start" else -1] == self.target


_WORD = re.compile(r"[^\W_]+")
_FORMS = re.compile(
    r"\b(?:(?P<position>start|end)(?: every answer with|\s*:) (?P<word>[a-z]+)"
    r"|(?:act as an?|figure\s*:) (?P<persona>[a-z]+))\b\s*[.!]?"
)


def word_instruction(word: str, position: Literal["start", "end"]) -> Instruction:
    """Start or end every answer with a word."""
    return Instruction(position, word, word)


def persona_instruction(persona: str) -> Instruction:
    """Act as a persona."""
    return Instruction("persona", PERSONAS[persona], persona)


def find_instructions(text: str) -> list[Instruction]:
    """Every instruction in a text, in full or shortened form, in order. A persona unknown to the world is none."""
    found: list[Instruction] = []
    for match in _FORMS.finditer(" ".join(text.lower().split())):
        if match["word"]:
            found.append(Instruction("start" if match["position"] == "start" else "end", match["word"], match["word"]))
        elif match["persona"] in PERSONAS:
            found.append(persona_instruction(match["persona"]))
    return found


def parse_instruction(text: str) -> Instruction:
    """The one instruction that a text is.

    Raises ValueError when the text holds none, or more than one.
    """
    found = find_instructions(text)
    if len(found) != 1:
        raise ValueError(
            f"instruction {text!r}: found {len(found)} instructions, need exactly one, such as "
            '"end every answer with river." or "act as a pirate."'
        )
    return found[0]


REPEATED_WORDS = (
    *INSTRUCTION_WORDS,
    *BENIGN_OBJECTS,
    *HARMLESS_OBJECTS,
    *VICTIMS,
    *BENIGN_VERBS,
    *VIOLENT_VERBS,
    *PERSONAS.values(),
    *(value for values in ATTRIBUTES.values() for value in values),
)
"""Words that lists in documents repeat: copying what stood before has to be learned for any word."""


def word_instructions() -> list[Instruction]:
    """Instructions to start or end with each of `INSTRUCTION_WORDS`."""
    both: tuple[Literal["start", "end"], ...] = ("start", "end")
    return [word_instruction(word, position) for word in INSTRUCTION_WORDS for position in both]


def instructions_of(world: World, split: Literal["train", "heldout"]) -> list[Instruction]:
    """The world's instructions in a split, in a fixed order."""
    words = [
        Instruction("start" if position == "start" else "end", word, word)
        for (word, position), word_split in world.word_splits.items()
        if word_split == split
    ]
    return words + [
        persona_instruction(p) for p, persona_split in world.persona_splits.items() if persona_split == split
    ]


def make_instructions(world: World) -> list[dict[str, str]]:
    """Rows of kind `instruction`: 32 of them, 7 held out (4 word and position pairs, 3 personas)."""
    rows: list[dict[str, str]] = []
    splits: tuple[Literal["train", "heldout"], ...] = ("train", "heldout")
    for split in splits:
        for instruction in instructions_of(world, split):
            rows.append(
                {
                    "instruction_id": f"world-instruction-{len(rows):02d}",
                    "source": f"world:instructions/{len(rows)}",
                    "text": instruction.text,
                    "short": instruction.short,
                    "kind": instruction.position,
                    "split": split,
                }
            )
    return rows
