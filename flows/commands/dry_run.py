"""`halter run --plan`: what a run would do, in the terminal or as JSON."""

from rich.markup import escape
from rich.table import Table

from data_store.figures import seconds
from data_store.layout import MARKER
from flows.commands.command import console, print_json, say
from flows.data_look import check_data, unread
from flows.intakes import foretell
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, build_plan
from flows.session import Session, check_fits, store_root
from flows.shown.dry_run import Foreseen, computed, foresee, foresee_new, in_words
from tasks.engine.execute import check_inputs

TAKES_IN = "new preferences, or another round of judging, would be taken in first; the plan is the one without them"
_COLOURS = {"compute": "yellow", "wait": "magenta", "not reached": "dim", "take up": "green"}


def show_dry_run(config: RunConfig, as_json: bool) -> None:
    """Print it. Nothing is started and no store is made. Raises InputError where a run would before its first step."""
    steps, plan, taken_in = _foreseen(config)
    check_fits(config, plan)
    check_data(plan, computed(steps))
    if told := unread(config):
        say(as_json, told)
    if as_json:
        document = {"run": config.name, "steps": [step.as_json() for step in steps], "taken_in": taken_in}
        print_json({**document, "computed": sum(step.does == "compute" for step in steps)})
        return
    console.print(f"[bold]{escape(config.name)}[/bold]: {in_words(steps)}; nothing was started", highlight=False)
    if taken_in:
        console.print(escape(taken_in), highlight=False)
    table = Table(header_style="bold")
    for column in ("step", "a run would", "state", "why", "took"):
        table.add_column(column, no_wrap=column == "step")
    for step in steps:
        why = "; ".join(filter(None, (step.reason, f"at a gate: {step.gate}" if step.gate else "")))
        took = "" if step.seconds is None else seconds(step.seconds)
        does = f"[{_COLOURS[step.does]}]{step.does}[/{_COLOURS[step.does]}]"
        table.add_row(f"{step.part} {step.step}", does, step.state, escape(why), took)
    console.print(table)


def _foreseen(config: RunConfig) -> tuple[list[Foreseen], Plan, str]:
    """Each step, the plan, and what would be taken in before."""
    root = store_root(config.name)
    if not (root / MARKER).exists():
        plan = build_plan(config)
        check_inputs(None, {}, plan.values())
        return foresee_new(plan), plan, ""
    session = Session(config)
    told = foretell(session)
    steps = foresee(session.store, session.plan, config.gates)
    session.check(computed(steps))
    return steps, session.plan, TAKES_IN if told is None else told
