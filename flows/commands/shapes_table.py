"""`halter plan --shapes`: the table of a run's models without weights."""

from rich.markup import escape
from rich.table import Table

from data_store.figures import figure, size
from flows.commands.command import console, print_json
from flows.forecast.shapes import RoleShape, shapes_of
from flows.recipe.config import RunConfig


def show_shapes(config: RunConfig, *, as_json: bool) -> None:
    """Print every model of the run. Raises InputError naming the field for one that cannot be."""
    found = shapes_of(config)
    if as_json:
        print_json({"run": config.name, "roles": [each.as_json() for each in found.roles], "found": dict(found.found)})
        return
    table = Table(title=f"models of {config.name}, built without weights", title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    for name in ("parameters", "trained", "weights", "gradients, Adam", "activations", "peak", "checkpoint"):
        table.add_column(name, justify="right")
    for role in found.roles:
        table.add_row(role.role, *_cells(role))
    console.print(table)
    for check, said in found.found.items():
        console.print(escape(f"{check}: {said}"), highlight=False)
    for role in found.roles:
        if role.files:
            named = ", ".join(f"{name} {size(count)}" for name, count in role.files.items())
            console.print(escape(f"files of the {role.role}: {named}"), highlight=False)


def _cells(role: RoleShape) -> list[str]:
    memory, count = role.memory, len(role.files)
    return [
        figure(role.parameters),
        figure(role.trained),
        size(memory.weights),
        size(memory.gradients + memory.optimizer),
        size(memory.activations),
        size(memory.total),
        f"{size(sum(role.files.values()))} in {count} file{'s' * (count > 1)}" if count else "",
    ]
