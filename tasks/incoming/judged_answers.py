"""People's judgements of an evaluation: a batch of the annotation book, as where pairs are collected, of questions on a
policy's answers. Nothing is learned from them."""

from dataclasses import dataclass

from data_store.annotation.batches import ItemDraft
from data_store.annotation.schema import EVALUATION
from data_store.encoding import text_hash
from tasks.engine.reading import Wait
from tasks.incoming.judged import Judged
from tasks.judging.by_people import drafts_of
from tasks.judging.judge import Rows
from tasks.judging.people import EvaluatingPeopleConfig


@dataclass(frozen=True)
class JudgedAnswers(Judged):
    """What the people of one judge of evaluations, called `judge`, say of the questions that `pairs` names."""

    purpose = EVALUATION
    people: EvaluatingPeopleConfig
    judge: str

    def __str__(self) -> str:
        return f"judged {self.pairs} {self._asked}"

    def batch(self, part: str, pairs_version: str) -> str:
        """Named by the questions, who is asked and on which prompts: more prompts are a batch of their own. The part is
        not to be read from it, since people see it."""
        asked = text_hash(f"{part} {pairs_version} {self._asked}")
        return f"{EVALUATION}-{asked[:16]}"

    def drafts(self, rows: Rows) -> list[ItemDraft]:
        """The pairs of the drawn prompts."""
        return drafts_of(rows, self.people.prompts, self.people.kinds)

    @property
    def _asked(self) -> str:
        return " ".join((self.judge, str(self.people.prompts), *self.people.kinds))

    def way_out(self, wait: Wait) -> str:
        """By the judge's own keys."""
        people = f"evaluate.judges: {self.judge}: people"
        if wait.judgements:
            return f"set {people}.at_deadline: judge_by_what_is_there to take them"
        return f"another number of prompts is a batch of its own: set {people}.prompts, and a later deadline"
