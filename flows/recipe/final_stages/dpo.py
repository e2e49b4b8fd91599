"""Direct preference optimisation in the last iteration (Llama 3, section 4.1.4), on the newest preferences."""

from flows.recipe.final_stages.stage import FinalStage
from flows.recipe.places import Place, Row, here, so_far, under_adapters
from tasks.dpo import DPOStepConfig, dpo
from tasks.engine.reading import Incoming


def _newest(at: Place) -> tuple[Incoming, ...]:
    return so_far("dataset/preferences")(at)[-at.config.dpo.preference_batches :]


STAGE = FinalStage(
    Row(
        dpo,
        lambda at: DPOStepConfig(
            training=at.config.dpo, lora=at.config.lora, gold_percent=at.config.reward.gold_percent
        ),
        {"policy": here("model/policy-sampled"), "preferences": _newest, "base": under_adapters},
        {"policy": "policy"},
    ),
    answers=lambda config: config.dpo.sampling,
    pair_tokens=lambda config: config.dpo.max_length,
)
