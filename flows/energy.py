"""The config's `energy_country`: what this machine draws while steps compute, by codecarbon, and the CO2 of that.

codecarbon is somebody else's library, which looks for meters of the machine for some seconds and asks devices. It runs
in a process of its own, which begins with the first step that computes. A reading that fails costs figures, no step.
"""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.figures import seconds
from data_store.records import KG_CO2, KWH, Metric

_SECONDS_TO_BEGIN = 60.0
_SECONDS_TO_ANSWER = 5.0


def check_energy(country: str | None) -> None:
    """Raises InputError where codecarbon is not installed here, and for a country that it does not know, which it would
    take for the mean of the world."""
    if country is None:
        return
    if find_spec("codecarbon") is None:
        raise InputError("energy_country: codecarbon is not installed here: `pip install codecarbon`, or take it out")
    from codecarbon.input import DataSource

    source: Any = DataSource
    known = source().get_global_energy_mix_data()
    if country not in known:
        hint = did_you_mean(country, sorted(known))
        raise InputError(f"energy_country: {country} is no country of three letters as ISO 3166 has them{hint}")


class EnergyMeter:
    """Of one process that runs steps. Those that run at once get like parts of what the machine draws meanwhile.
    `problem`: why there are no figures, for people; empty where there are."""

    def __init__(self, country: str | None) -> None:
        self.problem = ""
        self._country = country
        self._lock = threading.Lock()
        self._drawn: dict[str, tuple[float, float]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, run_id: str) -> None:
        """A step's run computes from now on."""
        if self._country is None or self.problem:
            return
        with self._lock:
            self._turn()
            self._drawn[run_id] = (0.0, 0.0)

    def end(self, run_id: str) -> Sequence[Metric]:
        """It has ended: kWh, and kg of CO2; nothing where these are not known."""
        with self._lock:
            if run_id not in self._drawn:
                return ()
            self._turn()
            kwh, kg = self._drawn.pop(run_id)
            return () if self.problem else (Metric(KWH, kwh), Metric(KG_CO2, kg))

    def close(self) -> None:
        """No step runs any more."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _turn(self) -> None:
        """Give those that run what was drawn since the last time that one began or ended."""
        try:
            if self._process is None and not self.problem:
                self._process = _started(str(self._country))
                _answer(self._process, _SECONDS_TO_BEGIN)
            if self._process is None:
                return
            os.write(self._process.stdin.fileno(), b"\n")  # type: ignore[union-attr]
            drawn = _answer(self._process, _SECONDS_TO_ANSWER)
        except (OSError, ValueError) as error:
            self.problem = f"energy is not measured any more: {error}"
            self.close()
            return
        self._drawn = {
            run: (kwh + drawn["kwh"] / len(self._drawn), kg + drawn["kg"] / len(self._drawn))
            for run, (kwh, kg) in self._drawn.items()
        }


def _started(country: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.energy_process", country],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the step, whose end is still measured
    )


def _answer(process: subprocess.Popen[bytes], within: float) -> Mapping[str, Any]:
    """Its next line. Raises ValueError where none comes, or one that says what is wrong."""
    pipe = process.stdout
    if pipe is None or not select.select([pipe], [], [], within)[0]:
        raise ValueError(f"codecarbon did not answer within {seconds(within)}")
    line = pipe.readline()
    if not line:
        raise ValueError("codecarbon ended")
    found: dict[str, Any] = json.loads(line)
    if "problem" in found:
        raise ValueError(str(found["problem"]))
    return found
