"""A server that is started: it goes with whoever started it, as a whole, and is not waited for without end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from models.samplers import guard
from models.samplers.client import VllmError
from models.samplers.config import VllmConfig
from models.samplers.server import Server
from tests.vllm import in_group

FAMILY = ["sh", "-c", "sleep 300 & sleep 300 & wait"]  # a command with children, as vLLM is one
STUBBORN = ["sh", "-c", "trap '' TERM; sleep 300 & while true; do sleep 300; done"]


def has_ended(group: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while in_group(group) and time.monotonic() < until:
        time.sleep(0.05)
    return in_group(group) == []


def begun(group: int, count: int) -> None:
    until = time.monotonic() + 10
    while len(in_group(group)) < count:
        assert time.monotonic() < until, in_group(group)
        time.sleep(0.02)


def server(*command: str, seconds: float = 30) -> Server:
    settings = VllmConfig(command=command, start_seconds=seconds)
    return Server(settings, Path("model"), dtype="float32", lora_rank=None, tell=lambda _: None)


@pytest.mark.conformance("a server outlives the step that started it", equation="models.samplers.guard:main")
def test_what_a_killed_process_has_started_goes_as_a_whole(tmp_path: Path) -> None:
    open_here = tmp_path / "open"
    open_here.mkdir()
    starts = (
        "import os, subprocess, sys, time\n"
        "started = subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1], str(os.getpid()), *sys.argv[2:]], "
        "start_new_session=True, stdout=subprocess.DEVNULL)\n"
        "print(started.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    words = [sys.executable, "-I", "-S", "-c", starts, guard.__file__, str(open_here), *FAMILY]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as step:
        assert step.stdout is not None
        group = int(step.stdout.readline())
        begun(group, 4)  # the guard, the shell, and what it runs
        step.send_signal(signal.SIGKILL)
    try:
        assert has_ended(group, 3)
        assert not open_here.exists()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def test_of_a_server_that_ends_the_last_words_are_told_and_nothing_is_left() -> None:
    ends = server("sh", "-c", "echo no such option; sleep 300 & exit 1")
    with pytest.raises(VllmError, match=r"ended; the same command.*\nno such option"), ends:
        pass
    assert has_ended(ends.group, 0)
    errs = server("sh", "-c", "echo ValueError: no such option; for i in $(seq 50); do echo leaked; done")
    with pytest.raises(VllmError, match=r"ended; the same command.*\nValueError: no such option$"), errs:
        pass


def test_a_server_that_does_not_answer_is_given_up_and_ended() -> None:
    silent = server(*FAMILY, seconds=0.3)
    with pytest.raises(VllmError, match="does not answer after 0 seconds"), silent:
        pass
    assert has_ended(silent.group, 0)


@pytest.mark.slow
def test_a_server_that_heeds_no_signal_is_killed() -> None:
    stubborn = server(*STUBBORN, seconds=0.3)
    with pytest.raises(VllmError, match="does not answer"), stubborn:
        pass
    assert has_ended(stubborn.group, 0)


@pytest.mark.slow
def test_where_the_guard_alone_is_killed_the_server_goes_all_the_same() -> None:
    alone = server(*FAMILY, seconds=30)

    def kill_guard(line: str) -> None:
        os.kill(alone.group, signal.SIGKILL)

    alone._tell = kill_guard
    alone.config = VllmConfig(command=("sh", "-c", "echo begun; sleep 300 & sleep 300"))
    with pytest.raises(VllmError, match="ended"), alone:
        pass
    assert has_ended(alone.group, 0)


def test_a_folder_that_is_too_deep_for_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(ValueError, match="is too long for a socket: set TMPDIR"), server(*FAMILY):
        pass
    assert list(deep.iterdir()) == []


def test_an_adapter_of_a_higher_rank_than_vllm_takes_is_refused_before_anything_is_started() -> None:
    settings = VllmConfig(command=("vllm",))
    wide = Server(settings, Path("model"), dtype="float32", lora_rank=513, tell=print)
    with pytest.raises(ValueError, match=r"up to rank 512, not 513: lower lora\.rank"), wide:
        pass
    assert wide.group == 0
