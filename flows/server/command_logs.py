"""Log files of what a command starts beside itself: each command has its own, and all of them are bounded, in number
and in size."""

import os
from datetime import UTC, datetime
from pathlib import Path

KEPT = 20
LARGEST = 10_000_000  # bytes; a schedule may go on for months

_STARTED = datetime.now(UTC)


def log_file(folder: Path, command: str, what: str) -> Path:
    """Where this process logs what it starts: `logs/20261128T165020Z-serve-4711-server.log` in `folder`. Removes the
    logs of the oldest commands, not those of one that is at work."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    mine = logs / f"{_STARTED:%Y%m%dT%H%M%SZ}-{command}-{os.getpid()}-{what}.log"
    others = sorted((path for path in logs.glob("*.log") if path != mine), reverse=True)
    for path in others[KEPT - 1 :]:
        if not _is_at_work(path):
            path.unlink(missing_ok=True)  # another command may do the same
    return mine


def cut(log: Path) -> None:
    """Keep the newer half of a log that has become too large. Whoever writes must do so in append mode."""
    if not log.exists() or log.stat().st_size <= LARGEST:
        return
    with log.open("rb") as file:
        file.seek(-LARGEST // 2, os.SEEK_END)
        tail = file.read().partition(b"\n")[2]
    os.truncate(log, 0)
    with log.open("ab") as file:
        file.write(tail)


def end_of(log: Path, size: int = 1500) -> str:
    """The last words of a log, for a message."""
    return log.read_text(errors="replace")[-size:] if log.exists() else ""


def _is_at_work(log: Path) -> bool:
    try:
        os.kill(int(log.name.split("-")[2]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True
