"""The README.md of an exported model: where it comes from and what was measured of it, out of the catalog."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data_store.commands import halter
from data_store.estimate import Estimate
from data_store.figures import figure, interval, marks, named
from data_store.records import Head, LineageGraph, RunSummary
from data_store.store import Store
from flows.recipe.judge_rows import is_judge, judge_in
from flows.shown.card_parts import UNKNOWN, Stated, front_matter, redo, sources
from flows.shown.lineage_view import lineage_document
from flows.shown.summary import columns_of, judge_of
from tasks.evaluation_judges.measures import JUDGE_MARK
from tasks.evaluations.evaluation import Measure
from tasks.train_reward import CHANCE

_BESIDE = " n | 95 % | judged by |"
_OPEN = {
    False: "AutoModelForCausalLM.from_pretrained({folder!r})",
    True: "AutoModelForSequenceClassification.from_pretrained({folder!r})  # one score; higher is better",
}


def model_card(store: Store, head: Head, *, run: str, reward: bool, dtype: str, merged: bool, known: Stated) -> str:
    """The text. `run` names the run that the store belongs to; `merged`: adapters were put into their base."""
    document = lineage_document(store, head.asset)
    kind = "reward model" if reward else "language model"
    made = "adapters merged into their base, " if merged else ""
    lines = [
        front_matter(
            known,
            library_name="transformers",
            pipeline_tag="text-classification" if reward else "text-generation",
            tags=["halter"],
            **_index(store, head, f"{head.asset} of {run}"),
        ),
        "",
        f"# {head.asset} of {run}",
        "",
        f"A {kind}, exported by Halter: {made}weights in {dtype}.",
        "",
        "```python",
        _OPEN[reward].format(folder="."),
        "```",
        "",
        "## Where it comes from",
        "",
        *(f"- {line}" for line in _origin(document, head)),
    ]
    lines += ["", "## What it was trained on", "", *sources(document, known), "", *_rows_read(document)]
    if known.licence == UNKNOWN:
        lines += ["", "Its licence is unknown: it follows from the base model and the data above."]
    lines += _evaluated(store, head)
    lines += ["", "## How to make the same again", "", *redo(document, run)]
    return "\n".join(lines) + "\n"


def _origin(document: Mapping[str, Any], head: Head) -> Iterator[str]:
    yield f"version `{head.version_id}`"
    for made in (run for run in document["runs"] if run["run"] == head.run_id):
        code = f"code `{made['code_version'][:12]}`" + (
            f", commit `{made['git_commit']}`" if made["git_commit"] else ""
        )
        yield f"made by {made['step']} of {made['part']}: run `{made['run']}`, {made['started_at'][:16]} UTC, {code}"
        for edge in made["reads"]:
            yield f"read {edge['asset']} `{edge['version'][:16]}`"
    if len(document["runs"]) > 1:
        told = halter("lineage", str(head.asset))
        yield f"behind it stand {len(document['runs']) - 1} more runs; `{told}` has them"
    for judged in document["judgements"]:
        by = ", ".join(f"{count} pairs by {name}" for name, count in judged["by_annotator"].items())
        yield f"judged: {judged['asset']} `{judged['version'][:16]}`, {by}"


def _rows_read(document: Mapping[str, Any]) -> Iterator[str]:
    """Every data set behind it, with its rows."""
    sets = [*document["data_sets"], *({**each, "rows": each["pairs"]} for each in document["judgements"])]
    if sets:
        yield from ("| data set | rows | version |", "|---|---|---|")
        yield from (f"| {each['asset']} | {figure(each['rows'])} | `{each['version'][:16]}` |" for each in sets)


def _index(store: Store, head: Head, name: str) -> dict[str, Any]:
    """The figures in the hub's own words; each has its n, interval and judge in the metric's `args`."""
    _, newest, judged = _evaluations(store, head)
    results = []
    for part, summary in newest.items():
        for measure, source in _measured(summary, _judges_of(summary, part, judged)):
            estimate = source.estimates.get(measure.name)
            beside = None if estimate is None else estimate.as_json()
            metric = {"type": measure.name, "name": measure.meaning, "value": source.metrics[measure.name]}
            results.append(
                {
                    "task": {"type": "text-generation"},
                    "dataset": {"type": "halter", "name": f"held-out prompts of {part}", "split": "heldout"},
                    "metrics": [{**metric, **({} if beside is None else {"args": beside})}],
                }
            )
    return {"model-index": [{"name": name, "results": results}]} if results else {}


_Newest = dict[str, RunSummary]
_Judged = dict[tuple[str, str], RunSummary]


def _evaluations(store: Store, head: Head) -> tuple[LineageGraph, _Newest, _Judged]:
    """What is built on this version, its newest evaluation by part, and what judges said by part and step."""
    graph = store.descendants(head.version_id)
    newest: dict[str, RunSummary] = {}
    judged: dict[tuple[str, str], RunSummary] = {}
    for summary in sorted(graph.runs.values(), key=lambda each: each.seq):
        read = any(e.role == "policy" and e.version_id == head.version_id for e in graph.inputs_of(summary.run.run_id))
        if summary.run.step in ("evaluate", "evaluate_sampled") and summary.state == "succeeded" and read:
            newest[summary.run.part] = summary
        if is_judge(summary.run.step) and summary.state == "succeeded":
            judged[summary.run.part, summary.run.step] = summary
    return graph, newest, judged


def _judges_of(summary: RunSummary, part: str, judged: _Judged) -> dict[str, RunSummary]:
    found = ((judge_in(summary.run.step, step), run) for (of, step), run in judged.items() if of == part)
    return {judge: run for judge, run in found if judge is not None}


def _measured(summary: RunSummary, judges: Mapping[str, RunSummary]) -> Iterator[tuple[Measure, RunSummary]]:
    """The figures of the tables, each with the run that has it."""
    theirs = [name for each in judges.values() for name in each.metrics]
    for measure in columns_of(judges, theirs).values():
        source = judges.get(measure.name.partition(JUDGE_MARK)[2], summary)
        if measure.name in source.metrics:
            yield measure, source


def _evaluated(store: Store, head: Head) -> Iterator[str]:
    """What evaluations of this very version, and its own training, have measured."""
    graph, newest, judged = _evaluations(store, head)
    for part, summary in newest.items():
        yield from _figures(store, graph, summary, _judges_of(summary, part, judged))
    accuracies = {
        name.removeprefix("accuracy/"): (value, summary.estimates.get(name))
        for summary in store.lineage(head.asset).runs.values()
        if summary.run.run_id == head.run_id
        for name, value in summary.metrics.items()
        if name.startswith("accuracy/")
    }
    if accuracies:
        yield from ("", "## On held-out pairs", "", f"| rating | accuracy |{_BESIDE}", "|---|---|---|---|---|")
        for rating, (value, estimate) in accuracies.items():
            yield f"| {rating.replace('_', ' ')} | {figure(value)} |{_beside(estimate, figure, CHANCE)}"


def _figures(store: Store, graph: LineageGraph, summary: RunSummary, judges: Mapping[str, RunSummary]) -> Iterator[str]:
    outputs = graph.outputs_of(summary.run.run_id)
    counts = [store.version(edge.version_id).n_rows for edge in outputs if edge.role == "responses"]
    answers = "".join(f", {figure(count)} answers to held-out prompts" for count in counts if count is not None)
    who = judge_of(summary.run.config)
    yield from ("", f"## Evaluated (judged by: {who}{answers})", "")
    yield from (f"| figure | value |{_BESIDE}", "|---|---|---|---|---|")
    for measure, source in _measured(summary, judges):
        beside = _beside(source.estimates.get(measure.name), measure.form, measure.chance)
        yield f"| {measure.meaning} (`{measure.name}`) | {measure.form(source.metrics[measure.name])} |{beside}"


def _beside(of: Estimate | None, form: Callable[[float], str], chance: float | None) -> str:
    """The cells on n, interval and judge; empty for a figure of before these were kept."""
    if of is None:
        return "  |  |  |"
    bounds = "" if of.low is None or of.high is None else interval(of.low, of.high, form)
    n = " ".join([figure(of.n), *marks(of.n, of.low, chance)])
    return f" {n} | {bounds} | {named(of.judge) if of.judge else ''} |"
