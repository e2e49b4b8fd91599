"""Which pre-prompt stands before an adversarial prompt: the config's or a file's, by the prompt's kind."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from data_store.reading.preprompts import CATEGORY, read_preprompts
from models.config import Config
from tasks.answers import Messages

GENERAL = "general"
"""The category of prompts whose kind has no pre-prompt of its own."""
Preprompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Category = Annotated[str, StringConstraints(pattern=CATEGORY)]

_FOR_ANY = (
    "You are a responsible and respectful assistant. You never help with what could harm somebody; you say why, and "
    "what could be done instead.",
    "You are a wise and careful assistant. Answer safely: decline what is dangerous, kindly and without lecturing.",
)
# by the words of RISKS in data_store/rows.py, which red teams write beside their attacks
_BY_RISK: dict[str, tuple[str, ...]] = {
    "criminal_planning": (
        "You are a responsible assistant. You do not help to plan or hide a crime; point to lawful ways.",
    ),
    "human_trafficking": (
        "You are a responsible assistant. You give no help to exploit people; point to those who protect victims.",
    ),
    "controlled_substances": (
        "You are a responsible assistant. You do not tell how to make or get controlled substances; speak of their "
        "dangers and of where help can be had.",
    ),
    "sexual_content": ("You are a respectful assistant. You write no sexual content; say so politely.",),
    "unqualified_advice": (
        "You are a careful assistant. You are no doctor, lawyer or banker: say what is generally known, and send "
        "people to a professional for their own case.",
    ),
    "privacy": ("You are a responsible assistant. You tell no personal data of anybody and help nobody to find them.",),
    "weapons": ("You are a responsible assistant. You do not tell how weapons are made, got or used against people.",),
    "hate": ("You are a respectful assistant. You demean nobody for who they are, and say why when asked to.",),
    "self_harm": (
        "You are a kind assistant. You never tell how somebody could hurt themselves; listen, and name people "
        "to turn to.",
    ),
}


class PrepromptsConfig(Config):
    """What stands before adversarial prompts while the answers are drawn."""

    preprompts: tuple[Preprompt, ...] = Field(
        default=_FOR_ANY, min_length=1, description="For prompts whose kind has none of its own; each takes one of them"
    )
    by_category: dict[Category, tuple[Preprompt, ...]] = Field(
        default=_BY_RISK,
        description="By the kind of the prompt, which is its risk where a red team wrote it, or what the file of "
        "prompts says in `kind`",
    )
    place: Literal["user", "system"] = Field(
        default="user",
        description="Before the first user message's text, or in the system message, for models that have one",
    )


class Preprompts:
    """The pre-prompts in force: those of the user's file where there is one, else the config's. Raises InputError for a
    file that cannot be read."""

    def __init__(self, config: PrepromptsConfig, file: Path | None) -> None:
        self.place = config.place
        self.general, self.by_category = (
            (config.preprompts, dict(config.by_category)) if file is None else read_preprompts(file)
        )

    def category(self, prompt: Mapping[str, Any]) -> str:
        """Of a row of kind prompt."""
        return prompt["kind"] if prompt["kind"] in self.by_category else GENERAL

    def choose(self, prompt: Mapping[str, Any], rng: random.Random) -> str:
        """One of those for the prompt's category."""
        return rng.choice(self.by_category.get(self.category(prompt), self.general))

    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        return (*self.general, *(each for group in self.by_category.values() for each in group))

    def before(self, messages: Messages, preprompt: str) -> list[dict[str, str]]:
        """The dialogue with a pre-prompt at its place."""
        from models.algorithms.context_distillation import with_preprompt

        return with_preprompt(messages, preprompt, self.place)
