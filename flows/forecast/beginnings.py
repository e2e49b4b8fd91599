"""What the beginnings of the user's files say of their rows: how long they are, and how many of them are left in."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from data_store.reading.bad_rows import BadRows
from data_store.reading.messages import Messages
from flows.recipe.config import RunConfig
from flows.recipe.given_models import TOKENIZERS
from flows.recipe.lengths import limits
from flows.recipe.places import Place
from flows.recipe.step_configs import reading
from tasks.answers import open_renderer
from tasks.file_roles import PAIRS, each_pair, read_role

AROUND = 8  # tokens that a chat format puts around a turn
_MOST = 500  # rows of a file: more of them would hardly change a mean
_LEFT = 1e-3  # share of a beginning that is taken to be left in where no row of it is


class Lengths(Protocol):
    """How long texts are, in tokens."""

    def prompt(self, messages: Messages) -> float:
        """Up to the place where the model speaks."""
        ...

    def answer(self, text: str) -> float:
        """What it says there."""
        ...


@dataclass(frozen=True)
class ByCharacters:
    """A rule of thumb, where there is no tokenizer yet."""

    per_token: float

    def prompt(self, messages: Messages) -> float:
        """So many characters a token, and a chat format around each turn."""
        return sum(len(each["content"]) / self.per_token + AROUND for each in messages)

    def answer(self, text: str) -> float:
        """So many characters a token."""
        return len(text) / self.per_token


class ByBase:
    """The base model's own tokenizer and chat template."""

    def __init__(self, folder: Path, template_date: date) -> None:
        self._renderer = open_renderer(folder, template_date)

    def prompt(self, messages: Messages) -> float:
        """As the model is asked. A row whose roles the template refuses is as long as nothing."""
        try:
            return len(self._renderer.prompt(messages))
        except ValueError:
            return 0.0

    def answer(self, text: str) -> float:
        """With its end."""
        return len(self._renderer.tokenizer.encode(text, add_special_tokens=False)) + 1.0


@dataclass(frozen=True)
class Beginning:
    """Of the first rows of a role: the share that the config's lengths leave in, and of these the mean tokens of the
    prompt and of the answer (of both answers of a pair). `turn`: mean tokens of a prompt's last message alone.
    `lengths`: tokens of each that is left in, with its answers."""

    kept: float
    prompt: float
    answer: float
    turn: float
    lengths: tuple[float, ...] = ()


def lengths_of(config: RunConfig, per_token: float) -> Lengths:
    """By the base model's tokenizer where its folder has one, or by one that is given; a plan needs no more of a base
    model than its config.json."""
    base = config.base_model or config.tokenizer.folder
    if base is None or not any((base / name).exists() for name in TOKENIZERS):
        return ByCharacters(per_token)
    return ByBase(base, config.template_date)


def beginning_of(config: RunConfig, role: str, lengths: Lengths) -> Beginning | None:
    """The first rows of each file of pairs, prompts or demonstrations, at most 500 of a file; None where the
    config names no such file. Raises InputError for what cannot be read."""
    fit = limits(config)
    most = {"preferences": fit["pair_tokens"], "demonstrations": fit["dialogue_tokens"]}
    return _beginning(config, role, lengths, most.get(role.rpartition("_")[2], _prompt_tokens(config)))


def prompts_of_pairs(config: RunConfig, role: str, lengths: Lengths) -> Beginning | None:
    """The same of the prompts of pairs, which are answered where no file of prompts is given: a prompt may fit where
    its pair does not."""
    return _beginning(config, role, lengths, _prompt_tokens(config), answered=False)


def _prompt_tokens(config: RunConfig) -> int:
    fitting = limits(config)["prompt_tokens"]
    return min(fitting, config.fit.max_prompt_tokens or fitting)


def _beginning(config: RunConfig, role: str, lengths: Lengths, most: int, *, answered: bool = True) -> Beginning | None:
    if role not in config.data.given():
        return None
    drops = config.fit.too_long == "drop"
    found = [_lengths(row, lengths) for row in _rows(config, role)]
    left = [
        (prompt, turn, answers)
        for prompt, turn, answers in found
        if not drops or prompt + (max(answers, default=0.0) if answered else 0.0) <= most
    ]
    if not left:
        return Beginning(_LEFT, most / 2, most / 2, most / 2)
    answers = [statistics.fmean(each) for *_, each in left if each]
    return Beginning(
        len(left) / len(found),
        statistics.fmean(prompt for prompt, *_ in left),
        statistics.fmean(answers) if answers else 0.0,
        statistics.fmean(turn for _, turn, _ in left),
        tuple(prompt + sum(each if answered else ()) for prompt, _, each in left),
    )


def _rows(config: RunConfig, role: str) -> Iterator[Mapping[str, Any]]:
    how = reading(Place(config, "base", 0, {}))
    for path in config.data.files()[role]:
        bad = BadRows(drop=True, most=_MOST)
        pieces = each_pair(role, [path], how, bad) if role in PAIRS else [read_role(role, [path], how, bad)]
        yield from chain.from_iterable(read.rows.to_pylist() for read in pieces)


def _lengths(row: Mapping[str, Any], lengths: Lengths) -> tuple[float, float, list[float]]:
    """(prompt, its last message, answers) in tokens."""
    said, answers = list(row["messages"]), [row[name] for name in ("response_a", "response_b") if name in row]
    if not answers and said[-1]["role"] == "assistant":
        answers = [said.pop()["content"]]
    return lengths.prompt(said), lengths.prompt(said[-1:]), [lengths.answer(each) for each in answers]
