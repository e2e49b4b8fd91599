"""The documentation is held against the code: commands, targets, links and folders that it names exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from flows.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def code_lines(page: Path) -> list[str]:
    """The lines of the page's shell blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [
        " ".join(words)
        for block in blocks
        for line in block.splitlines()
        if (words := shlex.split(line, comments=True))
    ]


def calls(pattern: str) -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in code_lines(page) if re.match(pattern, line)]


@pytest.mark.parametrize(("page", "line"), calls(r"(\S*/)?halter "))
def test_each_halter_command_of_the_docs_exists_with_its_options(page: str, line: str) -> None:
    words = line.split()[1:]
    assert words[0] in COMMANDS, f"{page}: halter has no command {words[0]}"
    command = COMMANDS[words[0]]
    if hasattr(command, "commands"):
        assert words[1] in command.commands, f"{page}: halter {words[0]} has no command {words[1]}"
        command = command.commands[words[1]]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words[1:]:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: halter {words[0]} has no option {word}"
        if word.startswith("configs/"):
            assert (ROOT / word).exists(), f"{page}: there is no {word}"


def test_each_command_of_halter_is_shown_on_some_page() -> None:
    shown = {line.split()[1] for _, line in calls(r"(\S*/)?halter ")}
    assert [name for name in COMMANDS if name not in shown] == []


@pytest.mark.parametrize(("page", "line"), calls(r"make "))
def test_each_make_target_of_the_docs_exists(page: str, line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert line.split()[1] in targets, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_and_picture_of_the_docs_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_folder_of_the_readmes_tree_is_there() -> None:
    tree = re.search(r"## How it is built\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert tree is not None
    top = re.findall(r"^(\w+)/", tree[1], flags=re.MULTILINE)
    assert set(top) >= {"flows", "tasks", "models", "data_store", "tests", "configs", "docs"}
    assert [name for name in top if not (ROOT / name).is_dir()] == []


def test_each_test_and_source_file_that_a_page_names_is_there() -> None:
    """The log tells of what was; there they may be gone."""
    named = [
        (page.name, path)
        for page in PAGES
        if page.name != "log.md"
        for path in re.findall(r"`((?:[a-z_]+/)+\w+\.py)`", page.read_text())
        if "\n```diff" not in page.read_text()
    ]
    assert len(named) > 50
    gone = [(page, path) for page, path in named if not (ROOT / path).exists() and not (ROOT / "tests" / path).exists()]
    assert gone == []


def test_no_page_speaks_of_this_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(work|tmp|root|home)/", page.read_text()), page.name
