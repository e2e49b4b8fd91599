"""The foundation: corpus, tokenizer, base model, and the first chat model by supervised fine-tuning."""

from prefect import flow

from flows.config import RunConfig
from flows.ends import part_of_a_run
from flows.plan import FIRST, FOUNDATION
from flows.session import session_of
from flows.steps import step_of


@flow(name="foundation", flow_run_name="foundation", description="Corpus → tokenizer → pretraining → SFT (V0)")
@part_of_a_run
def foundation(config: RunConfig) -> None:
    """Everything before the first preference. Steps that a given base model makes needless are not in the plan."""
    with session_of(config) as session:
        planned = session.plan
        for step in ("import_data", "filter_corpus", "train_tokenizer", "fit_context", "pretrain"):
            if (FOUNDATION, step) in planned:
                step_of(session, FOUNDATION, step)
        step_of(session, FIRST, "sft")
        step_of(session, FIRST, "evaluate")
