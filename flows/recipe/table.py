"""The recipe as a table: one row a step, with its config, what it reads and what its outputs are called.

Nobody writes the order down: a step runs when what it reads is there (flows/recipe/plan.py). The rows of the
foundation stand once in a run, those of an iteration once in each of V1 … Vn, where their condition holds.
"""

from collections.abc import Callable, Mapping

from data_store.rows import AXES
from flows.recipe.benchmark_rows import (
    BASE_BENCHMARKS_ROW,
    BENCHMARKS_ROW,
    CONTAMINATION,
    CONTAMINATION_ROW,
    ITEMS_ROW,
)
from flows.recipe.check_row import CHECK_ROW, FINDINGS
from flows.recipe.conditions import (
    collects,
    describes,
    draws,
    earlier_answers,
    has_annotator,
    has_context_distillation,
    has_final_stage,
    has_gatt,
    has_gold,
    has_instructions,
    has_looks,
    has_model,
    has_red_team,
    imports_pairs,
    is_evaluated,
    is_iteration,
    takes_in_pairs,
    trains_base,
)
from flows.recipe.context_row import CONTEXT_ROW
from flows.recipe.data_rows import FIT_ROW, IMPORT_ROW, IMPORTED
from flows.recipe.demonstration_rows import OWN_ANSWERS_ROW, SFT_ROW, demonstrations
from flows.recipe.filter_row import FILTER_ROW
from flows.recipe.final_stages.stage import stages
from flows.recipe.judge_rows import CLASSIFIER_ROW, is_judge
from flows.recipe.places import (
    Makes,
    Place,
    Reads,
    Row,
    attacks,
    base,
    before,
    earlier,
    first,
    for_judges,
    for_model,
    given_base,
    here,
    imported_pairs,
    last,
    picks,
    section,
    so_far,
    the_prompts,
    the_tokenizer,
    under_adapters,
    where,
)
from flows.recipe.quality_row import QUALITY_ROW
from flows.recipe.reward_test_rows import MEASURING_ROW, REWARD_TESTS, TESTS_ROW
from flows.recipe.similar_row import SIMILAR_ROW
from flows.recipe.step_configs import (
    chooses,
    collecting,
    disagrees,
    drawing,
    evaluating,
    extending,
    fitting,
    judging,
    pretraining,
    reading,
    rewarding,
    synthesizing,
)
from flows.recipe.tokenizer_row import EXTENSION_ROW, TOKENIZER_ROW
from tasks.answer_held_out import PREFIX, answer_held_out
from tasks.collect_preferences import collect_preferences
from tasks.describe_corpus import describe_corpus
from tasks.draw_pairs import draw_pairs
from tasks.engine.step import Step
from tasks.evaluate import evaluate, evaluate_sampled
from tasks.extend_prompts import extend_prompts
from tasks.fine_tune import FineTuneStepConfig, fine_tune
from tasks.fit_context import fit_context
from tasks.import_data import import_data
from tasks.judge_answers import judge_answers
from tasks.judge_pairs import judge_pairs
from tasks.judging.registry import JUDGES, MODELS
from tasks.pose_questions import pose_questions, pose_sampled_questions
from tasks.pretrain import pretrain
from tasks.rejection_sample import rejection_sample
from tasks.synthesize_gatt import synthesize_gatt
from tasks.train_reward import train_gold_reward, train_helpfulness_reward, train_safety_reward

# --- what is read and made in several places -----------------------------------------------------------------------

POLICY = last("model/policy")
REWARDS: Mapping[str, Reads] = {f"{axis}_reward": here(f"model/reward-{axis}") for axis in AXES}
LEARNED = {"policy": POLICY, "preferences": so_far("dataset/preferences"), "base": under_adapters}
EVALUATED: Mapping[str, Reads] = {
    "prompts": base("dataset/prompts"),
    "instructions": where(has_instructions, base("dataset/instructions")),
    **{role: where(collects, reads) for role, reads in REWARDS.items()},
    "preferences": where(collects, so_far("dataset/preferences")),
    "reference": where(is_iteration, first("model/policy")),
    "baseline": where(is_iteration, first("dataset/evaluation-responses")),
    "contamination": CONTAMINATION,
    "base": under_adapters,
}
JUDGED = ("pairs", *dict.fromkeys(each.role for each in JUDGES if each.role))


def _evaluated(ending: str = "") -> Callable[[Place], Makes]:
    made = {"evaluation": "evaluation", "responses": "evaluation-responses", "judgements": "evaluation-judgements"}

    def of(at: Place) -> Makes:
        return {role: f"{name}{ending}" for role, name in made.items() if role != "judgements" or has_annotator(at)}

    return of


# --- the recipe ----------------------------------------------------------------------------------------------------

FOUNDATION_ROWS = (
    CHECK_ROW,
    CLASSIFIER_ROW,
    # whatever follows reads what is imported: nothing is done for a model that cannot be right, or for benchmarks that
    # cannot be run
    ITEMS_ROW,
    TESTS_ROW,
    IMPORT_ROW,
    QUALITY_ROW,
    FILTER_ROW,
    TOKENIZER_ROW,
    EXTENSION_ROW,
    SIMILAR_ROW,
    FIT_ROW,
    OWN_ANSWERS_ROW,
    CONTAMINATION_ROW,
    Row(
        describe_corpus,
        section("describe"),
        {
            "corpus": here("dataset/corpus"),
            "counts": here("dataset/corpus-counts"),
            "examples": here("dataset/dropped-examples"),
            "tokenizer": the_tokenizer,
        },
        {"shares": "corpus-shares", "report": "corpus"},
        when=describes,
    ),
    Row(
        pretrain,
        pretraining,
        {"corpus": here("dataset/corpus"), "tokenizer": the_tokenizer, "base": given_base, "findings": FINDINGS},
        {"base": "base"},
        when=trains_base,
        after=(fit_context,),  # what does not fit is refused before any model is trained
    ),
    BASE_BENCHMARKS_ROW,
)

