"""What an evaluation measured, prompt by prompt, as far as the store can tell it: of the answers that it kept, and of
the judgement of the annotator whom its record names, who judges the same answers alike each time.

A metric's values are given only where their mean is what the catalog has: where the code that judges has changed since,
or rows are missing, nothing is given that would not be the figure's own.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from pydantic import ValidationError

from data_store.catalog.whole import WholeCatalog
from data_store.errors import InputError, StoreError
from data_store.store import Store
from tasks.answers import Drawn, response_of
from tasks.engine.step import Measurements
from tasks.estimates import value_of
from tasks.evaluate import EvaluateStepConfig
from tasks.evaluations.evaluation import Evaluation, Subject
from tasks.evaluations.registry import EVALUATIONS
from tasks.judging.annotators import AnnotatorConfig
from world.annotator import Annotator, Judgement

MOST_PROMPTS = 10_000  # of one evaluation; of more there are no values prompt by prompt
Row = Mapping[str, Any]

# What needs nothing but prompts and answers; the others run models.
_EVALUATIONS: tuple[Evaluation, ...] = tuple(each for each in EVALUATIONS if not each.inputs)


@dataclass(frozen=True)
class Answered:
    """By prompt id the prompts and the answers of an evaluation; `values`: metric → prompt id → value."""

    prompts: Mapping[str, Row]
    answers: Mapping[str, Row]
    values: Mapping[str, Mapping[str, float]]


NOTHING = Answered({}, {}, {})


class AnswerReader:
    """Reads evaluations; what several of them share is read and judged once."""

    def __init__(self, store: Store, whole: WholeCatalog) -> None:
        self.store, self.whole = store, whole
        self._rows = lru_cache(maxsize=None)(self._read_rows)
        self._annotators: dict[AnnotatorConfig, Annotator] = {}

    def read(self, run_id: str) -> Answered:
        """What one evaluation says; nothing of it where its rows are gone or too many."""
        made = self.whole.made_as(run_id, "responses")
        prompts = self.whole.read_as(run_id, "prompts")
        if made is None or len(prompts) != 1:
            return NOTHING
        answers = self._by_prompt(made.version_id)
        asked = {key: row for key, row in self._by_prompt(prompts[0].version_id).items() if key in answers}
        answers = {key: row for key, row in answers.items() if key in asked}
        baseline = self.whole.read_as(run_id, "baseline")
        others = self._by_prompt(baseline[0].version_id) if baseline else answers
        return Answered(asked, answers, self._values(run_id, asked, answers, others))

    def _values(
        self, run_id: str, prompts: Mapping[str, Row], answers: Mapping[str, Row], others: Mapping[str, Row]
    ) -> dict[str, dict[str, float]]:
        """The metrics of an evaluation of one prompt, for each prompt."""
        try:
            config = EvaluateStepConfig.model_validate(self.whole.runs[run_id].run.config.get("config", {}))
        except ValidationError:
            return {}
        annotator = None if config.annotator is None else self._annotator(config.annotator)
        found: dict[str, dict[str, float]] = {}
        for key, prompt in prompts.items():
            if key not in others:
                continue
            subject = _subject(prompt, answers[key], others[key], annotator)
            for each in _EVALUATIONS:
                if annotator is not None or not each.judged:
                    for name, measured in _measured(each, subject, config).items():
                        found.setdefault(name, {})[key] = value_of(measured)
        recorded = self.whole.measured.get(run_id, {})
        return {
            name: values
            for name, values in found.items()
            if name in recorded and math.isclose(statistics.fmean(values.values()), recorded[name].value, abs_tol=1e-9)
        }

    def _annotator(self, config: AnnotatorConfig) -> Annotator:
        if config not in self._annotators:
            self._annotators[config] = _Remembering(config.open())
        return self._annotators[config]

    def _by_prompt(self, version_id: str) -> Mapping[str, Row]:
        return self._rows(version_id)

    def _read_rows(self, version_id: str) -> Mapping[str, Row]:
        size = self.whole.versions.get(version_id)
        if size is None or size.row_kind not in ("prompt", "response"):
            return {}
        if size.row_kind == "response" and (size.rows or 0) > MOST_PROMPTS:
            return {}
        try:
            rows = self.store.rows(version_id)
        except (InputError, StoreError):  # its content was removed, or is damaged: `halter verify` tells
            return {}
        if size.row_kind == "prompt":
            rows = rows.filter([split == "heldout" for split in rows.column("split").to_pylist()])
        return {row["prompt_id"]: row for row in rows.to_pylist()}


def _subject(prompt: Row, answer: Row, other: Row, annotator: Annotator | None) -> Subject:
    """An evaluation of one prompt. What runs a model is not there, and nothing of `_EVALUATIONS` asks for it."""
    _, told = response_of(answer)
    drawn = Drawn(told.text, told.ids or [], told.finished, told.tokenizer or "", told.row)
    nothing = cast(Any, None)
    return Subject(nothing, nothing, nothing, None, annotator, [dict(prompt)], [drawn], {prompt["prompt_id"]: other})


def _measured(evaluation: Evaluation, subject: Subject, config: EvaluateStepConfig) -> Measurements:
    try:
        return evaluation.measure(subject, config)
    except ValueError:  # nothing in it that could be judged
        return {}


class _Remembering(Annotator):
    """The same annotator; the answers of SFT are judged beside those of each policy."""

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator.world, annotator.seed)
        self._told: dict[tuple[str, str, bool], Judgement] = {}

    def judge(self, messages: Iterable[Mapping[str, str]], response: str, finished: bool = True) -> Judgement:
        """As it does, once for each answer."""
        listed = [dict(message) for message in messages]
        key = (str(listed), response, finished)
        if key not in self._told:
            self._told[key] = super().judge(listed, response, finished)
        return self._told[key]
