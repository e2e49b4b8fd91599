"""What a run has trained that ends before its first iteration: losses, speed, where the model is, and the ways on from
it. Its policies, where there are any, have their figures in `summary.py`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data_store.commands import halter
from data_store.figures import figure, interval
from data_store.names import AssetName
from data_store.records import RunSummary
from flows.session import Session
from flows.shown.status import status_cells
from flows.shown.summary import Row
from models.training.reporting import SPEED
from tasks.pretrain import pretrain
from tasks.pretrain_sources import OF_SOURCES
from tasks.sft import sft


@dataclass(frozen=True)
class Trained:
    """The models of a run without iterations, a row each; the sources of its mix, a row each; where the last of the
    models is, and what can be done with it, in lines."""

    models: list[Row]
    sources: list[Row]
    ways_on: list[str]


def trained_in(session: Session) -> Trained | None:
    """What pretraining and SFT have made; None in a run with iterations, whose policies tell more, and where neither
    has ended yet."""
    store, plan = session.store, session.plan
    if session.parts:
        return None
    heads = store.heads()
    runs = {run.run.run_id: run for run in store.runs()}
    states = {(cell.part, cell.step): cell.state for cell in status_cells(store, plan)}
    models, sources, last = list[Row](), list[Row](), None
    for key, call in plan.items():
        if call.step.name not in (pretrain.name, sft.name):
            continue
        (asset,) = call.outputs.values()
        head = heads.get(asset)
        if head is None or head.run_id not in runs:
            continue
        run, last = runs[str(head.run_id)], head
        models.append(_model(asset, states[key], run.metrics))
        sources += _sources(run)
    if last is None:
        return None
    folder = store.checkout(last.version_id)
    return Trained(models, sources, [f"{last.asset} is in {folder} (read it, do not change it)", *_ways(last.asset)])


def _model(asset: AssetName, state: str, metrics: Mapping[str, float]) -> Row:
    found = {
        "loss": metrics.get("loss"),
        "tokens trained on": metrics.get("trained_tokens"),
        "dialogues": metrics.get("dialogues"),
        "tokens/s": metrics.get(SPEED),
        "parameters": metrics.get("parameters"),
    }
    return {"model": str(asset), "state": state, **{name: figure(value) for name, value in found.items()}}


def _sources(run: RunSummary) -> Iterator[Row]:
    """Losses in nats per token with their intervals at 95 %, and the documents that they are of."""
    parts = (key.partition("/") for key in run.metrics)
    names = dict.fromkeys(name for what, _, name in parts if name and what in OF_SOURCES)
    shown = [what for what in OF_SOURCES if any(key.startswith(f"{what}/") for key in run.metrics)]
    for name in names:
        row: Row = {"source": name}
        for what in shown:
            key = f"{what}/{name}"
            estimate = run.estimates.get(key)
            row[what] = figure(run.metrics.get(key))
            if estimate is not None and estimate.low is not None and estimate.high is not None:
                row[what] = f"{row[what]} {interval(estimate.low, estimate.high)}"
        yield row


def _ways(asset: AssetName) -> Iterator[str]:
    name = str(asset)
    if asset.name == "policy":
        yield f"talk with it: {halter('chat', asset.part)}"
    export = halter("export", "model", name, "FOLDER")
    yield f"take it to other tools, or make it the base_model of another run: {export}"
    if asset.name != "policy":
        yield "it has learned no dialogues yet: give data.demonstrations, and SFT makes a chat model of it"
    yield "for V1 and later raise iterations in the config and give it again: what is finished is taken up"
