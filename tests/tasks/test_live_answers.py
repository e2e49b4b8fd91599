"""The process that answers while people wait, with a real policy in it."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_store.annotation.live import BusyError, TooLongError, TooSlowError
from tasks.live_answers import PLACES, LiveAnswerer, LiveConfig, LiveModel
from tests.tasks.bench import wait_for
from tests.tasks.little_policy import little_policy

CONFIG = LiveConfig(
    variants=("new", "old"),
    temperatures=(0.7, 1.0),
    reply_temperature=0.9,
    max_new_tokens=12,
    prompt_tokens=80,
    seed=3,
)
ASKED = [{"role": "user", "content": "who eats grass"}]


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAnswerer]:
    folders = [little_policy(tmp_path_factory.mktemp("policy"), seed) for seed in (5, 6)]
    models = [LiveModel(version, folder, None) for version, folder in zip(("new", "old"), folders, strict=True)]
    found = LiveAnswerer(models, CONFIG)
    found.start()
    yield found
    found.close()


def test_two_variants_answer_at_two_temperatures_and_the_same_key_draws_the_same_again(answerer: LiveAnswerer) -> None:
    first, second = answerer.pair(ASKED, "key")
    assert (first.policy_version, second.policy_version) == ("new", "old")
    assert {first.temperature_milli, second.temperature_milli} == {700, 1000}
    assert first.seed != second.seed
    assert first.text != second.text
    answerer.reply(ASKED, "key", "old")  # what is asked in between changes nothing
    assert answerer.pair(ASKED, "key") == (first, second)
    others = [answerer.pair(ASKED, f"key {number}") for number in range(3)]
    assert all(first.seed not in {side.seed for side in pair} for pair in others)


def test_a_version_is_asked_alone_at_a_temperature_of_its_own(answerer: LiveAnswerer) -> None:
    reply = answerer.reply(ASKED, "key", "old")
    assert (reply.policy_version, reply.temperature_milli) == ("old", 900)
    assert (answerer.attackable("old"), answerer.attackable("other")) == (True, False)


def test_a_dialogue_that_leaves_no_room_is_refused_with_its_length(answerer: LiveAnswerer) -> None:
    with pytest.raises(TooLongError) as refused:
        answerer.pair([{"role": "user", "content": "grass " * 200}], "key")
    assert refused.value.tokens > refused.value.limit == 80
    assert answerer.pair(ASKED, "key")[0].policy_version == "new"


def test_more_people_than_there_are_places_are_told_at_once(answerer: LiveAnswerer) -> None:
    answers = []
    waiting = [
        threading.Thread(target=lambda: answers.append(answerer.reply(ASKED, "key", "new"))) for _ in range(PLACES)
    ]
    with answerer._turn:  # somebody's answer takes its time
        for thread in waiting:
            thread.start()
        wait_for(lambda: answerer._places._value == 0, "all places taken")  # type: ignore[attr-defined]
        with pytest.raises(BusyError):
            answerer.reply(ASKED, "key", "new")
    for thread in waiting:
        thread.join(30)
    assert len(answers) == PLACES


def test_a_process_that_dies_is_replaced_and_says_the_same_and_one_that_is_too_slow_ends(
    answerer: LiveAnswerer,
) -> None:
    said, pid = answerer.pair(ASKED, "key"), answerer.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: answerer.pid != pid, "a new process")
    with pytest.raises(BusyError):  # it is still being loaded
        answerer.pair(ASKED, "key")

    def is_back() -> bool:
        try:
            return answerer.pair(ASKED, "key") == said
        except BusyError:
            return False

    wait_for(is_back, "the same answer of the new process", 120)
    pid = answerer.pid
    answerer.config = replace(CONFIG, seconds=1e-4)
    with pytest.raises(TooSlowError):
        answerer.reply(ASKED, "key", "new")
    wait_for(lambda: answerer.pid != pid, "a new process")


def test_policies_that_cannot_be_loaded_are_told_at_the_start(tmp_path: Path) -> None:
    answerer = LiveAnswerer([LiveModel("none", tmp_path / "nowhere", None)], CONFIG)
    with pytest.raises(RuntimeError, match=r"could not be loaded: .*nowhere"):
        answerer.start()
    answerer.close()
