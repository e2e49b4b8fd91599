"""The rows of the judges of evaluations: their questions on each evaluated policy, and a row for each judge."""

from collections.abc import Iterator, Mapping

from data_store.names import AssetName
from flows.recipe.compared_rows import compared_at
from flows.recipe.conditions import has_final_stage, has_gold, is_evaluated, is_iteration
from flows.recipe.config import RunConfig
from flows.recipe.places import (
    Condition,
    Place,
    Reads,
    Row,
    base,
    data_files,
    first,
    here,
    last,
    so_far,
    under_adapters,
    where,
)
from tasks.engine.call import StepCall
from tasks.engine.reading import Incoming
from tasks.evaluation_judges.config import GOLD, EvaluationJudgeConfig
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.incoming.asked import AskedOfAnswers
from tasks.incoming.files import File
from tasks.incoming.judged_answers import JudgedAnswers
from tasks.judge_answers import PREFIX, SAMPLED_PREFIX, judge_answers, judged_by
from tasks.judging.judgements import PREVIOUS
from tasks.judging.of_answers import asks_of
from tasks.pose_questions import PoseConfig, pose_questions, pose_sampled_questions
from tasks.train_safety_classifier import SafetyClassifierConfig, train_safety_classifier

_PREFIXES = {"evaluate": PREFIX, "evaluate_sampled": SAMPLED_PREFIX}
"""Step that evaluates → what the names of the steps begin with that judge its answers."""


def judge_rows(config: RunConfig, number: int) -> Iterator[Row]:
    """Of an iteration, V0 included; none where the config names no judge."""
    if config.evaluation_judges:
        for sampled in (True, False) if number else (False,):
            yield _posing(sampled)
            yield from (_judging(judge, sampled, number) for judge in config.evaluation_judges)


def _has_classifier(at: Place) -> bool:
    return any(judge.kind == "safety_classifier" for judge in at.config.evaluate.judges)


CLASSIFIER_ROW = Row(
    train_safety_classifier,
    lambda _at: SafetyClassifierConfig(),
    {"labelled": data_files("labelled_responses")},
    {"classifier": "safety"},
    when=_has_classifier,
)


def is_judge(step: str) -> bool:
    """Whether a step is one of the judges'."""
    return step.startswith((PREFIX, SAMPLED_PREFIX))


def judges_of(plan: Mapping[tuple[str, str], StepCall], part: str, evaluation: str) -> dict[str, StepCall]:
    """The calls by which the answers of an evaluation of a part are judged, by the judge's name."""
    mine = ((judge_in(evaluation, step), call) for (each, step), call in plan.items() if each == part)
    return {judge: call for judge, call in mine if judge is not None}


def judge_in(evaluation: str, step: str) -> str | None:
    """The judge whose step this is, where it judges what this step evaluates."""
    prefix = _PREFIXES.get(evaluation, "")
    return step.removeprefix(prefix) if prefix and step.startswith(prefix) else None


def judge_in_step(step: str) -> str:
    """The judge whose step this is, of either evaluation. Raises ValueError for a step that is no judge's."""
    found = next((name for each in _PREFIXES if (name := judge_in(each, step)) is not None), None)
    if found is None:
        raise ValueError(f"{step} is no judge's step")
    return found


def _posing(sampled: bool) -> Row:
    ending = "-sampled" if sampled else ""
    return Row(
        pose_sampled_questions if sampled else pose_questions,
        lambda at: PoseConfig(named=_named(at, sampled)),
        {"prompts": base("dataset/prompts"), **_answers(sampled)},
        {"questions": f"evaluation-questions{ending}"},
        when=lambda at: any(_is_asked(judge, sampled)(at) for judge in at.config.evaluation_judges),
    )


