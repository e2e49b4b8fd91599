"""`halter diff`: what differs between two iterations, two runs or two versions."""

from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.command import JsonOption, RunOption, console, guarded, print_json


@guarded
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="V1, a run, an asset such as dataset/picks@V1, or a version")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind")],
    examples: Annotated[int, typer.Option("--examples", min=0, help="Most rows and answers that are shown.")] = 3,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Config, code, figures with intervals, rows added and dropped, and the answers that changed most."""
    from flows.shown.diff.document import compare_sides
    from flows.shown.diff.sides import open_sides
    from flows.shown.diff.text import diff_lines

    with open_sides(a, b, name) as sides:
        found = compare_sides(sides, examples)
    if as_json:
        print_json(found.as_json())
        return
    for line in diff_lines(found):
        console.print(escape(line), highlight=False, soft_wrap=True)
