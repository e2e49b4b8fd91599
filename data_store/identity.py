"""Which run a store is of. A run has one name: it is in the store's config, and its folder bears it.

A store that was copied or renamed by hand has two, and each command could mean either; so it is refused until one of
them is gone (`halter rename`).
"""

import json
import re
import shlex
from pathlib import Path

from data_store.commands import halter
from data_store.errors import InputError
from data_store.names import slug

CONFIG_FILE = "config.json"
CURRENT_FILE = "current"

# What may be the name of a folder of a run, those of before the rule included, and leads nowhere else.
_BESIDE = re.compile(r"[^\s/.\x00-\x1f\x7f][^\s/\x00-\x1f\x7f]{0,254}")
# 48 leave room for what is made of it: `<run>-picks-v99` is the name of an asset, of 64 characters at the most.
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")
RULE = (
    "the name of a run is the name of its folder, and part of other names: use a-z, 0-9, '_', '.' and '-', at most 48 "
    "of them, the first a letter or a digit"
)


def check_run_name(name: str) -> str:
    """The name, if it can be that of a run; raises InputError that suggests one otherwise."""
    if _NAME.fullmatch(name) and name != CURRENT_FILE:
        return name
    try:
        near = slug(name)[:48].rstrip("-")
    except InputError:  # nothing of it is left
        near = ""
    known = near and near != CURRENT_FILE
    raise InputError(f"{name!r} cannot name a run: {RULE}; for example {near if known else 'my-run'!r}")


def is_beside(name: str) -> bool:
    """Whether a name out of a journal, which may be a stranger's, can be that of a run's folder beside this one."""
    return _BESIDE.fullmatch(name) is not None


def run_of(root: Path) -> str | None:
    """The run that the store at `root` says it is of; None where it does not say."""
    try:
        name = json.loads((root / CONFIG_FILE).read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def check_identity(root: Path) -> None:
    """Raises InputError where the store at `root` says that it is of another run than its folder; it reads only."""
    own = run_of(root)
    if own is None or own == root.name:
        return
    back = ""
    if _NAME.fullmatch(own) and not (old := root.with_name(own)).exists():
        back = f", or give the folder its name back: {shlex.join(['mv', str(root), str(old)])}"
    raise InputError(
        f"{root} holds the store of run {own!r}: the folder was copied or renamed, so nothing was done. "
        f"`{halter('rename', root.name)}` makes {root.name!r} the name of the run{back}"
    )


def stores_of(home: Path, run: str) -> list[Path]:
    """The stores in `home` that say they are of this run and whose folders have another name."""
    roots = [path.parent for path in sorted(home.glob(f"*/{CONFIG_FILE}"))]
    return [root for root in roots if run_of(root) == run != root.name]
