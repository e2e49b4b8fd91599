"""The foundation: corpus, tokenizer, base model, and the first chat model by supervised fine-tuning."""

from prefect import flow

from flows.ends import part_of_a_run
from flows.recipe.config import RunConfig
from flows.recipe.places import FIRST, FOUNDATION
from flows.session import session_of
from flows.steps import bring_up_to_date


@flow(name="foundation", flow_run_name="foundation", description="Corpus → tokenizer → pretraining → SFT (V0)")
@part_of_a_run
def foundation(config: RunConfig) -> None:
    """Everything before the first preference."""
    with session_of(config) as session:
        for part in (FOUNDATION, FIRST):
            bring_up_to_date(session, part)
