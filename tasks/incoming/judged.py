"""People's judgements of pairs: between the drawing of pairs and the collecting of preferences stands a batch in the
annotation book. Nothing waits in a process: a run looks, and ends where people are not done; the next run goes on.

What is waited for is told by the book and the catalog alone, so it does not matter what is killed or started anew in
between.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from data_store.annotation.batches import Batch, BatchSpec, ItemDraft, close_batch, open_batch
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.export import count_judgements
from data_store.annotation.handover import (
    attention_checks,
    batch_name,
    drafts,
    find_batch,
    hand_over,
    judgements_asset,
    judgements_today,
)
from data_store.annotation.known_pairs import drawn_checks, pairs_of_file, pairs_of_one_mind
from data_store.annotation.schema import COLLECTION
from data_store.commands import halter
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import Head
from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.jobs import StepFailedError
from tasks.engine.reading import Progress, Reading, Wait
from tasks.incoming.of_pairs import OfPairs
from tasks.judging.judge import Rows
from tasks.judging.people import EvaluatingPeopleConfig, PeopleConfig

_CHECK_EVERY = 20
DEADLINE = "the deadline has passed"


@dataclass(frozen=True)
class Judged(OfPairs):
    """People's judgements of these pairs. `people`: how many judge, and until when."""

    reads_book = True
    purpose: ClassVar[str] = COLLECTION
    people: PeopleConfig | EvaluatingPeopleConfig

    def __str__(self) -> str:
        return f"judged {self.pairs}"

    def batch(self, part: str, pairs_version: str) -> str:
        """The name of the batch of the pairs."""
        return batch_name(part, pairs_version)

    def drafts(self, rows: Rows) -> list[ItemDraft]:
        """What is laid out of the rows of the pairs."""
        return drafts(rows)

    def way_out(self, wait: Wait) -> str:
        """What to do where the deadline has passed before enough was judged."""
        if wait.judgements:
            return "set collect.people.at_deadline: train_on_what_is_there to go on with them"
        return "other pairs get a batch of their own: " + halter("rerun", wait.part, "draw-pairs", "--set", "KEY=VALUE")

    def source(self, part: str, pairs_version: str) -> AssetName:
        """The judgements of the batch of the pairs."""
        return judgements_asset(self.batch(part, pairs_version))

    def lacking(self) -> str:
        """The batch is open."""
        return f"people have not finished; they judge on the page of `{halter('annotate')}`"

    def said(self, at: Reading) -> str:
        """By its batch."""
        return f"what people judged in batch {self._batch(at)}"

    def today(self, at: Reading) -> str | None:
        """What the annotation book holds now; where that is gone, what it gave still holds."""
        today = None if at.book is None else judgements_today(at.store, at.book, self._batch(at))
        return today or super().today(at)

    def _batch(self, at: Reading) -> str:
        return self.batch(at.part, at.made(self.pairs).version_id)

    def prepare(self, at: Reading, on_progress: Progress) -> Wait | None:
        """Open the batch of the pairs, or close it and take its judgements over."""
        return await_judgements(at, self)


def await_judgements(at: Reading, judged: Judged, clock: Callable[[], float] = time.time) -> Wait | None:
    """What the step has to wait for; None when it can run.

    Opens the batch of its pairs when there is none, and closes it when enough is judged or its deadline has passed;
    then the judgements are an input of the step. Everything may be repeated, and cut off anywhere. `clock` gives
    seconds since 1970. Raises StepFailedError where the deadline has passed and the config does not go on with less.
    """
    store, pairs = at.store, at.made(judged.pairs)
    batch_id = judged.batch(at.part, pairs.version_id)
    book = Book.open(store.root, clock)
    try:
        batch = find_batch(book, batch_id)
        if batch is None and judgements_asset(batch_id) in at.heads:
            return None  # the book is gone; what it gave still holds
        batch = batch or _lay_out(book, at, batch_id, pairs, judged)
        if batch.closed is None:
            wait = _wait_for(book, batch, at.part, at.step)
            if wait.ended is None:
                return wait
            if wait.ended == DEADLINE and (judged.people.at_deadline == "fail" or not wait.judgements):
                found = f"{wait.judgements} of {wait.wanted} judgements in batch {batch_id} at its deadline"
                raise StepFailedError(f"{at.part} waited for people in vain, {found}; {judged.way_out(wait)}")
            close_batch(book, batch_id, wait.ended)
        hand_over(store, book, batch_id)
        return None
    finally:
        book.close()


