"""Against SFT, by the annotator, on both axes (Llama 2, section 3.4)."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from data_store.estimate import Estimate
from data_store.rows import AXES
from models.config import Config
from tasks.evaluations.evaluation import Evaluation, Measure, Rows, Subject
from tasks.judging.judgements import TURNS

_WIN = "Win rate against SFT on held-out {} prompts, ties half"


class WinRateConfig(Config):
    """Ordinary prompts."""

    ordinary_prompts: int = Field(default=200, ge=1, description="Held-out helpfulness prompts")


class WinRate(Evaluation):
    """Score and win rate on each prompt's own axis."""

    judged = True
    headline = "win_rate"

    def metrics(self, config: WinRateConfig) -> Iterable[Measure]:
        """Of both axes together, and of each."""
        yield Measure("win_rate", _WIN.format("ordinary and adversarial"))
        yield Measure("win_rate/helpfulness", _WIN.format("helpfulness"), "win help", first=True)
        yield Measure("win_rate/safety", _WIN.format("adversarial"), "win safe", first=True)
        yield Measure(
            "oracle_score", "Mean score of the annotator on all held-out prompts, 0 to 1", "oracle", first=True
        )
        for axis in AXES:
            for turns in TURNS:
                yield Measure(f"win_rate/{axis}/{turns}", _WIN.format(f"{axis}, {turns.replace('_', ' ')},"))
            yield Measure(f"oracle_score/{axis}", f"The same on prompts of {axis}")

    def measure(self, of: Subject, config: WinRateConfig) -> Mapping[str, Estimate]:
        """An axis without prompts has no figure."""
        return of.figures("score", "better")

    def prompts(self, held_out: Rows, config: WinRateConfig) -> Rows:
        """The ordinary ones."""
        ordinary = [row for row in held_out if row["axis"] == "helpfulness" and row["kind"] != "borderline"]
        return ordinary[: config.ordinary_prompts]
