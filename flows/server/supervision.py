"""A `prefect` command that outlives nobody: `python -m flows.server.supervision server start`.

Two processes. The supervisor reads standard input, which whoever started it holds open, and interrupts the command when
that closes. The command looks whether its supervisor is still there, and interrupts itself where it is not. So any of
them may be killed, and the others end. Ctrl-C in a terminal reaches neither: it is the starter's to heed.
"""

import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_STOP = 10.0
POLL_SECONDS = 0.5
_WATCHED = "--watched-by"


def supervise(arguments: list[str]) -> None:
    """Run the command until it ends, or standard input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = subprocess.Popen(
        [sys.executable, "-m", "flows.server.supervision", _WATCHED, str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
    )
    while command.poll() is None:
        if select.select([0], [], [], POLL_SECONDS)[0] and not os.read(0, 1):
            break
    command.send_signal(signal.SIGINT)
    try:
        command.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        command.kill()


def run_watched(supervisor: int, arguments: list[str]) -> None:
    """Run `prefect` in this process, for as long as `supervisor` is its parent."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a supervisor hands down that it ignores it
    threading.Thread(target=end_with, args=(supervisor, signal.SIGINT, SECONDS_TO_STOP), daemon=True).start()
    sys.argv = ["prefect", *arguments]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def end_with(parent: int, by: signal.Signals, seconds_to_stop: float) -> None:
    """Signal this process when its parent is gone, and end it where it has not stopped `seconds_to_stop` later."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), by)
    time.sleep(seconds_to_stop)
    os._exit(1)


if __name__ == "__main__":
    if sys.argv[1] == _WATCHED:
        run_watched(int(sys.argv[2]), sys.argv[3:])
    else:
        supervise(sys.argv[1:])
