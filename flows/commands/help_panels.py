"""The commands as `halter --help` shows them: in the order in which people come to need them, in groups; and the file
that each is in, which is imported when its command is asked for: all of them take as long as an answer does."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer.main
from typer.core import TyperGroup

# panel → command → where it is, a function or a group of commands
PANELS: Mapping[str, Mapping[str, str]] = {
    "Run the recipe": {
        "plan": "forecast_cli:plan",
        "run": "run_cli:run",
        "status": "status_cli:status",
        "rerun": "run_cli:rerun",
        "stale": "upkeep_cli:stale",
        "study": "study_cli:study",
        "serve": "serve_cli:serve",
        "deploy": "deploy_cli:deploy",
    },
    "Ask what there is": {
        "report": "report_cli:report",
        "diff": "diff_cli:diff",
        "lineage": "status_cli:lineage",
        "query": "query_cli:query",
    },
    "People": {
        "chat": "chat_cli:chat",
        "annotators": "annotate_cli:people",
        "annotate": "annotate_cli:annotate",
        "preferences": "preferences_cli:preferences",
        "red-team": "red_team_cli:commands",
    },
    "Look after a store": {
        "backup": "upkeep_cli:backup",
        "restore": "upkeep_cli:restore",
        "verify": "upkeep_cli:verify",
        "repair": "upkeep_cli:repair",
        "gc": "upkeep_cli:gc",
        "rename": "rename_cli:rename",
        "move-store": "move_cli:move_store",
        "join-store": "move_cli:join_store",
    },
    "Take rows out again": {"withdraw": "withdraw_cli:rows", "withdrawals": "withdraw_cli:withdrawals"},
    "Other stores, other tools": {"import": "export_cli:import_run", "export": "export_cli:exports"},
}
_PLACES = {name: (panel, place) for panel, places in PANELS.items() for name, place in places.items()}


class _Commands(Mapping[str, Any]):
    """name → command, in the order of PANELS; its file is imported when it is taken."""

    def __init__(self) -> None:
        self.taken: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.taken:
            panel, place = _PLACES[name]
            module, attribute = place.split(":")
            with without_collection():
                found = getattr(import_module(f"flows.commands.{module}"), attribute)
            self.taken[name] = _command(name, found)
            self.taken[name].rich_help_panel = panel
        return self.taken[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


@contextmanager
def without_collection() -> Iterator[None]:
    """While modules are imported: none of it is garbage, and looking for it takes as long as the import of a library,
    then and, if it were not passed over, in each collection to come."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _command(name: str, found: Any) -> Any:
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command


class InPanels(TyperGroup):
    """The group of all commands of `halter`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()
