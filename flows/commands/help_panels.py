"""The commands as `halter --help` shows them: in the order in which people come to need them, in groups."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

PANELS: Mapping[str, tuple[str, ...]] = {
    "Run the recipe": ("plan", "run", "status", "rerun", "stale", "study", "serve", "deploy"),
    "Ask what there is": ("report", "diff", "lineage", "query"),
    "People": ("chat", "annotators", "annotate", "preferences", "red-team"),
    "Look after a store": ("backup", "restore", "verify", "repair", "gc", "rename"),
    "Take rows out again": ("withdraw", "withdrawals"),
    "Other stores, other tools": ("import", "export"),
}
_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
_ORDER = list(_PANEL_OF)


class InPanels(TyperGroup):
    """A group whose commands stand in the order of PANELS; what is not there comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _PANEL_OF else len(_ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in _PANEL_OF:
            command.rich_help_panel = _PANEL_OF[cmd_name]
        return command
