"""Asking an endpoint."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from data_store.names import AssetName
from flows.recipe.config import RunConfig
from flows.session import Session
from tasks.engine.execute import prepare, resolve_inputs
from tasks.engine.jobs import StepFailedError
from tasks.judge_pairs import judge_pairs
from tasks.judging.chat_client import EndpointError
from tasks.judging.lm import LMStepConfig
from tests.data_store.store_bench import Bench
from tests.flows.chat_server import ChatServer, chat_server, later_is_better
from tests.flows.recipe_runs import POCKET
from tests.flows.test_waiting import pair_row
from tests.tasks.bench import step_run, written

KEY = ("V1", "judge_pairs")
SECRET = "sk-of-nobody-else"
PAIRS = [{**pair_row(number), "axis": "safety" if number == 3 else "helpfulness"} for number in range(4)]
QUESTIONS = 2 * 4 + 2


def ask_judge(session: Session, part: str, step: str) -> None:
    """What happens before the step."""
    assert prepare(session.store, session.plan[part, step]) is None


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as state:
        yield state


Sessions = Callable[..., Session]


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ChatServer) -> Iterator[Sessions]:
    """Sessions of one run in which four pairs were drawn."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    opened: list[Session] = []

    def session(**endpoint: Any) -> Session:
        content = yaml.safe_load(POCKET)
        given = {"url": server.url, "model": "big", "key_variable": "JUDGE_KEY", "backoff_seconds": 0.01, **endpoint}
        content["collect"]["judge"] = {"endpoint": given}
        opened.append(Session(RunConfig.model_validate({**content, "iterations": 1})))
        if len(opened) == 1:
            bench = Bench(opened[0].store, tmp_path / "work")
            rows = bench.rows("pair", PAIRS)
            version = opened[0].store.publish("dataset", rows, row_kind="pair")
            bench.run("draw_pairs", {"dataset/pairs@V1": version})
        return opened[-1]

    yield session
    for each in opened:
        each.workers.close()


def answers_of(session: Session) -> list[dict[str, Any]]:
    (entry,) = (each for each in resolve_inputs(session.store, session.plan[KEY]) if each.role == "answers")
    rows: list[dict[str, Any]] = session.store.rows(entry.version_id).to_pylist()
    return rows


def judged(session: Session, folder: Path) -> dict[str, dict[str, Any]]:
    """What the step makes of the answers, by pair."""
    config = session.plan[KEY].config
    assert isinstance(config, LMStepConfig)
    inputs = {"pairs": ("pair", PAIRS), "answers": ("answer", answers_of(session))}
    judge_pairs.function(step_run(folder, inputs=inputs, outputs=dict(judge_pairs.outputs)), config)
    return {row["preference_id"]: row for role in ("judgements",) for row in written(folder, role)}


def test_the_endpoint_is_asked_once_in_both_orders_and_never_again(
    sessions: Sessions, server: ChatServer, tmp_path: Path
) -> None:
    session = sessions()
    with pytest.raises(InputError, match="was not asked yet; `halter run CONFIG` asks it"):
        resolve_inputs(session.store, session.plan[KEY])
    ask_judge(session, *KEY)
    assert len(server.asked) == QUESTIONS
    assert {(each["path"], each["model"], each["temperature"]) for each in server.asked} == {
        ("/v1/chat/completions", "big", 0)
    }
    rows = judged(session, tmp_path / "step")
    assert {(row["chosen"], row["rating"], row["annotator"]) for row in rows.values()} == {("b", "better", "lm:big")}
    assert {key: row["safety_label"] for key, row in rows.items()} == {
        f"pair-{n}": "both_safe" if n == 3 else None for n in range(4)
    }
    ask_judge(session, *KEY)
    ask_judge(sessions(concurrency=1, retries=0, timeout_seconds=9.0), *KEY)
    assert len(server.asked) == QUESTIONS, "patience decides no answer, so nobody is asked anew"


