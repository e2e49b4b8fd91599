"""`halter plan`: what a run will cost, and what it did cost."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from data_store.errors import InputError
from data_store.figures import NOT_MEASURED, figure, seconds, size
from data_store.layout import MARKER
from data_store.records import KG_CO2, KWH, PROCESSOR_SECONDS
from data_store.store import Store
from flows.commands.command import JsonOption, console, guarded, print_json
from flows.commands.shapes_table import show_shapes
from flows.forecast.forecast import (
    SHARDED_OVER,
    Assumptions,
    StepForecast,
    Took,
    clock_seconds,
    forecast,
    on_processors,
    shape_of,
    took,
)
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan, plan_today
from flows.session import store_root
from models.costs import parameters
from models.hardware import GPUS, Hardware, gpu

Machine = Literal["cpu", "a100", "h100", "h200"]


@guarded
def plan(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo.yaml")],
    hardware: Annotated[
        Machine, typer.Option(help="cpu: this machine's cores, measured in about ten seconds; or GPUs of this kind")
    ] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="GPUs that share the work")] = 1,
    utilisation: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Share of a GPU's peak that is reached; the paper's hours imply 0.35 to 0.43"
        ),
    ] = 0.4,
    watts: Annotated[
        float | None, typer.Option(min=0.0, help="Of a device under load; its maker's figure if not given")
    ] = None,
    pue: Annotated[float, typer.Option(min=1.0, help="Power of the whole site by that of the devices")] = 1.1,
    grid: Annotated[float, typer.Option(min=0.0, help="CO2 of a kWh, in kg")] = 0.385,
    measured: Annotated[bool, typer.Option("--measured", help="Beside it what the finished steps took.")] = False,
    shapes: Annotated[
        bool,
        typer.Option(
            "--shapes", help="In place of costs: every model is built without weights, and its parts are looked at."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What a run will cost, step by step: tokens, operations, memory, disk, hours, energy and CO2, with what is taken
    for granted. Needs no weights, and starts nothing."""
    config = load_config(config_file, opens_models=False)
    if shapes:
        show_shapes(config, as_json=as_json)
        return
    steps, took = _plan_of(config, measured)
    shape = shape_of(config)
    machine = _machine(hardware, utilisation, config)
    if watts is not None:
        machine = replace(machine, watts=watts)
    assumed = Assumptions(devices=devices, power_usage_effectiveness=pue, kg_per_kwh=grid)
    rows = forecast(config, steps, machine, assumed, took)
    told = _assumptions(machine, assumed, utilisation)
    if as_json:
        document = {"run": config.name, "parameters": parameters(shape), "assumptions": told}
        print_json({**document, "hardware": asdict(machine), "steps": [row.as_json() for row in rows]})
        return
    _print(config, parameters(shape), machine, rows, measured)
    for line in told:
        console.print(escape(line), highlight=False)


def _plan_of(config: RunConfig, measured: bool) -> tuple[Plan, dict[tuple[str, str], Took]]:
    """The plan, and what it took to make what stands in the run's store. Raises InputError where that is nothing."""
    root = store_root(config.name)
    if not (root / MARKER).exists():
        if measured:
            raise InputError(f"nothing of {config.name} has been measured: it has no store yet; leave --measured out")
        return build_plan(config), {}
    store = Store.open(root)
    with store.one_state():
        steps, heads = plan_today(config, store), store.heads()
        runs = {run.run.run_id: run for run in store.runs()}
    found_of = {}
    for key, call in steps.items() if measured else ():
        made = {heads[asset].run_id for asset in call.outputs.values() if asset in heads} - {None}
        found = [runs[str(run_id)].metrics for run_id in made]
        if found and "seconds" in found[0]:
            known = (found[0].get(name) for name in (PROCESSOR_SECONDS, KWH, KG_CO2))
            found_of[key] = Took(found[0]["seconds"], *known)
    return steps, found_of


def _machine(hardware: Machine, utilisation: float, config: RunConfig) -> Hardware:
    if hardware != "cpu":
        return gpu(hardware, *GPUS[hardware], use=utilisation)
    from models.calibration import calibrate

    return calibrate(shape_of(config))


def _print(config: RunConfig, count: int, machine: Hardware, rows: Sequence[StepForecast], measured: bool) -> None:
    title = f"{config.name} on {machine.name}: {figure(count)} parameters"
    table = Table(title=title, title_justify="left", header_style="bold")
    columns: Sequence[str] = _TIMES if measured else _COSTS
    cells = _times if measured else _costs
    if any(row.measured and row.measured.kwh is not None for row in rows):
        columns, cells = (*_TIMES, *_DRAWN), _times_and_energy
    for name in ("step", *columns):
        table.add_column(name, justify="left" if name == "step" else "right", no_wrap=name == "step")
    for row in rows:
        table.add_row(f"{row.part} {row.step}", *cells([row]))
    table.add_section()
    table.add_row("all steps", *cells(rows))
    console.print(table)


