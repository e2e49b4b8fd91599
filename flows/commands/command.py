"""What the commands share: where they print, their common options, and what they say of errors."""

import json
import sys
import traceback
from collections.abc import Callable
from contextvars import copy_context
from functools import wraps
from typing import Annotated, Any

import typer
from rich.markup import escape

from data_store.errors import InputError, StoreError
from flows.commands.screen import Screen
from flows.server.server import ServerFailedError

# soft_wrap leaves breaking to the terminal; what goes into a file or a pipe is wide enough for the grid
console = Screen(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
errors = Screen(stderr=True, soft_wrap=True)

RunOption = Annotated[str | None, typer.Option("--run", help="Name of the run; the last one if not given.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn errors into one clear message and the exit code: 2 for wrong input, 1 for a failure, 130 for Ctrl-C."""

    @wraps(function)
    def guarded_function(*args: Any, **kwargs: Any) -> None:
        try:
            copy_context().run(function, *args, **kwargs)  # what it speaks of ends with it
        except typer.Exit:  # it is a RuntimeError, and says with which code the command ends
            raise
        except InputError as error:
            errors.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            errors.print("stopped; the same command goes on from here")
            raise typer.Exit(130) from None
        except (StoreError, ServerFailedError, RuntimeError, OSError) as error:
            if not str(error):
                traceback.print_exc()
            errors.print(f"[red]failed:[/red] {escape(str(error))}", highlight=False)
            raise typer.Exit(1) from None

    return guarded_function


def say(as_json: bool, text: str) -> None:
    """A line for people: beside the JSON, if that is what is printed."""
    (errors if as_json else console).print(text, highlight=False)


def print_json(content: Any) -> None:
    """The answer of a command with --json."""
    sys.stdout.write(json.dumps(content, indent=1, default=str) + "\n")
