"""The config of each step of the recipe that is put together from several sections of the run's."""

from flows.recipe.lengths import gatt_tokens, limits, preprompt_tokens, splits
from flows.recipe.places import Place, only
from tasks.collect_preferences import CollectStepConfig, JudgeConfig
from tasks.draw_pairs import DrawConfig, DrawStepConfig
from tasks.evaluate import EvaluateStepConfig
from tasks.evaluations.registry import EvaluateConfig
from tasks.extend_prompts import ExtendConfig
from tasks.fit_context import FitLimitsConfig, FitStepConfig, GattRoom, PrepromptRoom
from tasks.import_data import ImportConfig
from tasks.judging.judge import JudgeStepConfig
from tasks.judging.registry import model_of
from tasks.safety_preprompts import PrepromptsConfig
from tasks.synthesize_gatt import GattStepConfig
from tasks.train_reward import RewardStepConfig


def reading(at: Place) -> ImportConfig:
    return ImportConfig(**only(ImportConfig, at.config.data))


def fitting(at: Place) -> FitLimitsConfig:
    c = at.config
    room = None
    if c.gatt is not None and not at.number:
        room = GattRoom(
            turns=c.gatt.min_turns,
            answer_tokens=c.gatt.sampling.max_new_tokens,
            dialogue_tokens=gatt_tokens(c),
            instructions=1 + (c.gatt.combined_share > 0),
        )
    plain = FitLimitsConfig(
        **{**c.fit.model_dump(), **limits(c)}, splits=splits(c), gatt=room, template_date=c.template_date
    )
    if c.context_distillation is None or at.number:
        return plain
    texts = PrepromptRoom(**only(PrepromptsConfig, c.context_distillation), tokens=preprompt_tokens(c))
    return FitStepConfig(**plain.model_dump(), preprompts=texts)


def synthesizing(at: Place) -> GattStepConfig:
    c = at.config
    if c.gatt is None:
        raise AssertionError("the row is there where there is Ghost Attention")
    return GattStepConfig(**c.gatt.model_dump(), dialogue_tokens=gatt_tokens(c))


def extending(at: Place) -> ExtendConfig:
    c, room = at.config, limits(at.config)["prompt_tokens"]
    given = {} if c.collect.red_team is None else c.collect.red_team.model_dump()
    return ExtendConfig(
        **given, prompt_tokens=min(room, c.fit.max_prompt_tokens or room), template_date=c.template_date
    )


def chooses(at: Place) -> bool:
    """Earlier reward models choose among more pairs. Without a strategy the step's fingerprint knows nothing of it."""
    return at.config.collect.strategy is not None and at.number > 1


def disagrees(at: Place) -> bool:
    strategy = at.config.collect.strategy
    return chooses(at) and strategy is not None and strategy.iterations_disagree_share > 0 and at.number > 2


def drawing(at: Place) -> DrawConfig:
    collect = at.config.collect
    plain = DrawConfig(**only(DrawConfig, collect))
    if not chooses(at):
        return plain
    return DrawStepConfig(**plain.model_dump(), strategy=collect.strategy, heldout_percent=collect.heldout_percent)


def judging(at: Place) -> JudgeStepConfig:
    model = model_of(at.judging)
    if model is None:
        raise AssertionError("the row is there where a model judges")
    return model.step_config(at.judging)


def collecting(at: Place) -> CollectStepConfig:
    c, shares = at.config, at.config.collect.shares
    return CollectStepConfig(
        **only(JudgeConfig, c.collect),
        annotator=c.annotator if shares.simulated else None,
        shares=shares,
        iterations=1 if c.draws_pairs or at.is_appended else c.iterations,
    )


def rewarding(at: Place) -> RewardStepConfig:
    return RewardStepConfig(training=at.config.reward, lora=at.config.lora)


def evaluating(at: Place) -> EvaluateStepConfig:
    return EvaluateStepConfig(**only(EvaluateConfig, at.config.evaluate), annotator=at.config.annotator)
