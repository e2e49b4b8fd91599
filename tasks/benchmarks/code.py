"""Programs out of answers, and whether they pass (Chen et al., arXiv 2107.03374; Austin et al., arXiv 2108.07732)."""

import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tasks.benchmarks.answering import before_stops
from tasks.sandbox.sandbox import Outcome, Sandbox, SandboxConfig

_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
# Where a model that goes on with a text has left the function it was asked for (HumanEval), or said its end (MBPP).
_STOPS = {
    "humaneval": ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```", "\n@"),
    "mbpp": ("[DONE]", "\n[BEGIN]", "\n```"),
}


class Verdict(NamedTuple):
    """Whether a program passed, and in a few words why not."""

    passed: bool
    detail: str


def question_of(item: Mapping[str, Any], chat: bool) -> str:
    """What the model is given: the task in words, or the text that it goes on with."""
    if item["form"] == "humaneval":
        whole = f"Complete this Python function. Answer with the whole function.\n\n```python\n{item['prompt']}```"
        return whole if chat else str(item["prompt"])
    asked = f"You are an expert Python programmer, and here is your task: {item['prompt']}"
    return asked if chat else f"{asked}\n[BEGIN]\n"


def program_of(item: Mapping[str, Any], answer: str, chat: bool) -> str:
    """The program that an answer comes to, with the tests behind it. An answer that writes the function anew takes the
    place of the prompt's; what stands before the function there (imports) stays."""
    code = _code_of(answer) if chat else before_stops(answer, _STOPS[item["form"]])
    if item["form"] == "mbpp":
        return f"{code}\n\n{item['tests']}\n"
    name, prompt = item["entry_point"], item["prompt"]
    if re.search(rf"^def {re.escape(name)}\b", code, re.MULTILINE):
        before = re.split(rf"^def {re.escape(name)}\b", prompt, maxsplit=1, flags=re.MULTILINE)[0]
        code = before + code
    else:
        code = prompt + code
    return f"{code}\n\n{item['tests']}\n\ncheck({name})\n"


def judge_programs(sandbox: Sandbox, programs: Sequence[str], limits: SandboxConfig, at_a_time: int) -> list[Verdict]:
    """Each program's verdict, in order. A program passes that comes to its end: one that stops before its tests (by
    `sys.exit(0)`, say) does not, for the exit code that is asked for is another each time. One that looks for it in its
    own source, or bends the tests, is not found out."""

    def judge(program: str) -> Verdict:
        code = 64 + secrets.randbelow(64)
        return _verdict(sandbox.run(f"{program}\nimport os\nos._exit({code})\n", limits), code)

    with ThreadPoolExecutor(at_a_time) as pool:
        return list(pool.map(judge, programs))


def _verdict(outcome: Outcome, code: int) -> Verdict:
    if outcome.end != "ended":
        return Verdict(False, f"over its {outcome.end}")
    if outcome.code == code:
        return Verdict(True, "passed")
    last = outcome.errors.strip().splitlines()[-1:] or [f"exit code {outcome.code}"]
    return Verdict(False, last[0][:200])


def _code_of(answer: str) -> str:
    """The first block of code in an answer, or all of it."""
    found = _BLOCK.search(answer)
    return answer if found is None else found.group(1)