def test_a_key_that_is_missing_is_found_before_anything_runs_and_only_where_it_will_be_needed(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sessions()
    session.check([KEY])
    monkeypatch.delenv("JUDGE_KEY")
    missing = "collect.judge.endpoint.key_variable: the environment has no JUDGE_KEY; export JUDGE_KEY=… before"
    with pytest.raises(InputError, match=missing):
        session.check([KEY])
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    ask_judge(session, *KEY)
    monkeypatch.delenv("JUDGE_KEY")
    session.check([KEY])
    with pytest.raises(InputError, match=missing):
        session.check([("V1", "draw_pairs"), KEY])  # other pairs, which nobody has answered


def test_the_answers_are_a_source_that_says_who_was_asked_and_the_key_stands_nowhere(
    sessions: Sessions, server: ChatServer
) -> None:
    session = sessions()
    ask_judge(session, *KEY)
    assert server.keys == {f"Bearer {SECRET}"}
    (entry,) = (each for each in resolve_inputs(session.store, session.plan[KEY]) if each.role == "answers")
    assert entry.asset.kind == "source"
    (head,) = session.store.history(AssetName.parse(str(entry.asset)))
    assert head.reason.startswith(f"registered from big at {server.url} on dataset/pairs@V1 ")
    assert head.reason.endswith(f": {QUESTIONS} answered")
    files = [path for path in session.store.root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in json.dumps(session.plan[KEY].recipe()) + session.config.model_dump_json()


@pytest.mark.slow
def test_another_model_is_asked_anew(sessions: Sessions, server: ChatServer) -> None:
    ask_judge(sessions(), *KEY)
    ask_judge(sessions(model="bigger"), *KEY)
    assert len(server.asked) == 2 * QUESTIONS


@pytest.mark.slow
def test_a_judge_that_goes_by_the_place_judges_nothing(sessions: Sessions, server: ChatServer, tmp_path: Path) -> None:
    server.reply = lambda question, _: (200, "A better" if "Response A" in question else "safe")
    session = sessions()
    ask_judge(session, *KEY)
    with pytest.raises(InputError, match=r"lm:big judged none of 4 pairs; refused: \{'orders_disagree': 4\}"):
        judged(session, tmp_path / "step")


@pytest.mark.slow
def test_a_busy_server_is_asked_again_and_a_dead_one_not_for_ever(sessions: Sessions, server: ChatServer) -> None:
    server.reply = lambda question, number: (503, {}) if number % 2 else later_is_better(question, number)
    session = sessions(concurrency=1, retries=1)
    ask_judge(session, *KEY)
    assert len(server.asked) == 2 * QUESTIONS
    server.reply = lambda question, number: (429, {})
    with pytest.raises(EndpointError, match=r"no answer in 3 attempts, at last status 429; what was answered is kept"):
        ask_judge(sessions(model="other", concurrency=1, retries=2), *KEY)
    assert len(server.asked) == 2 * QUESTIONS + 3


@pytest.mark.slow
def test_what_was_answered_before_a_failure_is_not_asked_again(sessions: Sessions, server: ChatServer) -> None:
    server.reply = lambda question, number: later_is_better(question, number) if number <= 6 else (500, {})
    session = sessions(concurrency=1, retries=0)
    with pytest.raises(EndpointError):
        ask_judge(session, *KEY)
    server.reply = later_is_better
    before = len(server.asked)
    ask_judge(session, *KEY)
    assert len(server.asked) - before == QUESTIONS - 6
    assert len(answers_of(session)) == QUESTIONS


@pytest.mark.slow
def test_no_more_requests_at_once_than_the_config_allows(sessions: Sessions, server: ChatServer) -> None:
    everybody = threading.Barrier(3)

    def slow(question: str, number: int) -> tuple[int, Any]:
        if number <= 3:
            everybody.wait(timeout=20)  # three at a time, or it breaks
        return later_is_better(question, number)

    server.reply = slow
    ask_judge(sessions(concurrency=3), *KEY)
    assert server.most_at_once == 3


@pytest.mark.slow
def test_refused_questions_and_odd_answers_are_counted_by_name(
    sessions: Sessions, server: ChatServer, tmp_path: Path
) -> None:
    def odd(question: str, number: int) -> tuple[int, Any]:
        if "question 0" in question:
            return 400, {"error": "too long"}
        return (200, "I cannot say") if "question 1" in question else later_is_better(question, number)

    server.reply = odd
    session = sessions()
    ask_judge(session, *KEY)
    assert set(judged(session, tmp_path / "step")) == {"pair-2", "pair-3"}
    refused = {row["doc_id"]: row["reason"] for row in written(tmp_path / "step", "refused")}
    assert refused == {"pair-0": "endpoint_refused_400", "pair-1": "answer_not_as_asked"}


@pytest.mark.slow
def test_a_server_that_refuses_everything_leaves_nothing_behind(sessions: Sessions, server: ChatServer) -> None:
    server.reply = lambda question, number: (400, {})
    session = sessions()
    with pytest.raises(StepFailedError, match=rf"answered none of {QUESTIONS} questions: endpoint_refused_400"):
        ask_judge(session, *KEY)
    server.reply = later_is_better
    ask_judge(session, *KEY)
    assert all(row["refused"] is None for row in answers_of(session))


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (401, {"error": f"wrong key {SECRET}"}, InputError, "answers with status 401; check url, model and the key"),
        (404, {"error": f"no model; {SECRET}"}, InputError, "answers with status 404: .*no model; …"),
        (200, {"text": "?"}, EndpointError, "does not speak OpenAI's chat completions"),
        (
            200,
            {"text": "?" * (1 << 20)},
            EndpointError,
            "answers with more than 1048576 bytes, and is not asked any more",
        ),
    ],
)
def test_an_endpoint_that_cannot_be_used_stops_at_once_and_no_message_has_the_key(
    sessions: Sessions, server: ChatServer, status: int, body: Any, error: type[Exception], message: str
) -> None:
    server.reply = lambda question, number: (status, body)
    with pytest.raises(error, match=message) as caught:
        ask_judge(sessions(concurrency=1), *KEY)
    assert SECRET not in str(caught.value)
    assert len(server.asked) == 1


def test_a_key_that_the_environment_lacks_is_named(
    sessions: Sessions, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(InputError, match="the environment has no JUDGE_KEY; export JUDGE_KEY=… before the run"):
        ask_judge(sessions(), *KEY)
    assert server.asked == []


def test_a_step_that_asks_nobody_is_left_alone(sessions: Sessions, server: ChatServer) -> None:
    ask_judge(sessions(), "V1", "collect_preferences")
    assert server.asked == []
