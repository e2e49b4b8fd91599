"""Tasks of lm-evaluation-harness out of a folder, offline: `pip install 'halter[eval]'`.

A folder holds task YAML files as the harness reads them, and the data beside them (`dataset_path: json` with
`data_files`, from the folder on). Functions that a YAML file names (`!function`) are code, and run as such.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_store.errors import InputError
from tasks.benchmarks.answering import Answerer
from tasks.benchmarks.config import BenchmarkChoice

_SCORES = ("acc", "exact_match", "em", "mcq_accuracy", "f1")
_FEWSHOT_SEED = 1234  # the harness's own; without one the examples before a question are others each time
_ASKED = ("multiple_choice", "loglikelihood", "generate_until")


def require_harness() -> None:
    """Raise InputError where the harness is not installed."""
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise InputError(
            "benchmarks with tasks are run by lm-evaluation-harness, which is not installed: "
            "pip install 'halter[eval]', or give items as files"
        ) from None


def load_tasks(folder: Path, choice: BenchmarkChoice, cache: Path) -> dict[str, Any]:
    """The tasks that a benchmark names, by their names. What data sets become on disk goes to `cache`.

    Raises InputError for a task that the folder does not have, that cannot be loaded, or that asks for what is not
    done here: programs outside the sandbox, and the likelihood of whole documents.
    """
    require_harness()
    import datasets
    import huggingface_hub.constants
    from lm_eval.tasks import TaskManager

    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    datasets.config.HF_DATASETS_CACHE = cache
    where = f"benchmark {choice.name}: {folder.name}"
    with contextlib.chdir(folder):
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        if unknown := sorted(set(choice.tasks) - set(manager.all_tasks)):
            there = ", ".join(manager.all_tasks) or "none"
            raise InputError(f"{where} has no task {', '.join(unknown)}; it has {there}")
        try:
            found: dict[str, Any] = manager.load(list(choice.tasks))["tasks"]
        except Exception as error:
            raise InputError(f"{where}: {', '.join(choice.tasks)} cannot be loaded: {error}") from error
    for name, task in found.items():
        task.set_fewshot_seed(_FEWSHOT_SEED)
        if getattr(task, "UNSAFE_CODE", False):
            raise InputError(
                f"{where}: {name} runs programs outside the sandbox: give HumanEval's or MBPP's file instead"
            )
        if task.OUTPUT_TYPE not in _ASKED:
            raise InputError(f"{where}: {name} asks for {task.OUTPUT_TYPE}; {', '.join(_ASKED)} are done here")
    return found


def items_of(tasks: Mapping[str, Any], choice: BenchmarkChoice) -> Iterator[dict[str, Any]]:
    """Rows of kind benchmark_item: what is asked, and the right answer where it is one of some choices."""
    for name, task in tasks.items():
        for number, doc in task.doc_iterator(rank=0, limit=choice.limit, world_size=1):
            choices, target = _choices(task, doc), task.doc_to_target(doc)
            yield {
                "benchmark": choice.name,
                "suite": choice.suite,
                "item_id": f"{name}/{number}",
                "source": name,
                "form": "task",
                "prompt": str(task.doc_to_text(doc)),
                "choices": choices,
                "answer": target if choices and isinstance(target, int) else None,
                "tests": None if choices else str(target),
                "entry_point": None,
            }


def run_tasks(
    tasks: Mapping[str, Any], choice: BenchmarkChoice, answerer: Answerer
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """What the policy comes to: a row of kind benchmark_result for each item, without the policy's version, and the
    harness's own figures as `TASK/METRIC`."""
    from lm_eval.evaluator import evaluate

    from tasks.benchmarks.harness_model import as_harness_model

    done: Any = evaluate(
        as_harness_model(answerer, choice.chat),
        {"tasks": dict(tasks)},
        limit=choice.limit,
        bootstrap_iters=0,
        log_samples=True,
    )
    rows = [
        {**_row(choice, name, sample), "cut": any(args[0] in answerer.cut for args in sample["arguments"])}
        for name, samples in done["samples"].items()
        for sample in _first_filter(samples)
    ]
    told = {
        f"{name}/{metric.removesuffix(',none').replace(',', '/')}": float(value)
        for name, values in done["results"].items()
        for metric, value in values.items()
        if isinstance(value, int | float) and "_stderr" not in metric and metric not in ("alias", "sample_len")
    }
    return rows, told


def _choices(task: Any, doc: Any) -> list[str] | None:
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    return [str(choice) for choice in task.doc_to_choice(doc)]


def _first_filter(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A task may read each answer in several ways; the first one is the item's score."""
    return [sample for sample in samples if sample["filter"] == samples[0]["filter"]]


def _row(choice: BenchmarkChoice, name: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: float(sample[key]) for key in sample["metrics"] if isinstance(sample[key], int | float)}
    score = next((numbers[key] for key in (*_SCORES, *numbers) if key in numbers), None)
    if score is None:
        raise InputError(f"benchmark {choice.name}: {name} gives no number for each item: {sample['metrics']}")
    first = sample["resps"][0][0]
    is_text = isinstance(first, str)
    return {
        "benchmark": choice.name,
        "suite": choice.suite,
        "item_id": f"{name}/{sample['doc_id']}",
        "draw": 0,
        "score": score,
        "normalised_score": numbers.get("acc_norm"),
        "logprobs": None if is_text else [float(responses[0][0]) for responses in sample["resps"]],
        "response": first if is_text else None,
        "detail": None,
    }
