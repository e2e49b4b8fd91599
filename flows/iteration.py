"""One RLHF iteration."""

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.asking import ask_judge
from flows.config import RunConfig
from flows.session import session_of
from flows.steps import side_by_side, step_of, waiting
from flows.waiting import await_judgements


@flow(
    name="iteration",
    flow_run_name="RLHF-{part}",
    description="Pairs, preferences → reward models → rejection sampling, GAtt → fine-tuning → PPO or DPO → evaluation",
    task_runner=cast(TaskRunner[Any], ThreadPoolTaskRunner(max_workers=2)),
)
def iteration(config: RunConfig, part: str) -> State[Any] | None:
    """Pairs, preferences, reward models, new policy, evaluation. Preferences that were taken in, Ghost Attention and a
    final stage where the plan has them; with distillation the picks of another run and no reward models. Where people
    have not judged the pairs yet, it ends there, in the state «Waiting», whose result says what it waits for."""
    with session_of(config) as session:
        planned = session.plan
        if config.distill is None:
            for step in ("import_data", "fit_context"):  # of what an appended iteration has taken in
                if (part, step) in planned:
                    step_of(session, part, step)
            if (part, "extend_prompts") in planned:
                step_of(session, part, "extend_prompts")
            if (part, "draw_pairs") in planned:
                step_of(session, part, "draw_pairs")
            if (part, "judge_pairs") in planned:
                ask_judge(session, part, "judge_pairs")
                step_of(session, part, "judge_pairs")
            if (wait := await_judgements(session, part, "collect_preferences")) is not None:
                return waiting(wait, str(wait))
            step_of(session, part, "collect_preferences")
            rewards = ("train_safety_reward", "train_helpfulness_reward", "train_gold_reward")
            side_by_side(session, part, *(step for step in rewards if (part, step) in planned))
            if (part, "synthesize_gatt") in planned:
                side_by_side(session, part, "rejection_sample", "synthesize_gatt")
            else:
                step_of(session, part, "rejection_sample")
        step_of(session, part, "fine_tune")
        for stage in ("ppo", "dpo"):
            if (part, stage) in planned:
                side_by_side(session, part, "evaluate_sampled", stage)
        step_of(session, part, "evaluate")
    return None
