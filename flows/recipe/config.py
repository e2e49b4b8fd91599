"""RunConfig: one YAML file is one complete named run."""

import json
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from data_store.commands import halter
from data_store.corpus.registry import FilterSectionConfig
from data_store.errors import InputError, StoreError
from data_store.upkeep.retention import Retention
from flows.recipe.data_config import DataConfig, check_data, resolved
from flows.recipe.distill_config import DistillConfig, RunName, check_distilled
from flows.recipe.given_models import (
    DESCRIPTION,
    check_compared,
    check_folders,
    check_judges,
    check_known_pairs,
    check_own_answers,
    check_pieces,
    check_preprompts,
    check_tokenizer,
    resolved_collect,
    resolved_evaluate,
    resolved_preprompts,
    resolved_tokenizer,
)
from flows.recipe.invalid import messages
from flows.recipe.resources_config import ResourceConfig
from flows.recipe.samplers import check_samplers
from flows.recipe.schedule_config import ScheduleConfig
from flows.recipe.watch_config import GateConfig, NotifyConfig, TrackerName
from flows.recipe.yaml_text import read_yaml_file
from models.config import (
    TEMPLATE_DATE,
    ArchitectureConfig,
    Config,
    DPOConfig,
    LoraConfig,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    SFTConfig,
)
from models.mix_config import ExtendTokenizerConfig, MixConfig, check_extension
from models.samplers.config import VllmConfig
from models.tokenizer_config import TokenizerSectionConfig
from tasks.benchmarks.config import BenchmarksConfig
from tasks.collect_preferences import CollectConfig
from tasks.describe_corpus import DescribeConfig
from tasks.distill_context import ContextDistillationConfig
from tasks.evaluation_judges.config import EvaluationConfig, EvaluationJudgeConfig
from tasks.fine_tune import FineTuneConfig
from tasks.fit_context import FitConfig
from tasks.judging.annotators import AnnotatorConfig
from tasks.judging.registry import judges_of
from tasks.measure_contamination import ContaminationConfig
from tasks.own_answers import OwnAnswersConfig
from tasks.quality import QualityConfig
from tasks.rejection_sample import RejectionConfig
from tasks.reward_tests import RewardTestsConfig
from tasks.similar import SimilarConfig
from tasks.synthesize_gatt import GattConfig

_OF_FILES = {"benchmarks": "benchmarks.sets", "reward_tests": "reward_tests.sets", "quality": "quality"}


