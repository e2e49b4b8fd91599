"""By the reward model that nothing was optimised against (Gao et al., arXiv 2210.10760; see tasks/train_reward.py)."""

from collections.abc import Iterable, Mapping

from data_store.estimate import Estimate
from tasks.engine.step import Input
from tasks.estimates import mean_of, win_rate_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Subject
from tasks.sampling import score

_JUDGE = "gold reward model"


class GoldReward(Evaluation):
    """Mean raw score, and win rate against SFT."""

    inputs = {"gold_reward": Input("model")}

    def metrics(self, config: AnsweringConfig) -> Iterable[Measure]:
        """Over all prompts."""
        yield Measure("reward/gold", "Mean raw score by a reward model that nothing was optimised against")
        yield Measure(
            "reward/gold_win_rate",
            "Win rate against SFT by a reward model that nothing was optimised against",
            "gold win",
        )

    def measure(self, of: Subject, config: AnsweringConfig) -> Mapping[str, Estimate]:
        """A tie is half a win."""
        from models.checkpoint import load_reward

        model = load_reward(of.run.path("gold_reward"), of.base, dtype=config.sampling.dtype)
        mine, theirs = (
            [value for (value,) in score([model], of.renderer, dialogues, config.sampling)]
            for dialogues in (of.replied(), of.baseline_replied())
        )
        wins = [(a > b) + 0.5 * (a == b) for a, b in zip(mine, theirs, strict=True)]
        return {"reward/gold": mean_of(mine, _JUDGE), "reward/gold_win_rate": win_rate_of(wins, _JUDGE)}
