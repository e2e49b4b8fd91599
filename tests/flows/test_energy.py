"""What steps draw is measured by codecarbon itself; where it fails, figures are missing and nothing else."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from data_store.catalog.whole import read_whole
from data_store.errors import InputError
from data_store.identity import CONFIG_FILE
from data_store.records import KG_CO2, KWH, Metric
from data_store.store import Store
from flows import energy
from flows.energy import EnergyMeter, check_energy
from flows.recipe.config import RunConfig
from tests.flows.recipe_runs import Finished, Home

GERMAN_GRID = 0.38095  # kg of CO2 a kWh, as codecarbon 3.3 has it of Germany


def drawn(found: object) -> dict[str, float]:
    assert isinstance(found, tuple)
    return {each.name: each.value for each in found if isinstance(each, Metric)}


@pytest.mark.slow
def test_steps_that_run_at_once_get_like_parts_of_what_the_machine_draws() -> None:
    """a by itself for two seconds, with b for two, and b by itself for two: half of all for each, which is three times
    what c takes in two seconds."""
    meter = EnergyMeter("DEU")
    meter.begin("c")
    time.sleep(2)
    c = drawn(meter.end("c"))
    meter.begin("a")
    time.sleep(2)
    meter.begin("b")
    time.sleep(2)
    a = drawn(meter.end("a"))
    time.sleep(2)
    b = drawn(meter.end("b"))
    assert meter.problem == ""
    assert 0.5 < a[KWH] / b[KWH] < 2
    assert 0.75 < (a[KWH] + b[KWH]) / c[KWH] / 3 < 1.28
    watts = (a[KWH] + b[KWH]) * 3.6e6 / 6
    assert 1 < watts < 5_000, "of a machine, in kWh and not in joules"
    assert a[KG_CO2] / a[KWH] == pytest.approx(GERMAN_GRID, rel=0.01)
    assert meter.end("a") == (), "it has ended before"
    meter.close()


@pytest.mark.slow
def test_where_codecarbon_ends_or_hangs_steps_have_no_figure_and_people_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(energy, "_SECONDS_TO_ANSWER", 1.0)
    for how, told in ((signal.SIGKILL, "codecarbon ended"), (signal.SIGSTOP, "codecarbon did not answer within 1.0 s")):
        meter = EnergyMeter("DEU")
        meter.begin("a")
        process = meter._process
        assert process is not None
        os.kill(process.pid, how)
        assert meter.end("a") == ()
        assert meter.problem == f"energy is not measured any more: {told}"
        assert process.returncode == -signal.SIGKILL
        meter.begin("b")
        assert meter.end("b") == ()
        assert meter._process is None, "it is not tried again"


def test_without_a_country_nothing_is_measured_and_no_process_started() -> None:
    meter = EnergyMeter(None)
    meter.begin("a")
    assert (meter.end("a"), meter._process, meter.problem) == ((), None, "")


def test_codecarbon_must_be_installed_and_the_country_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    check_energy(None)
    check_energy("KOR")
    with pytest.raises(InputError, match="energy_country: XQX is no country of three letters as ISO 3166 has them"):
        check_energy("XQX")
    with pytest.raises(ValueError, match="energy_country"):
        RunConfig.model_validate({"energy_country": "kr"})
    monkeypatch.setattr(energy, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="codecarbon is not installed here: `pip install codecarbon`"):
        check_energy("KOR")


@pytest.mark.slow
def test_a_step_of_a_run_has_its_energy_in_the_catalog_the_plan_and_the_report_and_is_the_same_step(
    first_run: tuple[Home, Finished], tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(first_run[0].folder, folder, ignore=shutil.ignore_patterns(".prefect"))
    file = folder / "pocket" / CONFIG_FILE
    config = json.loads(file.read_text()) | {"energy_country": "DEU"}
    file.write_text(json.dumps(config))
    store = Store.open(folder / "pocket")
    before = store.catalog.ask("whole", read_whole)
    home = Home(folder)
    finished = home.halter("rerun", "V1", "train_safety_reward")
    assert finished.code == 0, finished.err
    after = store.catalog.ask("whole", read_whole)
    (run_id,) = set(after.runs) - set(before.runs)
    run = after.runs[run_id]
    assert run.run.fingerprint in {each.run.fingerprint for each in before.runs.values()}
    assert run.metrics[KG_CO2] / run.metrics[KWH] == pytest.approx(GERMAN_GRID, rel=0.01)
    watts = run.metrics[KWH] * 3.6e6 / run.metrics["seconds"]
    assert 1 < watts < 5_000
    report = json.loads(home.look("report", "--json", "--out", str(tmp_path / "page.html")).out)
    table = report["sections"]["cost"]["tables"]["cost"]
    told = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    found = [row for row in told if row["kWh"].get("value") is not None]
    assert [(row["part"]["text"], row["step"]["text"]) for row in found] == [("V1", "train_safety_reward")]
    assert [found[0][name]["value"] for name in ("kWh", "kg CO2")] == [run.metrics[KWH], run.metrics[KG_CO2]]
    shutil.copy(file, tmp_path / "pocket.yaml")
    planned = home.look("plan", str(tmp_path / "pocket.yaml"), "--measured", "--json").out
    took = {(row["part"], row["step"]): row["measured"] for row in json.loads(planned)["steps"]}
    assert took["V1", "train_safety_reward"]["kwh"] == run.metrics[KWH]
    assert took["V1", "train_helpfulness_reward"]["kwh"] is None
    shown = home.look("plan", str(tmp_path / "pocket.yaml"), "--measured").out
    assert f"{run.metrics[KWH]:.2g}" in shown
    assert home.look("verify").code == 0
