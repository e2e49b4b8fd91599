"""The process that answers while people wait, with a real policy in it."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_store.annotation.live import AnswerError, BusyError, TooLongError, TooSlowError
from models.checkpoint import load_policy, save_checkpoint
from models.config import LoraConfig, SamplingConfig
from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tasks.answers import open_renderer
from tasks.live.live_answers import PLACES, POLICIES, LiveAnswerer, LiveConfig, LiveModel
from tasks.sampling import draw
from tests.models.conftest import stirred
from tests.tasks.bench import is_alive, wait_for
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
    renderer = open_renderer(answerer._models["new"].folder)
    for each in (first, second):
        assert each.token_ids is not None
        assert (renderer.response(each.token_ids), each.tokenizer) == (each.text, renderer.identity)
        assert (each.token_ids[-1] in renderer.end_ids) == each.finished
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_policies_that_cannot_be_loaded_are_told_at_the_start_and_no_process_stays(tmp_path: Path) -> None:
    answerer = LiveAnswerer([LiveModel("none", tmp_path / "nowhere", None)], CONFIG)
    with pytest.raises(RuntimeError, match=r"could not be loaded: .*nowhere"):
        answerer.start()
    assert answerer.pid is not None
    assert not is_alive(answerer.pid)


@pytest.mark.slow
def test_a_version_that_is_wanted_later_is_loaded_then_and_one_that_cannot_be_leaves_the_others_at_work(
    tmp_path: Path,
) -> None:
    """An adapter, on a base that another policy is too; nothing is loaded at the start."""
    base = little_policy(tmp_path / "base")
    adapter, renderer = adapter_on(base, tmp_path / "adapter")
    found = {
        "whole": LiveModel("whole", base, None),
        "adapter": LiveModel("adapter", adapter, base),
        "broken": LiveModel("broken", tmp_path / "nowhere", None),
    }
    answerer = LiveAnswerer([], replace(CONFIG, variants=()), found.get)
    try:
        answerer.start()
        assert (answerer.pid, answerer.attackable("unheard of")) == (None, False)
        assert all(answerer.attackable(version) for version in ("whole", "broken", "adapter"))
        with pytest.raises(BusyError):
            answerer.reply(ASKED, "key", "adapter")

        def is_loaded() -> bool:
            try:
                return bool(answerer.reply(ASKED, "key", "adapter"))
            except BusyError:
                return False

        wait_for(is_loaded, "the adapter", 120)
        said, whole = (
            [answerer.reply(ASKED, f"key {n}", version) for n in range(5)] for version in ("adapter", "whole")
        )
        assert [one.text for one in said] != [one.text for one in whole]
        sampling = SamplingConfig(max_new_tokens=CONFIG.max_new_tokens, batch_size=1)
        policy = load_policy(adapter, base)
        for one in said:
            drawn = draw(policy, renderer, [ASKED], sampling, temperatures=[0.9], seed=one.seed)
            assert one.text == drawn[0][0].text
        assert not answerer.attackable("broken")
        with pytest.raises(AnswerError, match="nowhere"):
            answerer.reply(ASKED, "key", "broken")
    finally:
        answerer.close()


@pytest.mark.slow
def test_no_more_policies_are_loaded_than_there_is_room_for(tmp_path: Path) -> None:
    answerer = LiveAnswerer([], CONFIG, lambda version: LiveModel(version, tmp_path, None))
    try:
        assert [answerer.attackable(f"version {number}") for number in range(POLICIES + 1)] == [True] * POLICIES + [
            False
        ]
    finally:
        answerer.close()


def adapter_on(base: Path, folder: Path) -> tuple[Path, Renderer]:
    """The checkpoint of an adapter that changes what the base says."""
    renderer = Renderer(load_tokenizer(base))
    torch.manual_seed(0)  # what is never trained says nearly anything: with some adapters by chance the same
    policy = stirred(load_policy(base, lora=LoraConfig(rank=4, alpha=400), trainable=True))
    save_checkpoint(policy, renderer.tokenizer, folder)
    return folder, renderer
