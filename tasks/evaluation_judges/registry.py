"""All kinds of judges of evaluations. They are imported one by one, not looked for in the folder, so that the code that
is recorded of judge_answers holds them."""

from collections.abc import Iterable, Iterator

from tasks.evaluation_judges.classifier import SafetyClassifier
from tasks.evaluation_judges.gold_reward import GoldReward
from tasks.evaluation_judges.judge import EvaluationJudge
from tasks.evaluation_judges.lm import LanguageModel
from tasks.evaluation_judges.measures import JUDGED, beside, by_turns, of_judge, win_rates
from tasks.evaluation_judges.people import People
from tasks.evaluation_judges.phrases import Phrases
from tasks.evaluations.evaluation import Measure
from tasks.judging.judgements import PREVIOUS

KINDS: tuple[EvaluationJudge, ...] = (LanguageModel(), SafetyClassifier(), People(), GoldReward(), Phrases())
INPUTS = {role: wanted for each in KINDS for role, wanted in each.inputs.items()}


def kind_of(word: str) -> EvaluationJudge:
    """The kind that the config calls so. Raises ValueError for one that there is not."""
    found = next((each for each in KINDS if each.kind == word), None)
    if found is None:
        raise ValueError(f"there is no judge of kind {word!r}; there are {', '.join(each.kind for each in KINDS)}")
    return found


def measures_of(
    judge: str, kinds: Iterable[EvaluationJudge] = KINDS, *, compares: bool = True, against: Iterable[str] = ()
) -> Iterator[Measure]:
    """All that a judge of one of these kinds gives at most. `compares`: with SFT, and with `against`, where its kind
    can. What it is asked of an answer alone it is also asked of the answers of those that are named."""
    kinds, against = tuple(kinds), tuple(against)
    named = [name for name in against if name != PREVIOUS]
    wins = win_rates(against) if compares and any(each.compares for each in kinds) else ()
    labels = [
        measure for each in kinds for label in each.labels for measure in (*by_turns(label), *beside(label, named))
    ]
    theirs = [*labels, *(measure for each in kinds for measure in each.further)]
    judged = () if all(each.always_answers for each in kinds) else (JUDGED,)
    for measure in {each.name: each for each in (*wins, *theirs, *judged)}.values():
        yield of_judge(judge, measure)
