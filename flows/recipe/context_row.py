"""The row of safety context distillation, and the file of pre-prompts that it and fit_context read."""

from flows.recipe.conditions import has_context_distillation
from flows.recipe.lengths import preprompt_tokens
from flows.recipe.places import Place, Row, here, last, only, the_prompts, under_adapters
from tasks.distill_context import DistillContextConfig, DistillContextStepConfig, distill_context
from tasks.incoming.files import File


def preprompts(at: Place) -> tuple[File, ...]:
    """The user's own, where there are any."""
    section = at.config.context_distillation
    return () if section is None or section.file is None or not at.config.iterations else (File(section.file),)


def _config(at: Place) -> DistillContextStepConfig:
    section = at.config.context_distillation
    if section is None:
        raise AssertionError("the row is there where there is context distillation")
    given = only(DistillContextConfig, section)
    return DistillContextStepConfig(**given, prompt_tokens=preprompt_tokens(at.config), annotator=at.config.annotator)


CONTEXT_ROW = Row(
    distill_context,
    _config,
    {
        "policy": last("model/policy"),
        "safety_reward": here("model/reward-safety"),
        "prompts": the_prompts,
        "preprompts": preprompts,
        "base": under_adapters,
    },
    {"dialogues": "context-distilled", "comparisons": "context-distillations"},
    when=has_context_distillation,
)
