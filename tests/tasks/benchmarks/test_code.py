"""Programs out of answers, run for real."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from tasks.benchmarks.code import judge_programs, program_of, question_of
from tasks.sandbox.sandbox import Sandbox, SandboxConfig, find_sandbox

LIMITS = SandboxConfig(seconds=5, cpu_seconds=3, memory_mb=256)
HUMANEVAL = {
    "form": "humaneval",
    "prompt": 'import math\n\n\ndef area(r):\n    """Of a circle."""\n',
    "tests": "def check(candidate):\n    assert abs(candidate(2) - 12.566) < 0.01\n",
    "entry_point": "area",
}
MBPP = {"form": "mbpp", "prompt": "Write a function to add.", "tests": "assert add(1, 2) == 3\nassert add(0, 0) == 0"}
DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "eval" / "mbpp.jsonl"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox()
    except InputError as error:
        pytest.skip(str(error))


def passed(sandbox: Sandbox, item: dict[str, Any], answer: str, chat: bool) -> tuple[bool, str]:
    (verdict,) = judge_programs(sandbox, [program_of(item, answer, chat)], LIMITS, 1)
    return verdict.passed, verdict.detail


RIGHT = "    return math.pi * r * r\n"


@pytest.mark.parametrize(
    ("answer", "chat", "ok"),
    [
        (RIGHT, False, True),
        (RIGHT + "\nprint(area(3))\nassert False", False, True),  # what comes behind the function is cut
        ("    return r\n", False, False),
        (f"Here:\n```python\nimport math\n\ndef area(r):\n{RIGHT}```\nIt multiplies.", True, True),
        (f"```\ndef area(r):\n{RIGHT}", True, True),  # an answer that was cut off; the prompt's import stays
        (RIGHT, True, True),
        ("I cannot help with that.", True, False),
    ],
)
def test_a_function_is_completed_or_written_anew_and_tested(
    sandbox: Sandbox, answer: str, chat: bool, ok: bool
) -> None:
    assert passed(sandbox, HUMANEVAL, answer, chat)[0] is ok


def test_a_program_is_tested_by_asserts_of_mbpp(sandbox: Sandbox) -> None:
    assert passed(sandbox, MBPP, "```python\ndef add(a, b):\n    return a + b\n```", True) == (True, "passed")
    assert passed(sandbox, MBPP, "def add(a, b):\n    return a + b\n[DONE] nonsense (", False) == (True, "passed")
    assert passed(sandbox, MBPP, "def add(a, b): return 3", True) == (False, "AssertionError")


@pytest.mark.conformance("a program that ends before its tests passes", equation="tasks.benchmarks.code:judge_programs")
@pytest.mark.parametrize("way", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit"])
def test_a_program_that_ends_before_its_tests_has_not_passed(sandbox: Sandbox, way: str) -> None:
    assert not passed(sandbox, MBPP, f"{way}\ndef add(a, b): return 5", True)[0]


def test_what_ended_a_program_is_told(sandbox: Sandbox) -> None:
    short = LIMITS.model_copy(update={"seconds": 0.7})
    (verdict,) = judge_programs(sandbox, [program_of(MBPP, "while True: pass", True)], short, 1)
    assert verdict == (False, "over its time")
    assert passed(sandbox, MBPP, "def add(a, b): return nothing", True)[1].startswith("NameError: name 'nothing'")


@pytest.mark.slow
def test_verdicts_keep_their_order_side_by_side(sandbox: Sandbox) -> None:
    programs = [f"import time; time.sleep({0.2 * (n % 2)}); assert {n % 3} != 0" for n in range(8)]
    verdicts = judge_programs(sandbox, programs, LIMITS, 4)
    assert [verdict.passed for verdict in verdicts] == [n % 3 != 0 for n in range(8)]


def test_the_question_holds_the_task_and_goes_on_where_nobody_is_asked() -> None:
    assert HUMANEVAL["prompt"] in question_of(HUMANEVAL, chat=True)
    assert question_of(HUMANEVAL, chat=False) == HUMANEVAL["prompt"]
    assert question_of(MBPP, chat=False).endswith("[BEGIN]\n")


@pytest.mark.slow
@pytest.mark.realdata
def test_the_reference_programs_of_real_tasks_pass_and_empty_ones_do_not(sandbox: Sandbox) -> None:
    if not DATA.is_file():
        pytest.skip(f"there is no {DATA}")
    records = [json.loads(line) for line in DATA.read_text().splitlines()[:40]]
    items = [{"form": "mbpp", "prompt": r["text"], "tests": "\n".join(r["test_list"])} for r in records]
    programs = [program_of(item, f"```python\n{r['code']}\n```", True) for item, r in zip(items, records, strict=True)]
    assert [v.detail for v in judge_programs(sandbox, programs, LIMITS, 2)] == ["passed"] * 40
    empty = [program_of(item, "pass", True) for item in items[:5]]
    assert not any(v.passed for v in judge_programs(sandbox, empty, LIMITS, 2))
