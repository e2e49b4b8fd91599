"""The config of each step of the recipe that is put together from several sections of the run's."""

from data_store.errors import InputError
from data_store.reading.file_options import AS_SAID
from data_store.reading.source_files import told_apart
from flows.recipe.lengths import context_length, gatt_tokens, limits, preprompt_tokens, splits
from flows.recipe.places import Place, data_files, only
from models.config import ArchitectureConfig
from tasks.collect_preferences import CollectStepConfig, JudgeConfig
from tasks.draw_pairs import DrawConfig, DrawStepConfig
from tasks.evaluate import EvaluateStepConfig
from tasks.evaluations.registry import EvaluateConfig
from tasks.extend_prompts import ExtendConfig
from tasks.file_roles import ROLES, NamedFile
from tasks.fit_context import FitLimitsConfig, FitStepConfig, GattRoom, PrepromptRoom
from tasks.import_data import ImportConfig, ImportStepConfig
from tasks.incoming.files import File
from tasks.judging.judge import JudgeStepConfig
from tasks.judging.registry import model_of
from tasks.pretrain import MixedPretrainStepConfig, PretrainStepConfig
from tasks.safety_preprompts import PrepromptsConfig
from tasks.synthesize_gatt import GattStepConfig
from tasks.train_reward import RewardStepConfig


def reading(at: Place) -> ImportStepConfig:
    """With what is said of single files, which are named as their rows name them: a folder may be moved."""
    files = {role: [each.path for each in data_files(role)(at) if isinstance(each, File)] for role in ROLES}
    whole = list(dict.fromkeys(path.resolve() for paths in files.values() for path in paths))
    names = dict(zip(whole, told_apart(whole), strict=True))
    said = at.config.data.laid_out()
    of_files = tuple(
        NamedFile(role=role, name=names[path.resolve()], **options.model_dump())
        for role, paths in files.items()
        for path in paths
        if (options := said.get(role, {}).get(path, AS_SAID)) != AS_SAID
    )
    return ImportStepConfig(**only(ImportConfig, at.config.data), of_files=of_files)


def fitting(at: Place) -> FitLimitsConfig:
    c = at.config
    room = None
    if c.gatt is not None and c.iterations and not at.number:
        room = GattRoom(
            turns=c.gatt.min_turns,
            answer_tokens=c.gatt.sampling.max_new_tokens,
            dialogue_tokens=gatt_tokens(c),
            instructions=1 + (c.gatt.combined_share > 0),
        )
    plain = FitLimitsConfig(
        **{**c.fit.model_dump(), **limits(c)}, splits=splits(c), gatt=room, template_date=c.template_date
    )
    if c.context_distillation is None or not c.iterations or at.number:
        return plain
    texts = PrepromptRoom(**only(PrepromptsConfig, c.context_distillation), tokens=preprompt_tokens(c))
    return FitStepConfig(**plain.model_dump(), preprompts=texts)


def pretraining(at: Place) -> PretrainStepConfig:
    c = at.config
    most = context_length(c)  # a shape that lacks something is refused by it, too
    if c.base_model is None:
        model = c.model
    elif most < c.pretrain.sequence_length:
        raise InputError(
            f"pretrain.sequence_length {c.pretrain.sequence_length} exceeds the {most} tokens that base_model reads: "
            "lower it"
        )
    else:
        model = ArchitectureConfig()  # the shape is the base model's own
    plain = PretrainStepConfig(model=model, training=c.pretrain)
    return plain if c.mix is None else MixedPretrainStepConfig(**plain.model_dump(), mix=c.mix)


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
