"""A whole run in a store without its training: every step of a plan is recorded with outputs of a few bytes."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from data_store.records import Publication, RunOutput, RunRecord
from flows.recipe.plan import Plan
from tasks.engine.call import StepCall
from tasks.engine.execute import fingerprint_of, resolve_inputs
from tests.data_store.store_bench import Bench


def record(
    bench: Bench,
    calls: Iterable[StepCall],
    text: str = "",
    published: Mapping[str, Publication] = MappingProxyType({}),
    code: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Record steps as done, in this order, by this code (path → sha256); an output's one file holds its name and the
    text, where it is not among the `published`."""
    for call in calls:
        inputs = resolve_inputs(bench.store, call)
        run = RunRecord(
            step=call.step.name,
            part=call.part,
            fingerprint=fingerprint_of(call, inputs),
            code_version="1",
            config=call.recipe(),
            seed=call.seed,
            code_files=dict(code),
        )
        outputs = {
            role: RunOutput(asset, published.get(str(asset)) or bench.publish(f"{asset}{text}", asset.kind))
            for role, asset in call.outputs.items()
        }
        bench.store.commit_run(run, inputs, outputs)


def record_plan(bench: Bench, plan: Plan) -> None:
    """Record a whole plan."""
    record(bench, plan.values())
