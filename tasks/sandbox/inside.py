"""What runs first inside the private root: bounds itself, takes the program from its input, and becomes it.

It is given to the interpreter as text (tasks/sandbox/sandbox.py), for no file of ours is there. Standard library alone.
"""

import json
import os
import resource
import sys


def main() -> None:
    """`argv` holds the limits, in seconds and bytes, by name."""
    limits = json.loads(sys.argv[1])
    with open("/tmp/main.py", "wb") as file:  # noqa: PTH123, S108  (a fresh tmpfs of its own)
        file.write(sys.stdin.buffer.read())
    bounds = {
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for what, bound in bounds.items():
        resource.setrlimit(what, (bound, bound))
    os.execve(sys.executable, [sys.executable, "-I", "-S", "/tmp/main.py"], {})  # noqa: S108, S606


if __name__ == "__main__":
    main()