def _judging(judge: EvaluationJudgeConfig, sampled: bool, number: int) -> Row:
    questions = f"evaluation-questions{'-sampled' if sampled else ''}"

    def config(at: Place) -> JudgeAnswersConfig:
        return JudgeAnswersConfig(
            name=judge.name,
            annotator=judge.annotator,
            asks=None if judge.endpoint is None else asks_of(judge.endpoint),
            prompts=None if judge.people is None else judge.people.prompts,
            kinds=() if judge.people is None else judge.people.kinds,
            batch_size=judge.batch_size,
            threads=judge.threads,
            shards=judge.shards,
            compares=is_iteration(at) and judge.compares,
            against=_against(at, sampled) if judge.compares else _named(at, sampled),
            sampling=at.config.evaluate.sampling if judge.kind == GOLD else None,
            kind=judge.kind,
            phrases=judge.phrases,
        )

    def answers(at: Place) -> tuple[AskedOfAnswers, ...]:
        endpoint = judge.endpoint
        return () if endpoint is None else (AskedOfAnswers(AssetName("dataset", questions, at.part), endpoint),)

    def is_gold(_at: Place) -> bool:
        return judge.kind == GOLD

    def opinions(at: Place) -> tuple[JudgedAnswers, ...]:
        people = judge.people
        asked = AssetName("dataset", questions, at.part)
        return () if people is None else (JudgedAnswers(asked, people, judge.name),)

    return Row(
        judged_by(judge.name, sampled=sampled, compares=number > 0 and judge.compares),
        config,
        {
            "questions": here(f"dataset/{questions}"),
            "prompts": base("dataset/prompts"),
            "judge": lambda _at: () if judge.folder is None else (File(judge.folder),),
            "answers": answers,
            "opinions": opinions,
            "gold_reward": where(is_gold, here("model/reward-gold")),
            "preferences": where(is_gold, so_far("dataset/preferences")),
            "base": where(is_gold, under_adapters),
            **{role: where(is_gold, reads) for role, reads in _answers(sampled).items()},
            "classifier": where(lambda _at: judge.kind == "safety_classifier", base("classifier/safety")),
        },
        {"judgements": f"{'sampled-' if sampled else ''}judged-by-{judge.name}"},
        when=_is_asked(judge, sampled),
        seed_of=judge_answers,  # which draws nothing
    )


def _has_previous(at: Place) -> bool:
    """The iteration before is another policy than SFT, and it is asked for."""
    return at.number > 1 and "previous" in at.config.evaluate.against


def _answers(sampled: bool) -> dict[str, Reads]:
    """The answers of a policy, and of those that it is compared with."""

    def others(at: Place) -> tuple[Incoming, ...]:
        responses = "dataset/evaluation-responses"
        return (*where(is_iteration, first(responses))(at), *where(_has_previous, last(responses))(at))

    def named(at: Place) -> tuple[Incoming, ...]:
        return tuple(each for _, each in compared_at(at, sampled=sampled)) if is_iteration(at) else ()

    mine = here(f"dataset/evaluation-responses{'-sampled' if sampled else ''}")
    return {"responses": mine, "others": others, "named": named}


def _named(at: Place, sampled: bool) -> tuple[str, ...]:
    return tuple(name for name, _ in compared_at(at, sampled=sampled)) if is_iteration(at) else ()


def _against(at: Place, sampled: bool) -> tuple[str, ...]:
    return (*((PREVIOUS,) if _has_previous(at) else ()), *_named(at, sampled))


def _is_there(sampled: bool) -> Condition:
    return has_final_stage if sampled else is_evaluated


def _is_asked(judge: EvaluationJudgeConfig, sampled: bool) -> Condition:
    """Of V0 alone there is nothing that people are shown: they see pairs, of which SFT's answers are one half. The gold
    reward model judges the policies of the parts in which it is trained."""
    is_there, people = _is_there(sampled), judge.people
    if judge.kind == GOLD:
        return lambda at: has_gold(at) and is_there(at)
    if people is None:
        return is_there
    if people.policies == "every":
        return lambda at: is_iteration(at) and is_there(at)
    return lambda at: is_iteration(at) and not sampled and at.number >= at.config.iterations
