"""What DuckDB makes of Ctrl-C is made Ctrl-C again."""

import subprocess
import sys

import pytest

from data_store.damage import ctrl_c_heeded

WAITS = """
import os, signal, threading
import duckdb
from data_store.damage import SteadyReader

reader = SteadyReader(duckdb.connect(), duckdb.connect)
asked = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
asked.start()
try:
    reader.execute("SELECT sum(sqrt(range)) FROM range(300000000)").fetchall()
except KeyboardInterrupt:
    print("Ctrl-C", reader.execute("SELECT 42").fetchall())
"""


@pytest.mark.slow
@pytest.mark.conformance(
    "Ctrl-C is taken for a failure, and the next run begins", equation="data_store.damage:ctrl_c_heeded"
)
def test_ctrl_c_in_the_middle_of_a_query_is_ctrl_c_and_no_failure_and_the_next_query_is_answered() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("Ctrl-C [(42,)]\n", 0), done.stderr


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="full"), ctrl_c_heeded():
        raise RuntimeError("full")
