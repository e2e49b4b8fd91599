"""The gate between the pairs and the preferences, without Prefect and without models."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.annotation.batches import batches, close_batch
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.handover import hand_over, judgements_asset
from data_store.annotation.judging import Verdict, judge, next_item
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import add_annotator
from data_store.annotation.writing import begin_dialogue, enter_written
from data_store.errors import InputError
from flows.recipe.config import RunConfig
from flows.session import Session
from tasks.engine.call import readings
from tasks.engine.execute import resolve_inputs
from tasks.engine.jobs import StepFailedError
from tasks.engine.reading import Wait
from tasks.incoming.judged import Judged, judged_and_unread, waits_of
from tasks.incoming.judged import await_judgements as await_these
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET

PAIRS = 4
KEY = ("V1", "collect_preferences")
Sessions = Callable[..., Session]


def await_judgements(session: Session, part: str, step: str, clock: Callable[[], float] = time.time) -> Wait | None:
    """What the step waits for, by the judgements that it reads."""
    read = readings(session.store, session.store.heads(), session.plan[part, step])
    waits = [await_these(at, each, clock) for each, at in read if isinstance(each, Judged)]
    return next(filter(None, waits), None)


def config_of(**people: Any) -> RunConfig:
    content = yaml.safe_load(POCKET)
    content["collect"]["people"] = people
    return RunConfig.model_validate({**content, "iterations": 1, "annotator": None})


def pair_row(number: int) -> dict[str, Any]:
    return {
        "pair_id": f"pair-{number}",
        "source": "test",
        "prompt_id": f"prompt-{number}",
        "axis": "helpfulness",
        "iteration": "V1",
        "messages": [{"role": "user", "content": f"question {number}"}],
        "response_a": f"answer A of {number}",
        "response_b": f"answer B of {number}",
        "finished_a": True,
        "finished_b": True,
        "policy_version_a": "new",
        "policy_version_b": "old",
        "temperature_milli_a": 700,
        "temperature_milli_b": 1000,
    }


PROMPT = {
    "prompt_id": "held-out",
    "source": "test",
    "kind": "ordinary",
    "axis": "helpfulness",
    "split": "heldout",
    "messages": [{"role": "user", "content": "held out"}],
}


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    """Sessions of one run in which four pairs were drawn, with these people."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    opened: list[Session] = []

    def session(**people: Any) -> Session:
        opened.append(Session(config_of(**people)))
        if len(opened) == 1:
            draw(opened[0], PAIRS)
        return opened[-1]

    def draw(session: Session, count: int) -> None:
        bench = Bench(session.store, tmp_path / f"work-{count}")
        rows = bench.rows("pair", [pair_row(number) for number in range(count)])
        prompts = bench.rows("prompt", [PROMPT])
        bench.run("import_data", {"dataset/prompts@base": session.store.publish("dataset", prompts, row_kind="prompt")})
        bench.run("draw_pairs", {"dataset/pairs@V1": session.store.publish("dataset", rows, row_kind="pair")})

    yield session
    for each in opened:
        each.workers.close()


def wait_of(session: Session) -> Wait:
    wait = await_judgements(session, *KEY)
    assert wait is not None
    return wait


def judge_some(session: Session, name: str, count: int) -> None:
    """Somebody new at work."""
    book = Book.open(session.store.root)
    add_annotator(book, name)
    (batch,) = batches(book)
    for _ in range(count):
        shown = next_item(book, batch.spec.batch_id, name)
        assert shown is not None
        judge(book, name, shown.form_key, Verdict("a", "better"))


@pytest.mark.slow
def test_it_waits_until_the_quota_is_judged_and_each_look_counts_anew(sessions: Sessions) -> None:
    session = sessions(per_item=2, quota_percent=50)
    assert (wait_of(session).judgements, wait_of(session).wanted) == (0, 4)
    judge_some(session, "anna", 2)
    assert str(wait_of(session)).startswith("2 of 4 judgements in batch v1-")
    with pytest.raises(InputError, match="people have not finished"):
        resolve_inputs(session.store, session.plan["V1", "collect_preferences"])
    judge_some(session, "ben", 2)
    assert waits_of(session.store, session.plan)[KEY].ended == "all that was asked for is judged"
    assert await_judgements(session, *KEY) is None
    assert waits_of(session.store, session.plan) == {}
    roles = {entry.role: entry for entry in resolve_inputs(session.store, session.plan[KEY])}
    assert set(roles) == {"prompts", "pairs", "judgements"}
    found = session.store.rows(roles["judgements"].version_id).column("annotator").to_pylist()
    assert sorted(found) == ["anna", "anna", "ben", "ben"]


def test_other_steps_and_runs_without_people_wait_for_nothing(sessions: Sessions) -> None:
    session = sessions()
    assert await_judgements(session, "V1", "draw_pairs") is None
    assert await_judgements(session, "V1", "fine_tune") is None
    assert batches(Book.open(session.store.root)) == []


