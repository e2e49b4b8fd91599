"""What an evaluation measured, prompt by prompt, as far as the store can tell it: of the answers and the judgements
that it kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from data_store.catalog.whole import WholeCatalog
from data_store.errors import InputError, StoreError
from data_store.store import Store
from tasks.evaluation_judges.measures import at_judge
from tasks.judging.judgements import values_of

MOST_PROMPTS = 10_000  # of one evaluation; of more there are no values prompt by prompt
_MOST_ROWS = {"response": MOST_PROMPTS, "judgement": 10 * MOST_PROMPTS}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """By prompt id the prompts and the answers of an evaluation; `values`: metric → prompt id → value."""

    prompts: Mapping[str, Row]
    answers: Mapping[str, Row]
    values: Mapping[str, Mapping[str, float]]


NOTHING = Answered({}, {}, {})


class AnswerReader:
    """Reads evaluations; what several of them share is read once."""

    def __init__(self, store: Store, whole: WholeCatalog) -> None:
        self.store, self.whole = store, whole
        self._rows = lru_cache(maxsize=None)(self._read_rows)

    def read(self, run_id: str, judges: Mapping[str, str] = MappingProxyType({})) -> Answered:
        """What one evaluation says, and in which runs judges judged its answers, by name; nothing of it where its rows
        are gone or too many."""
        made = self.whole.made_as(run_id, "responses")
        prompts = self.whole.read_as(run_id, "prompts")
        if made is None or len(prompts) != 1:
            return NOTHING
        answers = self._by_prompt(made.version_id)
        asked = {key: row for key, row in self._by_prompt(prompts[0].version_id).items() if key in answers}
        answers = {key: row for key, row in answers.items() if key in asked}
        values = self._judged(run_id, asked)
        for judge, judged_in in judges.items():
            values |= {at_judge(name, judge): each for name, each in self._judged(judged_in, asked).items()}
        return Answered(asked, answers, {**values, **_counted(answers)})

    def _judged(self, run_id: str, asked: Mapping[str, Row]) -> dict[str, dict[str, float]]:
        made = self.whole.made_as(run_id, "judgements")
        return {} if made is None else values_of(self._rows(made.version_id), asked)

    def _by_prompt(self, version_id: str) -> Mapping[str, Row]:
        return {row["prompt_id"]: row for row in self._rows(version_id)}

    def _read_rows(self, version_id: str) -> tuple[Row, ...]:
        size = self.whole.versions.get(version_id)
        if size is None or size.row_kind not in ("prompt", *_MOST_ROWS):
            return ()
        if (size.rows or 0) > _MOST_ROWS.get(size.row_kind, size.rows or 0):
            return ()
        try:
            rows = self.store.rows(version_id)
        except (InputError, StoreError):  # its content was removed, or is damaged: `halter verify` tells
            return ()
        if size.row_kind == "prompt":
            rows = rows.filter([split == "heldout" for split in rows.column("split").to_pylist()])
        return tuple(rows.to_pylist())


def _counted(answers: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """What nobody has to judge."""
    sampled = {key: row for key, row in answers.items() if row["token_ids"] is not None}
    if not sampled:
        return {}
    return {
        "finished": {key: float(row["finished"]) for key, row in sampled.items()},
        "response_tokens": {key: float(len(row["token_ids"])) for key, row in sampled.items()},
    }
