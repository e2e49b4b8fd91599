"""How it came about: the grid of steps, what each cost, the curves of the trainings, with what it was computed, and how
to do it again."""

from collections import Counter
from collections.abc import Iterator, Sequence

from data_store.commands import halter
from data_store.figures import figure, seconds, size
from data_store.records import KG_CO2, KWH, PROCESSOR_SECONDS, Metric, RunSummary
from flows.orders import rerun_command
from flows.recipe.config import dump_config
from flows.recipe.plan import seed_up_to_v0
from flows.shown.lineage_text import code_lines
from flows.shown.report.facts import Facts
from flows.shown.report.lineage import run_anchor
from flows.shown.report.parts import Cell, Section, Table, text
from flows.shown.status import other_code_in_words
from tasks.engine.curves import pictures

_MOST_POINTS = 300  # of one curve
_MOST_FAILURES = 50


def grid(facts: Facts) -> Section:
    """Steps by iteration, each with its state and its figure."""
    by_key = {(cell.step, cell.part): cell for cell in facts.cells}
    steps = list(dict.fromkeys(cell.step for cell in facts.cells))
    makers = facts.maker_of
    rows = []
    for step in steps:
        row = [
            text(
                step, note=", ".join(sorted({c.metric for c in facts.cells if c.step == step and c.figure is not None}))
            )
        ]
        for part in facts.parts:
            cell = by_key.get((step, part))
            if cell is None:
                row.append(Cell(""))
                continue
            maker = makers.get((part, step))
            state = "at gate" if cell.gate else cell.state
            known = {"run": maker.run.run_id, "metric": cell.metric} if maker and cell.figure is not None else {}
            value = "" if cell.figure is None else figure(cell.figure)
            href = f"#{run_anchor(maker.run.run_id)}" if maker else ""
            row.append(Cell(value or state, cell.figure, known, state if value else "", href, state.replace(" ", "-")))
        rows.append(row)
    states = Counter("at gate" if cell.gate else cell.state for cell in facts.cells)
    texts = [
        f"{figure(len(facts.cells))} steps: " + ", ".join(f"{figure(n)} {state}" for state, n in states.items()) + "."
    ]
    texts += [
        f"{c.part} {c.step} is {c.state}: {c.reason}." for c in facts.cells if c.state not in ("fresh", "missing")
    ]
    texts += [f"{c.part} {c.step} is at a gate: {c.gate}." for c in facts.cells if c.gate]
    if told := other_code_in_words(facts.cells):
        texts.append(f"{told}.")
    table = Table(
        "grid",
        "Steps by iteration: state and figure of each; a cell leads to what made it",
        ["step", *facts.parts],
        rows,
    )
    return Section("grid", "Steps", texts, tables=[table])


def cost(facts: Facts) -> Section:
    """Seconds by the clock and on processors, energy where it was measured, attempts and disk."""
    rows, total = [], 0.0
    drawn = [run.metrics[KWH] for run in facts.maker_of.values() if KWH in run.metrics]
    spent = [run.metrics[PROCESSOR_SECONDS] for run in facts.maker_of.values() if PROCESSOR_SECONDS in run.metrics]
    attempts = Counter((run.run.part, run.run.step) for run in facts.whole.runs.values())
    lost = Counter((run.run.part, run.run.step) for run in facts.whole.runs.values() if run.state != "succeeded")
    for (part, step), run in facts.maker_of.items():
        made = facts.whole.makes.get(run.run.run_id, ())
        held = sum(facts.whole.versions[e.version_id].bytes for e in made if e.version_id in facts.whole.versions)
        total += run.seconds or 0.0
        name = run.run.run_id
        rows.append(
            [
                text(part),
                text(step, href=f"#{run_anchor(name)}"),
                Cell(seconds(run.seconds), run.seconds, {"run": name, "of": "seconds"}),
                _on_processors(run),
                *(_drawn(run) if drawn else ()),
                Cell(
                    figure(attempts[part, step]), attempts[part, step], {"part": part, "step": step, "of": "attempts"}
                ),
                Cell(figure(lost[part, step]), lost[part, step], {"part": part, "step": step, "of": "unfinished"}),
                Cell(size(held), held, {"run": name, "of": "bytes made"}),
            ]
        )
    objects, held = facts.whole.objects
    texts = [
        f"The steps whose results stand took {seconds(total)} together, one after the other; some ran side by side. "
        f"{_spent(spent, len(rows))}{_energy(facts, len(drawn), len(rows))}"
        f"The store holds {figure(objects)} objects of {size(held)}; what several versions share is held once.",
    ]
    energy = ["kWh", "kg CO2"] if drawn else []
    last = ["attempts", "of these without result", "size of what it made"]
    columns = ["part", "step", "time", "on processors", *energy, *last]
    return Section(
        "cost", "Cost", texts, tables=[Table("cost", "What each step took", columns, rows, folded=True), *_lost(facts)]
    )


def _on_processors(run: RunSummary) -> Cell:
    spent = run.metrics.get(PROCESSOR_SECONDS)
    return Cell(seconds(spent), spent, {} if spent is None else {"run": run.run.run_id, "metric": PROCESSOR_SECONDS})


def _drawn(run: RunSummary) -> Iterator[Cell]:
    for name in (KWH, KG_CO2):
        value = run.metrics.get(name)
        yield Cell(figure(value), value, {} if value is None else {"run": run.run.run_id, "metric": name})


