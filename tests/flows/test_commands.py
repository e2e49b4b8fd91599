"""What a message tells people to type does what it says: one builder makes it, for the run that it is about."""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from data_store.commands import NO_RUN, halter, speak_of
from tests.flows.recipe_runs import ROOT
from tests.reference import commands

PACKAGES = ("deployments", "flows", "tasks", "models", "data_store", "world", "web")
# Texts that speak of a command which has been given; none of them says that somebody should type it.
SPOKEN_OF = ("that `halter backup` wrote", "`halter serve` is at work", "halter serve was stopped", "with halter serve")
DECLARED = ("help", "description")  # what --help and the reference show; they know of no run


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts of a file with their lines, docstrings and declarations left out; what is filled in is …."""
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in DECLARED:
            left_out |= {id(each) for each in ast.walk(node.value)}
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(each) for each in node.values}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.slow
def test_no_text_spells_a_command_out_itself() -> None:
    names = "|".join(sorted({name.split()[0] for name, _ in commands()}))
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in texts(ast.parse(path.read_text()))
        if re.search(rf"\bhalter ({names})\b", text) and not any(each in text for each in SPOKEN_OF)
    ]
    assert found == [], "make it with data_store.commands.halter"


def test_the_commands_that_take_no_run_are_known() -> None:
    takes = {name for name, command in commands() if any("--run" in each.opts for each in command.params)}
    assert {name for name, _ in commands()} - takes | {"import"} == NO_RUN  # import's --run is of another home


def test_a_command_names_the_run_that_is_given_or_spoken_of() -> None:
    assert halter("status") == "halter status"

    def spoken() -> list[str]:
        speak_of("smoke")
        return [halter("status"), halter("status", run="demo"), halter("run", "a.yaml"), halter("annotators", "list")]

    assert copy_context().run(spoken) == [
        "halter status --run smoke",
        "halter status --run demo",
        "halter run a.yaml",
        "halter annotators list --run smoke",
    ]
    assert halter("status") == "halter status", "what is spoken of ends with its context"


@pytest.mark.parametrize("name", ["a b.jsonl", "it's; rm -rf $HOME", "`id`", "줄\nbreak", "[bold]", "KEY=VALUE", "*"])
def test_a_shell_reads_the_words_that_were_meant(tmp_path: Path, name: str) -> None:
    text = halter("withdraw", "source", name, "--undo", run="smoke")
    script = 'halter() { printf "%s\\0" "$@"; }; ' + text
    heard = subprocess.run(["sh", "-c", script], capture_output=True, cwd=tmp_path, check=True).stdout
    assert heard.decode().split("\0")[:-1] == ["withdraw", "source", name, "--undo", "--run", "smoke"]
    assert shlex.split(text)[0] == "halter"
