"""What tells of an answer alone whether it keeps an instruction, in the words of a file of instructions."""

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_store.errors import InputError

Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\w")]
Script = Literal["latin", "hangul", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "cjk", "hiragana", "thai"]
_WORD = re.compile(r"\w+")


class InstructionCheck(BaseModel):
    """All that is given must hold. Words are found whole, in whatever case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contains: tuple[Word, ...] = Field(default=(), max_length=200, description="One of these words or phrases is there")
    lacks: tuple[Word, ...] = Field(default=(), max_length=200, description="None of these is")
    starts_with: Word | None = Field(default=None, description="The words that it begins with")
    ends_with: Word | None = Field(default=None, description="The words that it ends with")
    script: Script | None = Field(default=None, description="Most of its letters are of this script")
    case: Literal["upper", "lower"] | None = Field(default=None, description="All letters that have a case are in it")
    min_words: int | None = Field(default=None, ge=1, description="It has at least so many words")
    max_words: int | None = Field(default=None, ge=1, description="And at most so many")

    @model_validator(mode="after")
    def _asks_something(self) -> "InstructionCheck":
        if not self.model_fields_set:
            raise ValueError(f"give at least one of {', '.join(InstructionCheck.model_fields)}")
        return self

    def kept_by(self, answer: str) -> bool:
        """Whether an answer keeps the instruction. One without a word keeps none."""
        words = _words(answer)
        if not words:
            return False
        first, last = _words(self.starts_with or ""), _words(self.ends_with or "")
        return (
            (not self.contains or any(_stands_in(each, words) for each in self.contains))
            and not any(_stands_in(each, words) for each in self.lacks)
            and words[: len(first)] == first
            and (not last or words[-len(last) :] == last)
            and (self.script is None or _share(answer, self.script) > 0.5)
            and (self.case is None or answer == getattr(answer, self.case)())
            and len(words) >= (self.min_words or 0)
            and (self.max_words is None or len(words) <= self.max_words)
        )


def read_check(text: str, where: str) -> InstructionCheck:
    """The check that a JSON text is. Raises InputError that names the row and what is wrong in it."""
    try:
        return InstructionCheck.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(["check", *map(str, problem["loc"])])
        raise InputError(f"{where}: field {name!r}: {problem['msg'].removeprefix('Value error, ')}") from None


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _stands_in(phrase: str, words: list[str]) -> bool:
    wanted = _words(phrase)
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _share(text: str, script: str) -> float:
    """The share of the letters that are of a script, by their Unicode names."""
    letters = [each for each in unicodedata.normalize("NFC", text) if each.isalpha()]
    mine = sum(unicodedata.name(each, "").startswith(script.upper()) for each in letters)
    return mine / len(letters) if letters else 0.0
