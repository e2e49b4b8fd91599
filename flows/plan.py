"""The wiring of the recipe: which step reads and writes which assets, in each part. Flows give the order, this gives
the edges."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.intakes import Intake, read_intakes
from data_store.names import AssetName
from data_store.records import Override, Withdrawal
from data_store.store import Store
from flows.config import RunConfig, with_values
from models.llama_presets import PRESETS
from tasks.collect_preferences import CollectStepConfig, JudgeConfig, collect_preferences
from tasks.dpo import DPOStepConfig, dpo
from tasks.draw_pairs import DrawConfig, DrawStepConfig, draw_pairs
from tasks.evaluate import EvaluateStepConfig, evaluate, evaluate_sampled
from tasks.extend_prompts import ExtendConfig, extend_prompts
from tasks.filter_corpus import filter_corpus
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.fit_context import FitStepConfig, fit_context
from tasks.import_data import PAIRS, ImportConfig, import_data
from tasks.judge_pairs import JudgePairsConfig, judge_pairs
from tasks.judges import Asked, LMJudgeConfig, SharesConfig, VerdictConfig
from tasks.ppo import PPOStepConfig, ppo
from tasks.pretrain import PretrainStepConfig, pretrain
from tasks.rejection_sample import rejection_sample
from tasks.sft import SFTStepConfig, sft
from tasks.step import Step, StepCall, derive_seed
from tasks.synthesize_gatt import synthesize_gatt
from tasks.train_reward import RewardStepConfig, train_gold_reward, train_helpfulness_reward, train_safety_reward
from tasks.train_tokenizer import train_tokenizer

FOUNDATION = "base"
FIRST = "V0"

Plan = Mapping[tuple[str, str], StepCall]
Assets = tuple[AssetName, ...]


def plan_today(config: RunConfig, store: Store) -> Plan:
    """The plan with all that the store holds beside the config: overrides, withdrawals, appended iterations."""
    with store.one_state():
        return build_plan(config, store.overrides(), store.withdrawals(), intakes_of(store))


def intakes_of(store: Store) -> dict[str, Intake]:
    """Part → what it took in."""
    return {part: intake for part, (intake, _) in read_intakes(store).items()}


def parts_of(config: RunConfig, intakes: Collection[str]) -> list[str]:
    """The iterations in force: V1 … Vn of the config, and those that were appended."""
    appended = [part for part in intakes if part != FOUNDATION]
    return [*(f"V{number}" for number in range(1, config.iterations + 1)), *appended]


def build_plan(
    config: RunConfig,
    overrides: Iterable[Override] = (),
    withdrawals: Collection[Withdrawal] = (),
    intakes: Mapping[str, Intake] = MappingProxyType({}),
) -> Plan:
    """Every step call of a run, by (part, step name), in an order in which they can be made.

    An override holds for its own step of its own part, a withdrawal for the steps by which such rows enter. `intakes`:
    what the foundation and the appended iterations took in. Raises InputError for an override that no longer fits the
    config, and for appended iterations that do not.
    """
    values: dict[tuple[str, str], dict[str, object]] = {}
    for override in overrides:
        values.setdefault((override.part, override.step), {})[override.key] = json.loads(override.value_json)
    calls = {}
    for key, call in _calls(config, intakes).items():
        if key in values:
            unset = " ".join(f"--unset {name}" for name in values[key])
            where = f"override of {key[1]} in {key[0]} (`halter rerun {key[0]} {key[1]} {unset}` takes it back)"
            changed = with_values(config, values[key], where)
            call = _calls(changed, intakes)[key]
        calls[key] = call.without(withdrawals)
    return calls


def _calls(config: RunConfig, intakes: Mapping[str, Intake]) -> dict[tuple[str, str], StepCall]:
    for part, intake in intakes.items():
        if part != FOUNDATION and intake.iterations != config.iterations:
            raise InputError(
                f"iterations: {config.iterations}, but {part} was appended to {intake.iterations}: set it back; "
                "the iterations that a run appends are counted with the run, and schedule.max_iterations bounds them"
            )
    wiring = _Wiring(config, intakes)
    wiring.foundation()
    for number in range(1, len(parts_of(config, intakes)) + 1):
        wiring.iteration(number) if config.distill is None else wiring.distillation(number, config.distill.run)
    return wiring.calls


class _Wiring:
    def __init__(self, config: RunConfig, intakes: Mapping[str, Intake]) -> None:
        self.config, self.intakes = config, intakes
        self.calls: dict[tuple[str, str], StepCall] = {}
        self.base_sources: dict[str, tuple[Path, ...]] = {}
        if config.base_model is not None:
            self.base_sources = {"base": (config.base_model,)}

    def add(
        self,
        step: Step,
        part: str,
        config: BaseModel,
        inputs: Mapping[str, Assets],
        outputs: Mapping[str, str],
        sources: Mapping[str, tuple[Path, ...]] | None = None,
        adopted: Mapping[str, tuple[tuple[str, AssetName], ...]] | None = None,
        judged: Mapping[str, AssetName] | None = None,
        asked: Mapping[str, Asked] | None = None,
        attacked: Mapping[str, tuple[str, ...]] | None = None,
        seed_of: str = "",
    ) -> None:
        """One call; `outputs` maps a role to the name of its asset, `seed_of` is the name that its seed is derived
        from where that is not the step's own."""
        self.calls[part, step.name] = StepCall(
            step=step,
            part=part,
            config=config,
            seed=derive_seed(self.config.seed, seed_of or step.name, part),
            inputs={role: assets for role, assets in inputs.items() if assets},
            outputs={role: AssetName(step.outputs[role].kind, name, part) for role, name in outputs.items()},
            sources=sources or {},
            adopted=adopted or {},
            judged=judged or {},
            asked=asked or {},
            attacked=attacked or {},
        )

    def foundation(self) -> None:
        c = self.config
        world, files = c.data.world is not None, c.data.files()
        pairs = not world and not c.draws_pairs and c.distill is None
        raw = {}
        if c.base_model is None:
            raw["documents"] = "raw-documents"
        if world or c.data.demonstrations:
            raw["demonstrations"] = "raw-demonstrations"
        raw["prompts"] = "raw-prompts"
        if world:
            raw["instructions"] = "instructions"
        else:
            raw["refused"] = "refused"
        if pairs:
            raw["preferences"] = "raw-preferences"
        if FOUNDATION in self.intakes:
            kept = {role: paths for role, paths in files.items() if role not in PAIRS}
            files = {**kept, **self.intakes[FOUNDATION].paths()}
        self.add(import_data, FOUNDATION, self.reading, {}, raw, files)
        if c.base_model is None:
            self.add(
                filter_corpus,
                FOUNDATION,
                c.filter,
                {"documents": dataset("raw-documents", FOUNDATION)},
                {"corpus": "corpus", "dropped": "dropped"},
            )
            corpus = dataset("corpus", FOUNDATION)
            self.add(train_tokenizer, FOUNDATION, c.tokenizer, {"corpus": corpus}, {"tokenizer": "tokenizer"})
        fitted: dict[str, str] = {role: role for role in ("demonstrations", "prompts", "preferences") if role in raw}
        self.fit(FOUNDATION, fitted)
        if c.base_model is None:
            self.add(
                pretrain,
                FOUNDATION,
                PretrainStepConfig(model=c.model, training=c.pretrain),
                {"corpus": dataset("corpus", FOUNDATION), **self.tokenizer()},
                {"base": "base"},
            )
        self.add(
            sft,
            FIRST,
            SFTStepConfig(training=c.sft, lora=c.lora),
            {
                "demonstrations": dataset("demonstrations", FOUNDATION) if "demonstrations" in fitted else (),
                **self.base(always=True),
            },
            {"policy": "policy"},
            self.base_sources,
        )
        self.evaluation(FIRST, {})

    @property
    def reading(self) -> ImportConfig:
        """How files are read."""
        return ImportConfig(**{name: getattr(self.config.data, name) for name in ImportConfig.model_fields})

    def fit(self, part: str, fitted: Mapping[str, str]) -> None:
        """What the context holds of the raw data sets of a part: role → name of what is left."""
        c = self.config
        self.add(
            fit_context,
            part,
            FitStepConfig(**{**c.fit.model_dump(), **_limits(c)}, splits=_splits(c)),
            {role: dataset(f"raw-{role}", part) for role in fitted} | self.tokenizer(),
            {**fitted, "dropped": "too-long"},
            {} if c.base_model is None else {"tokenizer": (c.base_model,)},
        )

    def imported(self, number: int) -> Assets:
        """The judged pairs of files that an iteration takes from: those of the foundation, or its own."""
        part = f"V{number}"
        if number <= self.config.iterations:
            return dataset("preferences", FOUNDATION)
        raw = {"preferences": "raw-preferences", "refused": "refused"}
        self.add(import_data, part, self.reading, {}, raw, self.intakes[part].paths())
        self.fit(part, {"preferences": "fitted-preferences"})
        return dataset("fitted-preferences", part)

    def iteration(self, number: int) -> None:
        """The steps of one iteration. From the config's last one on each ends with the final stage: what was made is
        never undone by what is appended."""
        c, part, last = self.config, f"V{number}", f"V{number - 1}"
        so_far = [f"V{n}" for n in range(1, number + 1)]
        policy = model("policy", last)
        prompts = {"prompts": self.prompts(number)}
        adapters: dict[str, Any] = {"sources": self.base_sources if c.lora else {}}
        base = self.base()
        if c.draws_pairs:
            before = model("policy", f"V{max(number - 2, 0)}")
            drawing, choosing = self.drawing(number)
            self.add(
                draw_pairs,
                part,
                drawing,
                {"policy": policy, "previous": before, **prompts, **base, **choosing},
                {"pairs": "pairs"},
                **adapters,
                # one seed for a batch of pairs and for judging it, which itself draws nothing
                seed_of=collect_preferences.name,
            )
            collected = {"pairs": dataset("pairs", part)}
        else:
            collected = {"imported": self.imported(number)}
        shares = c.collect.shares
        if c.collect.judge is not None:
            self.judge(part, c.collect.judge, shares, collected["pairs"])
            collected = {**(collected if shares.simulated else {}), "lm": dataset("lm-judgements", part)}
        self.add(
            collect_preferences,
            part,
            CollectStepConfig(
                **{name: getattr(c.collect, name) for name in JudgeConfig.model_fields},
                annotator=c.annotator if shares.simulated else None,
                shares=shares,
                iterations=1 if c.draws_pairs or number > c.iterations else c.iterations,
            ),
            collected,
            {"preferences": "preferences"},
            judged={"judgements": collected["pairs"][0]} if c.collect.people is not None else None,
        )
        pairs = {"preferences": dataset("preferences", *so_far)}
        reward = RewardStepConfig(training=c.reward, lora=c.lora)
        for step, name in ((train_safety_reward, "reward-safety"), (train_helpfulness_reward, "reward-helpfulness")):
            self.add(step, part, reward, {"policy": policy, **pairs, **base}, {"reward": name}, **adapters)
        gold: dict[str, Assets] = {}
        if c.reward.gold_percent and number >= c.iterations:
            # it starts from SFT: later policies have seen what the optimised reward models learned
            inputs = {"policy": model("policy", FIRST), **pairs, **base}
            self.add(train_gold_reward, part, reward, inputs, {"reward": "reward-gold"}, **adapters)
            gold = {"gold_reward": model("reward-gold", part)}
        rewards = {
            "safety_reward": model("reward-safety", part),
            "helpfulness_reward": model("reward-helpfulness", part),
        }
        self.add(
            rejection_sample,
            part,
            c.rejection,
            {"policy": policy, **rewards, **prompts, "candidates": dataset("candidates", *so_far[:-1]), **base},
            {"candidates": "candidates", "scores": "scores", "picks": "picks"},
            **adapters,
        )
        gatt = c.gatt is not None and number >= c.gatt.first_iteration
        if c.gatt is not None and gatt:
            self.add(
                synthesize_gatt,
                part,
                c.gatt,
                {
                    "policy": policy,
                    "helpfulness_reward": rewards["helpfulness_reward"],
                    "instructions": dataset("instructions", FOUNDATION),
                    **prompts,
                    **base,
                },
                {"dialogues": "gatt"},
                **adapters,
            )
        demonstrations = c.data.world is not None or bool(c.data.demonstrations)
        final_stage = c.final_stage if number >= c.iterations else "none"
        self.add(
            fine_tune,
            part,
            FineTuneStepConfig(**c.fine_tune.model_dump(), lora=c.lora),
            {
                "policy": policy,
                "picks": dataset("picks", part),
                "gatt": dataset("gatt", part) if gatt else (),
                "demonstrations": dataset("demonstrations", FOUNDATION) if demonstrations else (),
                **base,
            },
            {"policy": "policy" if final_stage == "none" else "policy-sampled"},
            **adapters,
        )
        evidence = {
            **rewards,
            **gold,
            **pairs,
            "reference": model("policy", FIRST),
            "baseline": dataset("evaluation-responses", FIRST),
        }
        sampled = {"policy": model("policy-sampled", part)}
        if final_stage == "ppo":
            self.add(
                ppo,
                part,
                PPOStepConfig(training=c.ppo, lora=c.lora),
                {**sampled, **rewards, **prompts, **base},
                {"policy": "policy"},
                **adapters,
            )
        elif final_stage == "dpo":
            newest = dataset("preferences", *so_far[-c.dpo.preference_batches :])
            self.add(
                dpo,
                part,
                DPOStepConfig(training=c.dpo, lora=c.lora, gold_percent=c.reward.gold_percent),
                {**sampled, "preferences": newest, **base},
                {"policy": "policy"},
                **adapters,
            )
        if final_stage != "none":
            self.evaluation(part, evidence, sampled=True)
        self.evaluation(part, evidence)

    def drawing(self, number: int) -> tuple[DrawConfig, dict[str, Assets]]:
        """How an iteration draws its pairs, and what chooses among them: with a strategy, from V2 on, the earlier
        reward models and the pairs on which these are calibrated. Else the step's fingerprint knows nothing of it."""
        collect = self.config.collect
        plain = DrawConfig(**{name: getattr(collect, name) for name in DrawConfig.model_fields})
        strategy = collect.strategy
        if strategy is None or number == 1:
            return plain, {}
        inputs = {"preferences": dataset("preferences", *(f"V{n}" for n in range(1, number)))}
        for axis in ("safety", "helpfulness"):
            inputs[f"{axis}_reward"] = model(f"reward-{axis}", f"V{number - 1}")
            if strategy.iterations_disagree_share and number > 2:
                inputs[f"earlier_{axis}_reward"] = model(f"reward-{axis}", f"V{number - 2}")
        config = DrawStepConfig(**plain.model_dump(), strategy=strategy, heldout_percent=collect.heldout_percent)
        return config, inputs

    def judge(self, part: str, judge: LMJudgeConfig, shares: SharesConfig, pairs: Assets) -> None:
        """A language model on its share of the pairs: its folder, or an endpoint's answers, are read beside them."""
        endpoint = judge.endpoint
        self.add(
            judge_pairs,
            part,
            JudgePairsConfig(
                **{name: getattr(judge, name) for name in VerdictConfig.model_fields},
                annotator=judge.annotator,
                shares=shares,
                asks=None if endpoint is None else endpoint.asks,
            ),
            {"pairs": pairs},
            {"judgements": "lm-judgements", "refused": "lm-refused"},
            {} if judge.folder is None else {"judge": (judge.folder,)},
            asked={} if endpoint is None else {"answers": Asked(pairs[0], shares, endpoint)},
        )

    def prompts(self, number: int) -> Assets:
        """The prompts of an iteration: those of the foundation, with those of red teams where they are asked for."""
        c, part = self.config, f"V{number}"
        if c.collect.red_team is None:
            return dataset("prompts", FOUNDATION)
        room = _limits(c)["prompt_tokens"]
        self.add(
            extend_prompts,
            part,
            ExtendConfig(**c.collect.red_team.model_dump(), prompt_tokens=min(room, c.fit.max_prompt_tokens or room)),
            {"prompts": dataset("prompts", FOUNDATION), **self.tokenizer()},
            {"prompts": "prompts"},
            {} if c.base_model is None else {"tokenizer": (c.base_model,)},
            attacked={"attacks": tuple(f"V{n}" for n in range(number))},
        )
        return dataset("prompts", part)

    def distillation(self, number: int, run: str) -> None:
        """Fine-tuning on another run's picks in the place of preferences, reward models and rejection sampling."""
        c, part = self.config, f"V{number}"
        demonstrations = c.data.world is not None or bool(c.data.demonstrations)
        self.add(
            fine_tune,
            part,
            FineTuneStepConfig(**c.fine_tune.model_dump(), lora=c.lora),
            {
                "policy": model("policy", f"V{number - 1}"),
                "demonstrations": dataset("demonstrations", FOUNDATION) if demonstrations else (),
                **self.base(),
            },
            {"policy": "policy"},
            self.base_sources if c.lora else {},
            {"picks": tuple((run, asset) for asset in dataset("picks", part))},
        )
        self.evaluation(part, {"reference": model("policy", FIRST), "baseline": dataset("evaluation-responses", FIRST)})

    def evaluation(self, part: str, evidence: Mapping[str, Assets], sampled: bool = False) -> None:
        c = self.config
        suffix = "-sampled" if sampled else ""
        self.add(
            evaluate_sampled if sampled else evaluate,
            part,
            EvaluateStepConfig(**c.evaluate.model_dump(), annotator=c.annotator),
            {
                "policy": model(f"policy{suffix}", part),
                "prompts": dataset("prompts", FOUNDATION),
                "instructions": dataset("instructions", FOUNDATION) if c.data.world is not None else (),
                **evidence,
                **self.base(),
            },
            {"evaluation": f"evaluation{suffix}", "responses": f"evaluation-responses{suffix}"},
            self.base_sources if c.lora else {},
        )

    def base(self, *, always: bool = False) -> dict[str, Assets]:
        """The base model where it was trained here, for steps that put adapters on it (or for SFT, `always`)."""
        here = self.config.base_model is None and (always or self.config.lora is not None)
        return {"base": model("base", FOUNDATION)} if here else {}

    def tokenizer(self) -> dict[str, Assets]:
        """The tokenizer where it was trained here."""
        return (
            {}
            if self.config.base_model is not None
            else {"tokenizer": (AssetName("tokenizer", "tokenizer", FOUNDATION),)}
        )


