"""In which parts a step of the recipe is, and what it reads there: conditions on a place."""

from flows.recipe.places import Place, earlier, first, here
from tasks.engine.reading import Incoming
from tasks.judging.registry import model_of


def brings_base(at: Place) -> bool:
    """A base model is given."""
    return at.config.base_model is not None


def trains_base(at: Place) -> bool:
    """What everything begins with is trained here: from nothing, or on from a base model that is given."""
    return at.config.trains_base


def trains_tokenizer(at: Place) -> bool:
    """No base model is given, which would have one, and no tokenizer by itself."""
    return not brings_base(at) and at.config.tokenizer.folder is None


def has_world(at: Place) -> bool:
    """The data are generated."""
    return at.config.data.world is not None


def describes(at: Place) -> bool:
    """A corpus of files is counted out."""
    return trains_base(at) and not has_world(at) and at.config.describe is not None


def has_quality(at: Place) -> bool:
    """The documents of the corpus are judged by a classifier, too."""
    return trains_base(at) and at.config.quality is not None


def has_instructions(at: Place) -> bool:
    """There are instructions that can hold for a whole dialogue."""
    return has_world(at) or bool(at.config.data.instructions)


def has_demonstrations(at: Place) -> bool:
    """There are some to learn from."""
    return has_world(at) or bool(at.config.data.demonstrations)


def has_prompts(at: Place) -> bool:
    """There are some to answer: only a run without iterations can do without."""
    return at.config.iterations > 0 or has_world(at) or bool(at.config.data.prompts_from)


def has_policy(at: Place) -> bool:
    """There is a chat model: a run without iterations and demonstrations ends with the model that it has pretrained, be
    it from nothing or on from a base model."""
    return at.config.iterations > 0 or has_demonstrations(at) or not trains_base(at)


def has_base_alone(at: Place) -> bool:
    """The pretrained model is all that the run makes."""
    return not has_policy(at)


def is_evaluated(at: Place) -> bool:
    """The part's policy answers prompts."""
    return has_policy(at) and has_prompts(at)


def is_fitted(at: Place) -> bool:
    """There are rows that the context must hold."""
    return has_prompts(at) or has_demonstrations(at)


def has_similar(at: Place) -> bool:
    """Rows that mean the same as another one are dropped."""
    return at.config.similar is not None and is_fitted(at)


def has_annotator(at: Place) -> bool:
    """The simulated annotator judges."""
    return at.config.annotator is not None


def collects(at: Place) -> bool:
    """The iteration has preferences and reward models of its own; with distillation it learns another run's picks."""
    return at.number > 0 and at.config.distill is None


def draws(at: Place) -> bool:
    """Pairs are drawn from the policies and judged; else judged pairs are imported."""
    return collects(at) and at.config.draws_pairs


def imports_pairs(at: Place) -> bool:
    """Judged pairs come from files: those of the foundation."""
    c = at.config
    return c.iterations > 0 and not has_world(at) and not c.draws_pairs and c.distill is None


def takes_in_pairs(at: Place) -> bool:
    """An appended iteration has files of its own."""
    return collects(at) and not at.config.draws_pairs and at.is_appended


def has_red_team(at: Place) -> bool:
    """Prompts of red teams join those of the foundation."""
    return collects(at) and at.config.collect.red_team is not None


def has_model(at: Place) -> bool:
    """A model judges its share of the pairs."""
    return draws(at) and model_of(at.judging) is not None


def has_gold(at: Place) -> bool:
    """A reward model that nothing is optimised against, in each iteration."""
    return collects(at) and at.config.reward.gold_percent > 0


def has_gatt(at: Place) -> bool:
    """Ghost Attention, from its first iteration on."""
    return collects(at) and at.config.gatt is not None and at.number >= at.config.gatt.first_iteration


def has_context_distillation(at: Place) -> bool:
    """Answers behind a safety pre-prompt are learned, from their first iteration on."""
    section = at.config.context_distillation
    return collects(at) and section is not None and at.number >= section.first_iteration


def has_final_stage(at: Place) -> bool:
    """A stage follows fine-tuning."""
    return at.final_stage != "none"


def has_looks(at: Place) -> bool:
    """PPO looks at validation prompts while it trains."""
    return at.final_stage == "ppo"


def earlier_answers(at: Place) -> tuple[Incoming, ...]:
    """The answers of all policies before this one to held-out prompts, SFT's among them."""
    if not collects(at):
        return ()
    name = "dataset/evaluation-responses"
    before = here(f"{name}-sampled")(at) if has_final_stage(at) else ()
    return (*first(name)(at), *earlier(name)(at), *before)


def is_iteration(at: Place) -> bool:
    """V1 … Vn; V0 is what these are compared with."""
    return at.number > 0


def has_contamination(at: Place) -> bool:
    """What trains the models is held against what evaluates them."""
    return at.config.contamination is not None and (has_prompts(at) or has_benchmarks(at))


def has_reward_tests(at: Place) -> bool:
    """Reward models are put to test sets of files."""
    return bool(at.config.reward_tests.sets)


def has_benchmarks(at: Place) -> bool:
    """Policies are put to benchmarks."""
    return bool(at.config.benchmarks.sets)