class RunConfig(Config):
    """A complete run: data, models, every step's hyper-parameters, the number of iterations and one seed."""

    name: RunName = Field(
        description="Names the run's store, its folder, and its runs in the Prefect UI: at most 48 of a-z, 0-9, '_', "
        "'.' and '-', the first a letter or a digit"
    )
    description: str = Field(default="", description="What the run is for, for people")
    _is_described: bool = PrivateAttr(default=False)
    seed: int = Field(default=0, ge=0, description="Every step derives its own seed from it")
    v0_seed: int | None = Field(
        default=None, ge=0, description="That of all up to V0; empty: `seed` is, as of the rest"
    )
    iterations: int = Field(
        ge=0,
        le=99,
        description="RLHF-V1 … Vn; 0: the run ends with SFT (V0), and without demonstrations with the pretrained model",
    )
    base_model: Path | None = Field(
        default=None,
        description="Folder of a chat model (safetensors); takes the place of filter, tokenizer and pretraining. With "
        "a mix it is pretrained on from there first, on data.documents",
    )
    template_date: date = Field(
        default=TEMPLATE_DATE,
        description="What the base model's chat template is told when it asks for today's date, so that a dialogue is "
        "the same tokens on every day",
    )
    lora: LoraConfig | None = Field(default=None, description="Train adapters instead of all weights")
    data: DataConfig = Field(description="The raw material: files, or a little world")
    annotator: AnnotatorConfig | None = Field(
        default=None, description="Judges pairs and answers; empty: people do (collect.people), or pairs are imported"
    )
    filter: FilterSectionConfig = Field(default=FilterSectionConfig(), description="What stays in the corpus")
    quality: QualityConfig | None = Field(
        default=None, description="A classifier of documents that the filter asks, too; empty: none"
    )
    describe: DescribeConfig | None = Field(
        default=DescribeConfig(), description="How the corpus of files is counted out for the report; empty: not at all"
    )
    tokenizer: TokenizerSectionConfig = Field(default=TokenizerSectionConfig(), description="Of a model from nothing")
    model: ArchitectureConfig = Field(
        default=ArchitectureConfig(preset="llama2-7b"),
        description="The Llama that is trained from nothing; `halter plan` takes it for a base_model that is not there",
    )
    similar: SimilarConfig | None = Field(default=None, description="Which rows mean the same and go; empty: none")
    fit: FitConfig = Field(default=FitConfig(), description="What becomes of rows that are too long")
    mix: MixConfig | None = Field(default=None, description="What pretraining reads of which files; empty: all alike")
    extend_tokenizer: ExtendTokenizerConfig | None = Field(
        default=None, description="New pieces for the tokenizer of a base model that is pretrained on; empty: none"
    )
    pretrain: PretrainConfig = Field(default=PretrainConfig(), description="How the base model is pretrained")
    sft: SFTConfig = Field(default=SFTConfig(), description="How the base model is fine-tuned on demonstrations, to V0")
    own_answers: OwnAnswersConfig | None = Field(
        default=None, description="The base model's own answers to learn beside the demonstrations; empty: none"
    )
    collect: CollectConfig = Field(default=CollectConfig(), description="Which pairs are drawn, and who judges them")
    reward: RewardConfig = Field(default=RewardConfig(), description="How the reward models are trained")
    reward_tests: RewardTestsConfig = Field(
        default=RewardTestsConfig(), description="What the reward models are tested on, beside their held-out pairs"
    )
    rejection: RejectionConfig = Field(default=RejectionConfig(), description="How candidates are drawn and picked")
    gatt: GattConfig | None = Field(default=None, description="Ghost Attention; empty: none")
    context_distillation: ContextDistillationConfig | None = Field(
        default=None, description="Safety context distillation; empty: none"
    )
    fine_tune: FineTuneConfig = Field(
        default=FineTuneConfig(), description="How each iteration's policy learns from the picks"
    )
    distill: DistillConfig | None = Field(
        default=None, description="Learn from another run's rejection samples; empty: from this run's own"
    )
    final_stage: Literal["ppo", "dpo", "none"] = Field(
        default="ppo", description="What follows fine-tuning in the last iteration: Llama 2's PPO or Llama 3's DPO"
    )
    ppo: PPOConfig = Field(default=PPOConfig(), description="How PPO is done, with final_stage: ppo")
    dpo: DPOConfig = Field(default=DPOConfig(), description="How DPO is done, with final_stage: dpo")
    evaluate: EvaluationConfig = Field(default=EvaluationConfig(), description="How each policy is evaluated")
    benchmarks: BenchmarksConfig = Field(default=BenchmarksConfig(), description="What each policy is put to, too")
    contamination: ContaminationConfig | None = Field(default=None, description="Look for evaluation sets in the data")
    retention: Retention = Field(default=Retention(), description="Which superseded versions `halter gc` keeps")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="What a start of the recipe takes in")
    gates: tuple[GateConfig, ...] = Field(default=(), description="Bounds at which the run stops; see docs/schedule.md")
    notify: NotifyConfig | None = Field(default=None, description="Who is told of failures and gates; empty: nobody")
    trackers: tuple[TrackerName, ...] = Field(default=(), description="Who else hears of curves: docs/trackers.md")
    energy_country: str | None = Field(
        default=None,
        pattern="^[A-Z]{3}$",
        description="Measure what steps draw, and its CO2 by this country's grid: KOR",
    )

    vllm: VllmConfig | None = Field(default=None, description="The engine behind sampler: docs/grow-to-a-cluster.md")
    resources: dict[str, ResourceConfig] = Field(
        default={}, description="Where steps are done, by their names or `default`: docs/grow-to-a-cluster.md"
    )

    @field_validator("ppo", "dpo", mode="before")
    @classmethod
    def _is_no_switch(cls, section: object) -> object:
        if section is None:
            raise ValueError("must hold values; to leave the stage out, set final_stage: none")
        return section

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        if self.distill is not None:
            check_distilled(self, self.distill)
        elif self.annotator is not None and self.collect.people is not None:
            raise ValueError("either the simulated annotator judges or people do: take annotator or collect.people out")
        elif self.iterations and self.data.world is not None and not self.draws_pairs:
            raise ValueError("nobody judges the pairs: give an annotator, collect.judge or collect.people")
        self.tokenizer.check_alone(self.base_model)
        check_extension(self.extend_tokenizer, self.mix if self.base_model is not None else None)
        if self.own_answers is not None:
            check_own_answers(self.base_model, self.data.demonstrations)
        check_samplers(self)
        self._has_its_judges()
        self._has_pairs_to_choose_among()
        if self.reward_tests.sets and self.data.world is not None:
            raise ValueError("reward_tests.sets: a little world has no pairs in files; give data of files, or no sets")
        if self.quality is not None and self.base_model is not None:
            raise ValueError("quality judges the corpus, and base_model takes its place: take one of them out")
        self.schedule.check_beside(self.iterations)
        if self.similar is not None and not (self.iterations or self.data.asks):
            raise ValueError("similar compares prompts and demonstrations, and there are none: take it out")
        if self.data.world is None:
            self.data.check_given(
                base_model=self.base_model is not None,
                mix=self.mix is not None,
                iterations=self.iterations > 0,
                pairs=self.distill is None and not self.draws_pairs,
                gatt=self.gatt is not None,
            )
            if self.contamination and not (self.iterations or self.data.prompts_from or self.benchmarks.sets):
                raise ValueError("contamination looks for prompts and benchmarks, and there are none: take it out")
        return self

    def _has_its_judges(self) -> None:
        check_compared(self.evaluate, self.iterations, self.final_stage)
        check_judges(self.evaluate, self.reward.gold_percent, labelled=bool(self.data.labelled_responses))
        collect, shares = self.collect, self.collect.sources
        if collect.people is not None and (collect.judge is not None or shares is not None):
            raise ValueError("where people judge, nobody else does: take collect.judge and collect.sources out")
        if shares is not None and (shares.lm > 0) != (collect.judge is not None):
            raise ValueError("collect.sources.lm and collect.judge go together: a share above 0, and who judges it")
        if shares is not None and shares.simulated > 0 and self.annotator is None:
            raise ValueError("collect.sources.simulated needs the annotator: give annotator")

    def _has_pairs_to_choose_among(self) -> None:
        strategy = self.collect.strategy
        if strategy is None or not self.iterations:
            return
        if self.distill is not None or not self.draws_pairs:
            raise ValueError("collect.strategy chooses among drawn pairs, and none are drawn: take it out")
        if self.iterations == 1:
            raise ValueError("collect.strategy needs the reward models of an earlier iteration: raise iterations")
        if strategy.iterations_disagree_share and self.iterations == 2:
            raise ValueError(
                "collect.strategy.iterations_disagree_share needs the reward models of two earlier iterations: raise "
                "iterations to 3, or set it to 0"
            )

    @property
    def trains_base(self) -> bool:
        """Whether the model that everything begins with is trained here: from nothing, or on from a base model."""
        return self.base_model is None or self.mix is not None

    @property
    def is_described(self) -> bool:
        """Whether `model` stands for a base model whose folder is not there: of a config for a plan (`load_config`)."""
        return self._is_described

    @property
    def evaluation_judges(self) -> tuple[EvaluationJudgeConfig, ...]:
        """Who judges evaluations beside the annotator."""
        return self.evaluate.in_force(gold=self.reward.gold_percent > 0)

    @property
    def draws_pairs(self) -> bool:
        """Whether there is somebody to judge pairs that are drawn from the policies; else judged pairs are imported."""
        return bool(judges_of(self.collect.judging(self.annotator)))