@pytest.mark.slow
def test_what_is_asked_of_people_stands_once_the_batch_is_open(sessions: Sessions) -> None:
    wait_of(sessions(per_item=2))
    assert wait_of(sessions(per_item=3, quota=1)).wanted == 2 * PAIRS


@pytest.mark.slow
def test_at_the_deadline_the_run_fails_or_goes_on_with_what_is_there(sessions: Sessions) -> None:
    session = sessions(deadline_hours=2)
    wait = wait_of(session)
    later = time.time() + 3 * 3600
    judge_some(session, "anna", 1)
    assert str(wait_of(session)).endswith(" UTC")
    with pytest.raises(StepFailedError, match=r"1 of 4 judgements .* train_on_what_is_there"):
        await_judgements(session, *KEY, lambda: later)

    session = sessions(at_deadline="train_on_what_is_there")
    assert await_judgements(session, *KEY, lambda: later) is None
    assert session.store.rows(session.store.heads()[judgements_asset(wait.batch_id)].version_id).num_rows == 1


@pytest.mark.slow
def test_a_batch_that_nobody_judged_is_not_gone_on_with(sessions: Sessions) -> None:
    session = sessions(deadline_hours=2, at_deadline="train_on_what_is_there")
    wait_of(session)
    with pytest.raises(StepFailedError, match=r"0 of 4 judgements .* halter rerun V1 draw-pairs"):
        await_judgements(session, *KEY, lambda: time.time() + 3 * 3600)
    (batch,) = batches(Book.open(session.store.root))
    assert batch.closed is None


@pytest.mark.slow
def test_what_was_handed_over_holds_where_the_book_is_gone(sessions: Sessions) -> None:
    session = sessions()
    wait_of(session)
    judge_some(session, "anna", PAIRS)
    assert await_judgements(session, *KEY) is None
    inputs = resolve_inputs(session.store, session.plan[KEY])
    for path in session.store.root.glob(f"{BOOK_FILE}*"):
        path.unlink()
    assert await_judgements(session, *KEY) is None
    assert resolve_inputs(session.store, session.plan[KEY]) == inputs


@pytest.mark.slow
def test_a_batch_is_due_from_its_last_judgement_until_a_step_has_read_it(sessions: Sessions, tmp_path: Path) -> None:
    """Wherever everything is killed in between, it is still due."""
    session = sessions()
    batch_id = wait_of(session).batch_id

    def due() -> list[str]:
        return judged_and_unread(session.store, session.plan)

    assert due() == []
    judge_some(session, "anna", PAIRS)
    assert due() == [batch_id]
    book = Book.open(session.store.root)
    close_batch(book, batch_id, "enough")
    assert due() == [batch_id]
    hand_over(session.store, book, batch_id)
    assert due() == [batch_id]
    bench = Bench(session.store, tmp_path / "reader")
    bench.run("collect_preferences", {"dataset/preferences@V1": "rows"}, (str(judgements_asset(batch_id)),))
    assert due() == []


def test_checks_are_drawn_from_known_pairs_where_there_are_some(sessions: Sessions, tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    row = {"prompt": "2 + 2?", "response_a": "4", "response_b": "a fish", "chosen": "a"}
    file.write_text(json.dumps(row) + "\n")
    session = sessions(attention_checks=2, known_pairs=str(file))
    wait = wait_of(session)
    with Book.open(session.store.root).reading() as connection:
        found = connection.execute(
            "SELECT messages, known_choice, response_a, response_b FROM item WHERE known_choice IS NOT NULL"
        ).fetchall()
    assert wait.wanted == PAIRS  # checks are not counted
    ((messages, right, response_a, response_b),) = map(tuple, found)
    assert json.loads(messages) == [{"role": "user", "content": "2 + 2?"}]
    assert (response_a if right == "a" else response_b) == "4"


@pytest.mark.slow
def test_a_batch_waits_for_the_prompts_that_people_write(sessions: Sessions) -> None:
    session = sessions(written_pairs=1)
    assert wait_of(session).wanted == PAIRS + 1
    book = Book.open(session.store.root)
    add_annotator(book, "anna")
    (batch,) = batches(book)
    while shown := next_item(book, batch.spec.batch_id, "anna"):
        judge(book, "anna", shown.form_key, Verdict("a", "better"))
    assert wait_of(session).ended is None
    sides = (LiveResponse("one", "new", 700, 1), LiveResponse("two", "old", 1000, 2))
    enter_written(book, batch.spec.batch_id, "anna", begin_dialogue("helpfulness"), "why?", sides, "form")
    shown = next_item(book, batch.spec.batch_id, "anna")
    assert shown is not None
    judge(book, "anna", shown.form_key, Verdict("b", "better"))
    assert await_judgements(session, *KEY) is None
    rows = session.store.rows(session.store.heads()[judgements_asset(batch.spec.batch_id)].version_id).to_pylist()
    assert sum(row["source"].endswith("written by anna") for row in rows) == 1
