"""The rows of the tests of reward models: their test sets beside the other data, and the models of each iteration on
them."""

from data_store.rows import AXES
from flows.recipe.conditions import collects, has_reward_tests
from flows.recipe.places import Place, Row, base, here, only, so_far, under_adapters, where
from tasks.engine.reading import Incoming
from tasks.import_reward_tests import import_reward_tests
from tasks.incoming.files import File
from tasks.measure_reward_models import measure_reward_models
from tasks.reward_tests import MeasureRewardModelsConfig, ReadingTestsConfig, RewardTestChoice, TestingConfig


def _files(at: Place) -> tuple[Incoming, ...]:
    """The files of all sets, in the config's order."""
    return tuple(File(path) for each in at.config.reward_tests.sets for path in each.files)


def _reading(at: Place) -> ReadingTestsConfig:
    """Without the files: a path is in no fingerprint."""
    sets = at.config.reward_tests.sets
    return ReadingTestsConfig(
        sets=tuple(RewardTestChoice(**only(RewardTestChoice, each)) for each in sets),
        files=tuple(len(each.files) for each in sets),
        options=at.config.data.preference_options,
    )


def _measuring(at: Place) -> MeasureRewardModelsConfig:
    tests = at.config.reward_tests
    return MeasureRewardModelsConfig(**only(TestingConfig, tests), sets=tuple(each.name for each in tests.sets))


TESTS_ROW = Row(
    import_reward_tests,
    _reading,
    {"files": _files},
    {"tests": "reward-tests", "refused": "reward-tests-refused"},
    when=has_reward_tests,
)
REWARD_TESTS = where(has_reward_tests, base("dataset/reward-tests"))
MEASURING_ROW = Row(
    measure_reward_models,
    _measuring,
    {
        **{f"{axis}_reward": here(f"model/reward-{axis}") for axis in AXES},
        "preferences": so_far("dataset/preferences"),
        "tests": REWARD_TESTS,
        "base": under_adapters,
    },
    {"scores": "pair-scores"},
    when=collects,
)