def dataset(name: str, *parts: str) -> Assets:
    """Data sets of this name in these parts."""
    return tuple(AssetName("dataset", name, part) for part in parts)


def model(name: str, part: str) -> Assets:
    """One model."""
    return (AssetName("model", name, part),)


def _limits(config: RunConfig) -> dict[str, int]:
    """The longest rows, in tokens, that the config has room for.

    A prompt leaves room for an answer in the context and wherever the answered prompt is learned from, and for the end
    of sequence that an answer gets which was cut off.
    """
    context, learned = _context_length(config), config.fine_tune.training.sequence_length
    answers = [config.evaluate.sampling]
    pairs = config.reward.max_length
    if config.final_stage == "ppo":
        answers.append(config.ppo.sampling)
    elif config.final_stage == "dpo":
        answers.append(config.dpo.sampling)
        pairs = min(pairs, config.dpo.max_length)
    if config.distill is None:
        answers.append(config.rejection.sampling)
        if config.draws_pairs:
            answers.append(config.collect.sampling)
            learned = min(learned, pairs)
    dialogue = min(config.sft.sequence_length, context)
    return {
        "dialogue_tokens": min(dialogue, config.fine_tune.training.sequence_length)
        if config.fine_tune.replay
        else dialogue,
        "prompt_tokens": min(context, learned) - max(sampling.max_new_tokens for sampling in answers) - 1,
        "pair_tokens": min(pairs, context),
    }


def _splits(config: RunConfig) -> tuple[str, ...]:
    """The splits without which some step has no prompt."""
    return ("train", "validation", "heldout") if config.final_stage == "ppo" else ("train", "heldout")


def _context_length(config: RunConfig) -> int:
    if config.base_model is not None:
        return _base_context_length(config.base_model / "config.json")
    if config.model.context_length is not None:
        return config.model.context_length
    if config.model.preset not in PRESETS:
        near = did_you_mean(config.model.preset, PRESETS)
        raise InputError(f"model.preset: unknown {config.model.preset!r}; there are {', '.join(PRESETS)}{near}")
    return PRESETS[config.model.preset].context_length


def _base_context_length(file: Path) -> int:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from None
    length = content.get("max_position_embeddings") if isinstance(content, dict) else None
    if not isinstance(length, int):
        raise InputError(f"{file}: max_position_embeddings is missing: the context length of the base model, in tokens")
    return length
