"""Runs a command for as long as the process lives that wants it: `python -I -S guard.py PID FOLDER COMMAND…`.

A program of its own, with the standard library alone, and the first of a process group. vLLM is several processes, and
those outlive the one that is killed; here all of them are in the group, and it goes as a whole: when the command ends,
and when the process that started this one is gone, by whatever signal. FOLDER, which was made for the command, goes
too.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

_GRACE_SECONDS = 5.0


def main() -> None:
    """Until the end of either; then nothing of the group is left, this process included."""
    parent, folder = int(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGTERM, lambda *_: None)  # ignored, it would be ignored by the command, too
    command = subprocess.Popen(sys.argv[3:])
    try:
        while command.poll() is None and os.getppid() == parent:
            time.sleep(0.2)
        if command.poll() is None:
            os.killpg(0, signal.SIGTERM)
            command.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
