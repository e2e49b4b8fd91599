"""Each policy on the benchmarks of the run (Llama 2, section 4.1 and appendix A.2.2)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_store.estimate import Estimate
from tasks.answers import open_renderer
from tasks.benchmarks.answering import GREEDY, Answerer
from tasks.benchmarks.code import judge_programs, program_of, question_of
from tasks.benchmarks.config import BenchmarkChoice, RunBenchmarksConfig
from tasks.benchmarks.harness import load_tasks, run_tasks
from tasks.benchmarks.results import contamination_of, figures_of, shown
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.sandbox.sandbox import find_sandbox

if TYPE_CHECKING:
    from tasks.engine.call import StepCall

Rows = list[dict[str, Any]]


def _metrics(call: "StepCall") -> Iterator[str]:
    """Of code pass@k or of all else the accuracy: the plan does not know which it is."""
    config: Any = call.config
    yield from ("items", "cut")
    yield from (f"suite/{name}" for name in dict.fromkeys(each.suite for each in config.sets))


@step(
    version=5,
    config=RunBenchmarksConfig,
    inputs={
        "policy": Input("model"),
        "items": Input("dataset", "benchmark_item"),
        "folders": Input("file", optional=True, many=True),
        "contamination": Input("dataset", "item_overlap", optional=True),
        "base": BASE,
    },
    outputs={"results": Output("dataset", "benchmark_result")},
    metrics=_metrics,
    headline="items",
    about="Puts the policy of one iteration to the benchmarks.",
    tags=("evaluation",),
)
def run_benchmarks(run: StepRun, config: RunBenchmarksConfig) -> Measurements:
    """A row for each item, and figures with their number of items and interval."""
    from models.checkpoint import load_policy

    policy = load_policy(run.path("policy"), run.optional_path("base"), dtype=config.sampling.dtype)
    answerer = Answerer(policy, open_renderer(run.path("policy")), config.sampling, run.seed)
    items = run.records("items")
    folders = iter(run.all_inputs("folders"))
    results: Rows = []
    told: dict[str, float] = {}
    for number, choice in enumerate(config.sets):
        mine = [item for item in items if item["benchmark"] == choice.name]
        run.progress(number / len(config.sets), choice.name)
        if choice.tasks:
            rows, own = run_tasks(load_tasks(next(folders).path, choice, run.work), choice, answerer)
            told |= {f"{choice.name}/{name}": value for name, value in own.items()}
        elif mine[0]["form"] == "choice":
            rows = _choices(answerer, choice, mine)
        else:
            rows = _code(answerer, choice, mine, config)
        results += [{**row, "policy_version": run.version("policy")} for row in rows]
    run.write_rows("results", results)
    figures = figures_of(results, items, config.pass_at)
    run.table("benchmarks", shown(figures))
    counts = {"items": len(items), "cut": len({(row["benchmark"], row["item_id"]) for row in results if row["cut"]})}
    metrics: dict[str, float | Estimate] = {**told, **figures, **{name: float(n) for name, n in counts.items()}}
    if run.all_inputs("contamination"):
        moved, table = contamination_of(results, run.records("contamination"))
        run.table("contamination", table)
        metrics |= moved
    return metrics


def _choices(answerer: Answerer, choice: BenchmarkChoice, items: Rows) -> Rows:
    """The likeliest choice, by its whole log-probability, and by that for each of its characters."""
    asked = [(item["prompt"], option) for item in items for option in _options(item, choice.chat)]
    said = iter(answerer.logprobs(asked, choice.chat))
    rows = []
    for item in items:
        logprobs = [next(said)[0] for _ in item["choices"]]
        normalised = [value / len(option) for value, option in zip(logprobs, item["choices"], strict=True)]
        best, best_normalised = (max(range(len(values)), key=values.__getitem__) for values in (logprobs, normalised))
        rows.append(
            {
                **_named(choice, item),
                "draw": 0,
                "score": float(best == item["answer"]),
                "normalised_score": float(best_normalised == item["answer"]),
                "logprobs": logprobs,
                "response": item["choices"][best],
                "detail": None,
                "cut": item["prompt"] in answerer.cut,
            }
        )
    return rows


def _options(item: Mapping[str, Any], chat: bool) -> Sequence[str]:
    """In plain text a blank comes before a choice; in a dialogue the template writes its own."""
    options: list[str] = item["choices"]
    return options if chat else [f" {option}" for option in options]


def _code(answerer: Answerer, choice: BenchmarkChoice, items: Rows, config: RunBenchmarksConfig) -> Rows:
    """Programs are drawn, then run: at the likeliest token where one alone is drawn, else as `sampling` says."""
    sandbox = find_sandbox()
    temperature = GREEDY if config.samples == 1 else config.sampling.temperature
    contexts = [question_of(item, choice.chat) for item in items]
    drawn = answerer.texts(contexts, choice.chat, config.samples, temperature)
    answers = [(item, draw, text) for item, texts in zip(items, drawn, strict=True) for draw, text in enumerate(texts)]
    programs = [program_of(item, text, choice.chat) for item, _, text in answers]
    verdicts = judge_programs(sandbox, programs, config.sandbox, config.programs_at_a_time)
    return [
        {
            **_named(choice, item),
            "draw": draw,
            "score": float(verdict.passed),
            "normalised_score": None,
            "logprobs": None,
            "response": text,
            "detail": verdict.detail,
            "cut": question_of(item, choice.chat) in answerer.cut,
        }
        for (item, draw, text), verdict in zip(answers, verdicts, strict=True)
    ]


def _named(choice: BenchmarkChoice, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"benchmark": choice.name, "suite": choice.suite, "item_id": item["item_id"]}