def _energy(facts: Facts, known: int, steps: int) -> str:
    """What was measured of the energy, in a sentence."""
    if not known:
        return ""
    runs = [run.metrics for run in facts.maker_of.values() if KWH in run.metrics]
    of = "" if known == steps else f", of {figure(known)} of these {figure(steps)} steps"
    kwh, kg = (sum(metrics[name] for metrics in runs) for name in (KWH, KG_CO2))
    return f"The machine drew {figure(kwh)} kWh meanwhile, {figure(kg)} kg of CO2, as codecarbon tells it{of}. "


def _spent(known: Sequence[float], steps: int) -> str:
    """What is known of the processor time, in a sentence: a busy machine makes the clock longer, and hardly this."""
    if not known:
        return ""
    they = "They" if len(known) == steps else f"{figure(len(known))} of these {figure(steps)} steps"
    return f"{they} were on processors for {seconds(sum(known))}, all their processes together. "


def curves(facts: Facts) -> Section:
    """The pictures of each training, as the Prefect UI has them."""
    shown = []
    for (part, step), run in facts.maker_of.items():
        points = facts.curves.get(run.run.run_id, ())
        if drawn := pictures(_thinned(points)):
            shown.append({"title": f"{step} of {part}", "run": run_anchor(run.run.run_id), "pictures": drawn})
    texts = (
        ["Losses, rewards and accuracies while the models were trained."]
        if shown
        else ["No training has reported yet."]
    )
    return Section("curves", "Curves", texts, extra={"curves": shown})


def environment(facts: Facts) -> Section:
    """Libraries, seeds, code and config."""
    runs = {run.run.run_id: run for run in facts.maker_of.values()}
    versions: dict[str, set[str]] = {}
    for run in runs.values():
        for name, version in run.run.env.items():
            versions.setdefault(str(name), set()).add(str(version))
    rows = [[text(name), text(", ".join(sorted(found)))] for name, found in sorted(versions.items())]
    tables = [Table("libraries", "Computed with", ["what", "version"], rows)] if rows else []
    seeds = [[text(part), text(step), text(run.run.seed)] for (part, step), run in facts.maker_of.items()]
    if seeds:
        tables.append(Table("seeds", "Seeds of the steps", ["part", "step", "seed"], seeds, folded=True))
    recorded = [
        {
            "code_files": r.run.code_files,
            "git_commit": r.run.git_commit,
            "git_dirty": r.run.git_dirty,
            "environment": {},
        }
        for r in runs.values()
    ]
    seed, first = facts.session.config.seed, seed_up_to_v0(facts.session.config)
    apart = "" if seed == first else f", from V1 on; up to V0 it is {figure(first)}"
    texts = [f"Seed of the run: {figure(seed)}{apart}; each step draws its own from it."]
    return Section("environment", "Environment", texts, tables=tables, extra={"code": "\n".join(code_lines(recorded))})


def redo(facts: Facts) -> Section:
    """The commands, and the config that they take."""
    config, store = facts.session.config, facts.session.store
    commands = [
        ("run it, or go on where it stopped: save the config below first", halter("run", f"{config.name}.yaml")),
        ("where it stands", halter("status", run=config.name)),
        ("what made its last model", halter("lineage", str(facts.last_model), run=config.name)),
        ("whether every byte is what it was", halter("verify", run=config.name)),
        ("one step again, with what it feeds", rerun_command(*_last_step(facts), config.name, downstream=True)),
        ("this report", halter("report", run=config.name)),
    ]
    overrides = [[text(o.part), text(o.step), text(o.key), text(o.value_json)] for o in store.overrides()]
    tables = (
        [Table("overrides", "Set by hand, beside the config", ["part", "step", "key", "value"], overrides)]
        if overrides
        else []
    )
    return Section("redo", "Do it again", tables=tables, extra={"commands": commands, "config": dump_config(config)})


def _last_step(facts: Facts) -> tuple[str, str]:
    cell = facts.cells[-1]
    return cell.part, cell.step


def _lost(facts: Facts) -> Iterator[Table]:
    """What failed, newest first."""
    failed = [run for run in facts.whole.runs.values() if run.state not in ("succeeded", "running")]
    rows = [
        [text(run.run.part), text(run.run.step), text(run.state, mark=run.state), text(_when(run)), text(run.detail)]
        for run in failed[:_MOST_FAILURES]
    ]
    if rows:
        more = len(failed) - len(rows)
        notes = [f"And {figure(more)} earlier ones."] if more else []
        yield Table(
            "failures",
            "Attempts that left no result",
            ["part", "step", "state", "begun", "why"],
            rows,
            notes,
            folded=True,
        )


def _when(run: RunSummary) -> str:
    return f"{run.run.started_at:%Y-%m-%d %H:%M} UTC"


def _thinned(points: Sequence[tuple[str, int, float]]) -> list[Metric]:
    """Long curves with every k-th point and the last one."""
    lengths = Counter(name for name, _, _ in points)
    seen: Counter[str] = Counter()
    kept = []
    for name, step, value in points:
        every = -(-lengths[name] // _MOST_POINTS)
        if seen[name] % every == 0 or seen[name] == lengths[name] - 1:
            kept.append(Metric(name, value, step))
        seen[name] += 1
    return kept
