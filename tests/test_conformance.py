"""The conformance page is what the tests say, and every trap has a test."""

import re
import subprocess
import sys

import pytest

from tests.conformance import (
    COMMAND,
    NOT_YET_COVERED,
    PAGE,
    ROOT,
    SECTIONS,
    equation_place,
    functions_of,
    missing,
    page,
    proofs,
)
from tests.mutations import MUTATIONS


def test_the_page_is_what_would_be_written_now() -> None:
    assert PAGE.read_text() == page(), f"{PAGE.relative_to(ROOT)} is out of date: run `{COMMAND}` and commit the page"


def test_every_trap_has_a_test_but_those_that_are_known_to_lack_one() -> None:
    assert missing() == NOT_YET_COVERED, "mark a test with the row, or correct NOT_YET_COVERED in tests/conformance.py"


def test_no_trap_is_listed_twice() -> None:
    traps = [row.trap for rows in SECTIONS.values() for row in rows]
    assert len(traps) == len(set(traps))


def test_every_equation_is_where_the_marks_say() -> None:
    for proof in proofs():
        file, line = equation_place(proof.equation)
        name = proof.equation.rpartition(":")[2].rpartition(".")[2]
        assert re.match(rf"\s*(def|class) {name}[(:]", (ROOT / file).read_text().splitlines()[line - 1])


def test_every_mutation_changes_one_place_and_names_tests_that_exist() -> None:
    assert len(MUTATIONS) >= 30
    assert len({mutation.breaks for mutation in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        assert (ROOT / mutation.file).read_text().count(mutation.old) == 1, f"{mutation.breaks}: {mutation.old!r}"
        assert mutation.new != mutation.old
        assert mutation.tests
        for test in mutation.tests:
            file, _, name = test.partition("::")
            assert name in functions_of(file), f"{mutation.breaks}: there is no {test}"


@pytest.mark.soak
def test_every_mutation_is_caught_by_each_test_that_it_names() -> None:
    finished = subprocess.run([sys.executable, "-m", "tests.mutations"], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr[-3000:]