FIRST_ROWS = (SFT_ROW,)

ITERATION_ROWS = (
    Row(
        extend_prompts,
        extending,
        {
            "prompts": base("dataset/prompts"),
            "tokenizer": the_tokenizer,
            "attacks": attacks,
            "reward_tests": REWARD_TESTS,
        },
        {"prompts": "prompts"},
        when=has_red_team,
    ),
    Row(
        draw_pairs,
        drawing,
        {
            "policy": POLICY,
            "previous": last("model/policy", by=2),
            "prompts": the_prompts,
            "base": under_adapters,
            "preferences": where(chooses, earlier("dataset/preferences")),
            **{f"{axis}_reward": where(chooses, last(f"model/reward-{axis}")) for axis in AXES},
            **{f"earlier_{axis}_reward": where(disagrees, last(f"model/reward-{axis}", by=2)) for axis in AXES},
        },
        {"pairs": "pairs"},
        when=draws,
        seed_of=collect_preferences,  # one seed for a batch of pairs and for judging it, which itself draws nothing
    ),
    Row(
        judge_pairs,
        judging,
        {"pairs": here("dataset/pairs"), **{role: for_model(role) for each in MODELS for role in each.inputs}},
        {"judgements": "lm-judgements", "refused": "lm-refused"},
        when=has_model,
    ),
    Row(
        import_data,
        reading,
        IMPORTED,
        {"preferences": "raw-preferences", "refused": "refused"},
        when=takes_in_pairs,
    ),
    Row(
        fit_context,
        fitting,
        {"preferences": here("dataset/raw-preferences"), "tokenizer": the_tokenizer},
        {"preferences": "fitted-preferences", "dropped": "too-long"},
        when=takes_in_pairs,
    ),
    Row(
        collect_preferences,
        collecting,
        {
            "prompts": base("dataset/prompts"),
            "imported": where(imports_pairs, imported_pairs),
            **{role: where(draws, for_judges(role)) for role in JUDGED},
        },
        {"preferences": "preferences"},
        when=collects,
    ),
    Row(train_safety_reward, rewarding, LEARNED, {"reward": "reward-safety"}, when=collects),
    Row(train_helpfulness_reward, rewarding, LEARNED, {"reward": "reward-helpfulness"}, when=collects),
    # it starts from SFT: later policies have seen what the optimised reward models learned
    Row(
        train_gold_reward,
        rewarding,
        {**LEARNED, "policy": first("model/policy")},
        {"reward": "reward-gold"},
        when=has_gold,
    ),
    Row(
        rejection_sample,
        section("rejection"),
        {
            "policy": POLICY,
            **REWARDS,
            "prompts": the_prompts,
            "candidates": earlier("dataset/candidates"),
            "earlier_picks": before("dataset/picks"),
            "base": under_adapters,
        },
        {"candidates": "candidates", "scores": "scores", "picks": "picks"},
        when=collects,
    ),
    Row(
        synthesize_gatt,
        synthesizing,
        {
            "policy": POLICY,
            "helpfulness_reward": REWARDS["helpfulness_reward"],
            "instructions": base("dataset/instructions"),
            "prompts": the_prompts,
            "base": under_adapters,
        },
        {"dialogues": "gatt"},
        when=has_gatt,
    ),
    CONTEXT_ROW,
    Row(
        fine_tune,
        lambda at: FineTuneStepConfig(**at.config.fine_tune.model_dump(), lora=at.config.lora),
        {
            "policy": POLICY,
            "picks": picks,
            "gatt": where(has_gatt, here("dataset/gatt")),
            "distilled": where(has_context_distillation, here("dataset/context-distilled")),
            "demonstrations": demonstrations,
            "base": under_adapters,
            "findings": FINDINGS,
        },
        lambda at: {"policy": "policy-sampled" if has_final_stage(at) else "policy"},
    ),
    *(stage.row for stage in stages().values()),
    Row(
        evaluate_sampled,
        evaluating,
        {"policy": here("model/policy-sampled"), **EVALUATED},
        _evaluated("-sampled"),
        when=has_final_stage,
    ),
)

# each policy, at the end of its part
EVALUATION_ROW = Row(
    evaluate,
    evaluating,
    {
        "policy": here("model/policy"),
        **EVALUATED,
        "earlier_responses": earlier_answers,
        "looks": where(has_looks, here("dataset/ppo-looks")),
        "gold_reward": where(has_looks, where(has_gold, here("model/reward-gold"))),
    },
    _evaluated(),
    when=is_evaluated,
)
LAST_ROWS = (EVALUATION_ROW, BENCHMARKS_ROW, MEASURING_ROW)

STEPS: Mapping[str, Step] = {
    **{row.step.name: row.step for row in (*FOUNDATION_ROWS, *FIRST_ROWS, *ITERATION_ROWS, *LAST_ROWS)},
    **{step.name: step for step in (pose_questions, pose_sampled_questions, judge_answers, answer_held_out)},
}


def known_step(name: str) -> Step | None:
    """The step that a run was of, by its name; None for one that the recipe does not know any more."""
    if is_judge(name):
        return STEPS[judge_answers.name]
    return STEPS[answer_held_out.name] if name.startswith(PREFIX) else STEPS.get(name)
