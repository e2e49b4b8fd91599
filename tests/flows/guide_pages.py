"""Following a page of the docs: its commands, in their order."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.flows.recipe_runs import ROOT, Home

QUICKSTART, RERUN = (ROOT / "docs" / name for name in ("quickstart.md", "rerun-a-step.md"))
READING = ("status", "lineage")


def commands(page: Path) -> list[str]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def follow(page: Path, home: Home, config: Path) -> Iterator[tuple[str, str]]:
    """Each command of `halter` on the page, when it is asked for, with what it says; `halter serve` is started in
    test_serve.py and test_guides.py."""
    for line in commands(page):
        words = [str(config) if word == "configs/smoke.yaml" else word for word in shlex.split(line)]
        if words[0] == "halter" and words[1] != "serve":
            finished = (home.look if words[1] in READING else home.halter)(*words[1:])
            assert finished.code == 0, f"{line}: {finished.err}"
            yield line, finished.out
