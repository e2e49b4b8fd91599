"""Runs tests against broken copies of the repository: a test that stays green there proves nothing."""

import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("flows", "tasks", "models", "data_store", "world", "tests")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "hypothesis")


@dataclass(frozen=True)
class Mutation:
    """One place in the code, broken: `old` occurs once in `file`. Every one of `tests`, "file::test", must fail."""

    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def line(self, root: Path) -> int:
        """The line at which the change differs from the original for the first time."""
        text = (root / self.file).read_text()
        start = text.index(self.old)
        same = next((i for i, (a, b) in enumerate(zip(self.old, self.new, strict=False)) if a != b), 0)
        return text.count("\n", 0, start + same) + 1


def tests_that_survive(mutations: Iterable[Mutation]) -> Iterator[tuple[Mutation, dict[str, str]]]:
    """Each mutation with those of its tests that did not fail on it, and how they ended instead.

    Raises RuntimeError where a test fails on the code as it is: it would catch everything.
    """
    mutations = list(mutations)
    for library in LIBRARIES:  # loaded once; every run is a fork of this process
        importlib.import_module(library)
    everything = sorted({test for mutation in mutations for test in mutation.tests})
    with _copy(None) as root:
        outcomes = _run(root, everything)
    bad = {test: outcome for test, outcome in outcomes.items() if outcome != "passed"}
    if bad:
        raise RuntimeError(f"these do not pass on the code as it is: {bad}")
    for mutation in mutations:
        with _copy(mutation) as root:
            outcomes = _run(root, mutation.tests)
        yield mutation, {test: outcome for test, outcome in outcomes.items() if outcome != "failed"}


@contextmanager
def _copy(mutation: Mutation | None) -> Iterator[Path]:
    """The repository's code in a temporary folder, with the mutation made."""
    with tempfile.TemporaryDirectory(prefix="halter-mutation-") as name:
        root = Path(name)
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "docs").mkdir()
        for page in (ROOT / "docs").glob("*.md"):  # some tests hold a page to what they see
            shutil.copy(page, root / "docs")
        if mutation is not None:
            path = root / mutation.file
            text = path.read_text()
            if text.count(mutation.old) != 1:
                raise ValueError(f"{mutation.file} does not hold {mutation.old!r} just once")
            path.write_text(text.replace(mutation.old, mutation.new))
        yield root


def _run(root: Path, tests: Sequence[str]) -> dict[str, str]:
    """How each test ended: passed, failed (in any of its variants), or error where it did not come to its end."""
    report = root / "report.json"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _in_child(root, tests, report)
            code = 0
        finally:
            os._exit(code)
    os.waitpid(child, 0)
    found: dict[str, str] = json.loads(report.read_text()) if report.exists() else {}
    return {test: found.get(test, "error") for test in tests}


def _in_child(root: Path, tests: Sequence[str], report: Path) -> None:
    with (root / "output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    for name in [name for name in sys.modules if name.partition(".")[0] in FOLDERS]:
        del sys.modules[name]
    sys.path[:] = [str(root), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
    outcomes = _Outcomes()
    pytest.main(["-m", "", "-p", "no:cacheprovider", "--rootdir", str(root), *tests], plugins=[outcomes])
    report.write_text(json.dumps(outcomes.found))


class _Outcomes:
    """Keeps the worst outcome of each test over its variants."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.partition("[")[0]
        before = self.found.get(test)
        if report.when == "call":
            ended = "failed" if report.failed else "skipped" if report.skipped else "passed"
        elif report.failed:
            ended = "error"
        else:
            return
        if before is None or ended == "error" or (ended == "failed" and before != "error"):
            self.found[test] = ended
