"""`halter` commands on a home that cannot be written to: `python -m tests.flows.read_only_bench HOW`, with HALTER_HOME
set and the words of each command as JSON on standard input; prints exit code, output and errors of each as JSON.

HOW: `mounted` read-only, as root of a namespace (`unshare --user --map-root-user --mount`), or as `nobody`, who lacks
the right.
"""

import colorsys  # noqa: F401  (now, as pandas below)
import encodings.unicode_escape  # noqa: F401  (Jinja2's; the same)
import json
import os
import subprocess
import sys

import pandas  # noqa: F401  (now: nobody may not be allowed to read all of this Python)
from typer.main import get_command
from typer.testing import CliRunner

import flows.shown.report.build
import flows.shown.report.page  # noqa: F401  (for the same reason)
from flows.cli import app

COMMANDS = dict(get_command(app).commands)  # type: ignore[attr-defined]  # each imports its file

CANNOT = 77
NOBODY = 65534


def main() -> None:
    """Give up the right to write, and run the commands."""
    home = os.environ["HALTER_HOME"]
    if sys.argv[1] == "mounted":
        for words in (["--bind", home, home], ["-o", "remount,ro,bind", home]):
            if subprocess.run(["mount", *words], capture_output=True).returncode:
                sys.exit(CANNOT)
    else:
        if os.geteuid() != 0:
            sys.exit(CANNOT)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        if not os.access(home, os.R_OK | os.X_OK):
            sys.exit(CANNOT)
    if os.access(home, os.W_OK):
        sys.exit(CANNOT)
    told = []
    may_start = os.access(sys.executable, os.X_OK)
    for words in json.load(sys.stdin):
        if words[0] == "query" and not may_start:  # it asks in a process of its own
            told.append([0, "", "who runs this may not start this Python"])
            continue
        result = CliRunner().invoke(app, words)
        crash = "" if result.exit_code in (0, 2) else repr(result.exception)
        told.append([result.exit_code, result.stdout, result.stderr + crash])
    print(json.dumps(told))


if __name__ == "__main__":
    main()