def waits_of(store: Store, plan: Mapping[tuple[str, str], StepCall]) -> dict[tuple[str, str], Wait]:
    """The open batches that steps of the plan wait for, by (part, step). Changes nothing."""
    return {
        call.key: _wait_for(book, batch, *call.key)
        for book, batch, call in _batches(store, plan)
        if batch.closed is None
    }


def judged_and_unread(store: Store, plan: Mapping[tuple[str, str], StepCall]) -> list[str]:
    """The batches that people are done with, and whose judgements no step has read yet."""
    return [
        batch.spec.batch_id
        for book, batch, call in _batches(store, plan)
        if (batch.closed is not None or _wait_for(book, batch, *call.key).ended is not None)
        and not _is_read(store, judgements_asset(batch.spec.batch_id))
    ]


def _batches(store: Store, plan: Mapping[tuple[str, str], StepCall]) -> Iterator[tuple[Book, Batch, StepCall]]:
    """The batches of the pairs that are the heads now, each with the step that reads it."""
    asking = [call for call in plan.values() if call.of(Judged)]
    if not asking or not (store.root / BOOK_FILE).exists():
        return
    heads, book = store.heads(), Book.open(store.root)
    try:
        for call in asking:
            (judged,) = call.of(Judged)
            head = heads.get(judged.pairs)
            batch = None if head is None else find_batch(book, judged.batch(call.part, head.version_id))
            if batch is not None:
                yield book, batch, call
    finally:
        book.close()


def _is_read(store: Store, judgements: AssetName) -> bool:
    return store.head(judgements) is not None and bool(store.descendants(judgements).runs)


def _lay_out(book: Book, at: Reading, batch_id: str, pairs: Head, judged: Judged) -> Batch:
    people = judged.people
    items = judged.drafts(at.store.rows(pairs.version_id).to_pylist())
    written = people.written_pairs if isinstance(people, PeopleConfig) else 0
    known = [*(pairs_of_file(people.known_pairs) if people.known_pairs else ()), *pairs_of_one_mind(book)]
    # words out of order are easy to tell: they serve only as long as nothing is known of real pairs
    checks = drawn_checks(known, items, people.attention_checks) or attention_checks(items, people.attention_checks)
    deadline = None if people.deadline_hours is None else book.clock() + 3600 * people.deadline_hours
    spec = BatchSpec(
        batch_id=batch_id,
        part=at.part,
        source=f"annotation batch {batch_id}",
        quota=people.pairs_wanted(len(items)) + written,
        people_per_item=people.per_item,
        deadline=deadline,
        check_every=max(1, min(_CHECK_EVERY, len(items) // (len(checks) + 1))),
        written_prompts=written > 0,
        purpose=judged.purpose,
    )
    try:
        open_batch(book, spec, [*items, *checks])
    except InputError:
        if find_batch(book, batch_id) is None:  # else another process was quicker, by a moment of the deadline
            raise
    batch = find_batch(book, batch_id)
    if batch is None:
        raise AssertionError(f"batch {batch_id} was opened and is not there")
    return batch


def _wait_for(book: Book, batch: Batch, part: str, step: str) -> Wait:
    spec = batch.spec
    ended = None
    if batch.done >= spec.quota:
        ended = "all that was asked for is judged"
    elif batch.waiting == 0 and not spec.written_prompts:
        ended = "no pair is left to judge"
    elif batch.is_finished(book.clock()):
        ended = DEADLINE
    wanted = spec.quota * spec.people_per_item
    judged = count_judgements(book, spec.batch_id)
    return Wait(part, step, spec.batch_id, judged, wanted, spec.deadline, ended)
