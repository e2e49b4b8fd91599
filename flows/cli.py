"""The `halter` command. Exit code 2 for wrong input, 1 for a failure."""

import typer

from flows.commands.help_panels import InPanels

app = typer.Typer(
    cls=InPanels,
    callback=lambda: None,  # a group, though its commands are known to InPanels alone
    help="The Llama 2-Chat recipe as a pipeline that one person can run, watch, and rerun a step of.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