_COSTS = ("tokens", "operations", "memory", f"over {SHARDED_OVER}", "disk", "takes", "kWh", "kg CO2")
# By the clock, where other work counts, and on processors, where it hardly does.
_TIMES = (
    *("tokens", "operations", "takes", "took", "took / planned"),
    *("takes on processors", "took on them", "took / planned"),
)

_DRAWN = ("kWh planned", "measured", "kg CO2 planned", "measured")


def _costs(rows: Sequence[StepForecast]) -> list[str]:
    memory = max((row.memory.total for row in rows if row.memory is not None), default=None)
    sharded = max((row.sharded.total for row in rows if row.sharded is not None), default=None)
    disk = sum(row.disk for row in rows)
    return [
        *_work(rows),
        "" if memory is None else size(memory),
        "" if sharded is None else size(sharded),
        size(disk) if disk else "",
        duration(clock_seconds(rows, lambda row: row.seconds)),
        f"{sum(row.kwh for row in rows):.2g}",
        f"{sum(row.kg for row in rows):.2g}",
    ]


def _times(rows: Sequence[StepForecast]) -> list[str]:
    """Ratios are of the steps that are known on both sides."""
    known = [row for row in rows if row.measured is not None]
    by_clock = [clock_seconds(known, lambda row: row.seconds), clock_seconds(known, took)]
    planned, spent = on_processors(rows)
    busy = [row.processor_seconds for row in rows if row.processor_seconds is not None]
    return [
        *_work(rows),
        duration(clock_seconds(rows, lambda row: row.seconds)),
        *([duration(by_clock[1]), _ratio(*by_clock)] if known else [NOT_MEASURED, NOT_MEASURED]),
        duration(sum(busy)) if busy else NOT_MEASURED,
        *([duration(spent), _ratio(planned, spent)] if spent else [NOT_MEASURED, NOT_MEASURED]),
    ]


def _times_and_energy(rows: Sequence[StepForecast]) -> list[str]:
    """The same with energy and CO2 of the steps of which they were measured."""
    both = [(row.kwh, row.measured.kwh, row.kg, row.measured.kg) for row in rows if row.measured]
    known = [(kwh, drawn, kg, came) for kwh, drawn, kg, came in both if drawn is not None and came is not None]
    sums = [sum(numbers) for numbers in zip(*known, strict=True)] if known else []
    return [*_times(rows), *(f"{value:.2g}" for value in sums), *[NOT_MEASURED] * (len(_DRAWN) - len(sums))]


def _work(rows: Sequence[StepForecast]) -> list[str]:
    tokens, operations = sum(row.tokens for row in rows), sum(row.flops for row in rows)
    return [figure(round(tokens)) if tokens else "", f"{operations:.2g}" if operations else ""]


def _ratio(planned: float, took: float) -> str:
    return f"{took / planned:.2f}" if planned else NOT_MEASURED


def duration(value: float) -> str:
    """Seconds, or hours from two on."""
    return seconds(value) if value < 7200 else f"{figure(value / 3600)} h"


def _assumptions(machine: Hardware, assumed: Assumptions, utilisation: float) -> list[str]:
    """What the figures rest on, in words."""
    rates = {kind: of["float32"] for kind, of in machine.rates.items()}
    measured = [
        f"{kind} {figure(of.flops / 1e9)} GFLOP/s and {1e3 * of.seconds:.2f} ms a block" for kind, of in rates.items()
    ]
    start = f"{1e3 * rates['read'].seconds:.1f} ms to start a block"
    return [
        f"measured: {', '.join(measured)}"
        if machine.is_measured
        else f"assumed: {100 * utilisation:.0f} % of the peak is reached, {start}",
        f"memory is read at {machine.bandwidth / 1e9:,.0f} GB/s; a step takes {machine.step_seconds:g} s beside its "
        "passes",
        f"assumed: {assumed.devices} device{'s' * (assumed.devices > 1)} of {figure(machine.watts)} W, PUE "
        f"{assumed.power_usage_effectiveness:g}, {assumed.kg_per_kwh:g} kg CO2 a kWh",
        "lengths of texts are a sample's, answers are as long as the data's, and training goes on to its last step",
    ]
