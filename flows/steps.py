"""Running steps from flows, and each step as a flow of its own, for reruns by hand and deployments."""

from typing import Any, cast

from prefect import Flow, flow, tags

from data_store.errors import InputError
from flows.config import RunConfig
from flows.session import Session, session_of
from tasks.run_step import StepContext, run_step


def step_of(session: Session, part: str, step: str, force: bool = False) -> dict[str, float]:
    """Bring one step of one part up to date; returns its metrics. Raises InputError for a step that the plan lacks."""
    with tags(f"part:{part}"):
        return cast(dict[str, float], run_step(step, part, _context(session, part, step), force))


def side_by_side(session: Session, part: str, *steps: str) -> None:
    """Bring several steps that do not need each other up to date at the same time."""
    with tags(f"part:{part}"):
        futures = [run_step.submit(step, part, _context(session, part, step)) for step in steps]
    for future in futures:
        future.result()


def _context(session: Session, part: str, step: str) -> StepContext:
    plan = session.plan
    if (part, step) not in plan:
        raise InputError(f"the plan has no step {step} in {part}; `halter status` shows the steps there are")
    return StepContext(session.store, session.workers, plan[part, step], session.heard)


def _step_flow(step: str) -> Flow[..., Any]:
    @flow(
        name=step.replace("_", "-"), flow_run_name=f"{step} {{part}}", description=f"Step {step} of one part, by itself"
    )
    def one_step(config: RunConfig, part: str, force: bool = False) -> None:
        with session_of(config) as session, tags(f"iteration:{part}"):
            step_of(session, part, step, force)

    return one_step


import_data = _step_flow("import_data")
filter_corpus = _step_flow("filter_corpus")
train_tokenizer = _step_flow("train_tokenizer")
fit_context = _step_flow("fit_context")
pretrain = _step_flow("pretrain")
sft = _step_flow("sft")
collect_preferences = _step_flow("collect_preferences")
train_safety_reward = _step_flow("train_safety_reward")
train_helpfulness_reward = _step_flow("train_helpfulness_reward")
train_gold_reward = _step_flow("train_gold_reward")
rejection_sample = _step_flow("rejection_sample")
synthesize_gatt = _step_flow("synthesize_gatt")
fine_tune = _step_flow("fine_tune")
ppo = _step_flow("ppo")
dpo = _step_flow("dpo")
evaluate = _step_flow("evaluate")
evaluate_sampled = _step_flow("evaluate_sampled")
