import os
from pathlib import Path

import pytest

from flows.server import command_logs
from flows.server.command_logs import KEPT, cut, end_of, log_file


def test_each_command_has_its_own_log_and_two_of_a_kind_have_two(tmp_path: Path) -> None:
    mine, other = log_file(tmp_path, "run", "server"), log_file(tmp_path, "rerun", "server")
    assert mine != other
    assert mine.parent == tmp_path / "logs"
    assert str(os.getpid()) in mine.name


def test_the_logs_of_the_newest_commands_stay_and_those_of_one_that_is_at_work(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    gone = 2**22 + 1  # above the largest id that a process can have
    for hour in range(30):
        pid = os.getppid() if hour == 0 else gone
        (logs / f"20260101T{hour:02}0000Z-run-{pid}-server.log").touch()
    mine = log_file(tmp_path, "run", "server")
    mine.touch()
    left = sorted(path.name for path in logs.iterdir())
    assert len(left) == KEPT + 1
    assert left[0].startswith("20260101T00"), "the oldest is at work"
    assert left[1].startswith("20260101T11"), "of the others the newest nineteen, and mine"


def test_a_log_that_has_grown_too_large_keeps_its_newer_half_and_can_be_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_logs, "LARGEST", 100)
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(30):
            writer.write(f"line {number:04}\n".encode())
        cut(log)
        writer.write(b"and on\n")
    assert log.read_text().splitlines() == [*(f"line {number:04}" for number in range(26, 30)), "and on"]
    cut(log)
    assert end_of(log, 7) == "and on\n"
    assert end_of(tmp_path / "none.log") == ""
