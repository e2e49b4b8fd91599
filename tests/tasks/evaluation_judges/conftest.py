"""The little judge of the tests of pairs."""

from tests.tasks.test_judge_pairs import judge

__all__ = ["judge"]
