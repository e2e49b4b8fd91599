"""The process that reads what the machine draws: answers each line of standard input with what was drawn since the one
before, `{"kwh": …, "kg": …}`; its first line says that it has begun."""

import json
import os
import select
import sys
from typing import Any

_SECONDS_BETWEEN = 10.0  # readings: codecarbon takes power to be what it was at the last one, and counters turn over


class Readings:
    """What codecarbon reads, one task of it after the other."""

    def __init__(self, country: str) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.kwh = self.kg = 0.0
        self._count = 0
        self._tracker: Any = OfflineEmissionsTracker(
            country_iso_code=country,
            tracking_mode="machine",
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,
        )
        self._tracker.start_task("0")

    def read(self) -> None:
        """Add what was drawn since the last reading."""
        found = self._tracker.stop_task(str(self._count))
        self._count += 1
        self._tracker.start_task(str(self._count))
        self.kwh, self.kg = self.kwh + found.energy_consumed, self.kg + found.emissions

    def take(self) -> dict[str, float]:
        """What has come together, which is nothing after."""
        self.read()
        taken = {"kwh": self.kwh, "kg": self.kg}
        self.kwh = self.kg = 0.0
        return taken


def main() -> None:
    """Until standard input ends."""
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(2, 1)  # libraries print what they like
        try:
            readings = Readings(sys.argv[1])
            _say(told, {})
            while True:
                if not select.select([0], [], [], _SECONDS_BETWEEN)[0]:
                    readings.read()
                elif os.read(0, 1):
                    _say(told, readings.take())
                else:
                    return
        except Exception as error:  # a library of somebody else may raise anything
            _say(told, {"problem": " ".join(f"{type(error).__name__}: {error}".split())[:300]})


def _say(told: Any, line: dict[str, Any]) -> None:
    told.write(json.dumps(line) + "\n")
    told.flush()


if __name__ == "__main__":
    main()
