"""A flow of one step in a process of its own: `python -m tests.tasks.little_flow STORE LEDGER LIMIT SECONDS`."""

import json
import sys
from pathlib import Path

from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.execute import execute
from tasks.engine.processes import Workers
from tests.tasks.bench import call_of
from tests.tasks.little_steps import CountConfig, count_slowly


def counting(ledger: Path, limit: int, seconds: float) -> StepCall:
    """The call that this program executes."""
    return call_of(count_slowly, CountConfig(limit=limit, seconds=seconds, ledger=ledger), name="number")


def main() -> None:
    """Count, and print whether anything was computed."""
    store, ledger, limit, seconds = sys.argv[1:]
    workers = Workers()
    outcome = execute(Store(Path(store)), workers, counting(Path(ledger), int(limit), float(seconds)))
    workers.close()
    print(json.dumps({"run": outcome.run_id, "cached": outcome.cached}))


if __name__ == "__main__":
    main()
