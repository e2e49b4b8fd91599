#!/bin/bash
# Ctrl-C that meets DuckDB at work arrives as a RuntimeError, an ordinary Exception; with DuckDB 1 the KeyboardInterrupt
# is its cause, with 2 it is lost. So `except Exception` takes the wish to stop for a failed query and goes on, which no
# other blocking call of Python does. DuckDB's class InterruptException comes of `connection.interrupt()` alone.
#
# duckdb 1.5.5 and 2.0.1, Python 3.11. Source: DuckDB's Python client looks for signals between pieces of a query, and
# throws a C++ runtime_error for one, which pybind11 makes a RuntimeError.
# What avoids it: catch RuntimeError around queries, and raise KeyboardInterrupt for one that says «Query interrupted».
#
# Seen:
#   1.5.5 RuntimeError: Query interrupted, Exception: yes, InterruptException: no, cause KeyboardInterrupt
#   2.0.1 RuntimeError: Query interrupted, Exception: yes, InterruptException: no, cause NoneType
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat >"$folder/stop.py" <<'PYTHON'
import os
import signal
import threading

import duckdb

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where the shell ignores it
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    duckdb.connect().execute("SELECT sum(sqrt(range)) FROM range(1000000000)").fetchall()
except BaseException as error:
    ordinary, own = (("no", "yes")[isinstance(error, each)] for each in (Exception, duckdb.InterruptException))
    name, cause = type(error).__name__, type(error.__cause__).__name__
    print(f"{duckdb.__version__} {name}: {error}, Exception: {ordinary}, InterruptException: {own}, cause {cause}")
PYTHON
for version in 1.5.5 2.0.1; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==$version"
    "$folder/venv/bin/python" "$folder/stop.py"
done >"$folder/seen"
cat "$folder/seen"
line="RuntimeError: Query interrupted, Exception: yes, InterruptException: no, cause"
diff "$folder/seen" <(printf '%s\n' "1.5.5 $line KeyboardInterrupt" "2.0.1 $line NoneType")
