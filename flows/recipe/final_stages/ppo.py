"""PPO in the last iteration (Llama 2, section 3.2.3)."""

from flows.recipe.final_stages.stage import FinalStage
from flows.recipe.places import Row, here, the_prompts, under_adapters
from tasks.ppo import PPOStepConfig, ppo

STAGE = FinalStage(
    Row(
        ppo,
        lambda at: PPOStepConfig(training=at.config.ppo, lora=at.config.lora),
        {
            "policy": here("model/policy-sampled"),
            "safety_reward": here("model/reward-safety"),
            "helpfulness_reward": here("model/reward-helpfulness"),
            "prompts": the_prompts,
            "base": under_adapters,
        },
        {"policy": "policy", "looks": "ppo-looks"},
    ),
    splits=("validation",),
    answers=lambda config: config.ppo.sampling,
)