def load_config(path: Path, *, opens_models: bool = True) -> RunConfig:
    """Read and check a config file. Raises InputError that names file, key and what to do. Where none `opens_models`,
    their folders need a config.json alone, and a base model that `model` describes need not be there."""
    content = read_yaml_file(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold keys and values, such as `name: my-run`")
    return checked(content, str(path), path.parent, opens_models=opens_models)


def dump_config(config: RunConfig) -> str:
    """The config as JSON, paths absolute; `parse_config` reads it back."""
    return json.dumps(config.model_dump(mode="json"), indent=1, sort_keys=True)


def parse_config(text: str | bytes, where: str = "the stored config") -> RunConfig:
    """The inverse of `dump_config`. Raises StoreError for a text that is cut short; `where` names its file."""
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it holds no keys")
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{where} is cut short or damaged ({error}): take it from a backup, or give the run's YAML file to "
            f"`{halter('run', 'CONFIG')}` again, which writes it anew; nothing is lost by that"
        ) from None
    return checked(content, where, None)


def checked(content: dict[str, Any], where: str, folder: Path | None, *, opens_models: bool = True) -> RunConfig:
    """The config of these keys and values. With a `folder` paths are from there, and what they name is looked at.
    Raises InputError that begins with `where`."""
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        raise InputError("\n".join(messages(error, where, RunConfig))) from None
    if folder is None:
        return config
    paths = {role: tuple(resolved(entry, folder) for entry in found) for role, found in config.data.given().items()}
    base = None if config.base_model is None else (folder / config.base_model).resolve()
    config = config.model_copy(
        update={
            "data": config.data.model_copy(update=paths),
            "base_model": base,
            "tokenizer": resolved_tokenizer(config.tokenizer, folder),
            "collect": resolved_collect(config.collect, folder),
            "evaluate": resolved_evaluate(config.evaluate, folder),
            **{
                name: each.beside(folder)
                for name in (*_OF_FILES, "similar")
                if (each := getattr(config, name)) is not None
            },
            "context_distillation": resolved_preprompts(config.context_distillation, folder),
        }
    )
    absent = base is not None and not (base / DESCRIPTION).is_file()
    config._is_described = absent and not opens_models and "model" in content
    _check_files(config, where, opens_models=opens_models)
    return config


def _check_files(config: RunConfig, where: str, *, opens_models: bool) -> None:
    check_data(config.data, where)
    if config.context_distillation is not None and config.context_distillation.file is not None:
        check_preprompts(config.context_distillation.file, f"{where}: context_distillation.file")
    for name, key in _OF_FILES.items():
        if (section := getattr(config, name)) is not None and (missing := section.missing()):
            raise InputError(f"{where}: {key}: {missing}")
    check_known_pairs(config.collect, config.evaluate, where)
    base = None if config.is_described else config.base_model
    check_folders(base, config.collect, config.evaluate, config.similar, where, opened=opens_models)
    check_tokenizer(config.tokenizer.folder, f"{where}: tokenizer.folder")
    if config.extend_tokenizer is not None and base is not None:
        check_pieces(base, f"{where}: extend_tokenizer")
