"""How rewards move from policy to policy (Llama 2, figure 20): the answers of every policy of the run, scored by the
newest reward models, as a mean and as a histogram whose bins are the same for all.

Each policy's own evaluation scores by the reward models of its own iteration, and scores of two models do not compare.
"""

from collections.abc import Iterable, Sequence

from data_store.estimate import Estimate
from tasks.answers import Dialogue, response_of
from tasks.candidates import combined
from tasks.engine.step import Input, Measurements
from tasks.estimates import mean_of, rate_of
from tasks.evaluations.evaluation import Evaluation, Measure, Rows, Subject
from tasks.evaluations.reward_models import RewardModelsConfig
from tasks.safety_level import threshold_of

JUDGE = "newest reward models"
BINS = 12
PROMPTS = 150
"""Of the evaluation's prompts at the most, so that the cost does not grow with the number of iterations squared times
all of them."""
_OUTSIDE = 0.005  # of all values lie beyond each end; the outer bins hold them


class RewardShift(Evaluation):
    """Of all policies so far; there are reward models wherever there are such answers."""

    inputs = {"earlier_responses": Input("dataset", "response", many=True)}

    def metrics(self, config: RewardModelsConfig) -> Iterable[Measure]:
        """Of SFT, which every run has; the others are named by their iterations."""
        yield Measure("shift/V0/mean", "Mean combined reward of SFT's answers under the newest reward models")

    def measure(self, of: Subject, config: RewardModelsConfig) -> Measurements:
        """`shift/V3/mean`, and the share of V3's answers in each bin: `shift/V3/bin/4` lies from `shift/edge/4` to
        `shift/edge/5`."""
        from models.checkpoint import load_reward

        every = -(-len(of.prompts) // PROMPTS)
        chosen = of.prompts[::every]
        prompts = {prompt["prompt_id"]: prompt for prompt in chosen}
        threshold = threshold_of(of.run.path("safety_reward"), config.safety_threshold)
        models = [
            load_reward(of.run.path(f"{axis}_reward"), of.base, dtype=config.sampling.dtype)
            for axis in ("safety", "helpfulness")
        ]

        def rewards(rows: Rows, dialogues: Sequence[Dialogue]) -> list[float]:
            return combined(rows, of.scores(models, dialogues, config.sampling), prompts, threshold)

        groups = earlier_policies(of.run.records("earlier_responses"), of.run.part)
        scores = {
            name: rewards(there, list(map(response_of, there)))
            for name, rows in groups.items()
            if (there := [row for row in rows if row["prompt_id"] in prompts])
        }
        scores[of.run.part] = rewards(chosen, of.replied()[::every])
        edges = bin_edges([value for values in scores.values() for value in values], BINS)
        found: dict[str, float | Estimate] = {f"shift/edge/{i}": edge for i, edge in enumerate(edges)}
        for name, values in scores.items():
            found[f"shift/{name}/mean"] = mean_of(values, JUDGE)
            places = [bin_of(value, edges) for value in values]
            for i in range(BINS):
                found[f"shift/{name}/bin/{i}"] = rate_of([place == i for place in places], JUDGE)
        return found


def earlier_policies(rows: Rows, part: str) -> dict[str, Rows]:
    """The answers of each policy, by its iteration; what has this part's name is the policy before the final stage."""
    groups: dict[str, Rows] = {}
    for row in rows:
        name = f"{part}-sampled" if row["iteration"] == part else row["iteration"]
        groups.setdefault(name, []).append(row)
    return groups


def bin_edges(values: Sequence[float], bins: int) -> list[float]:
    """`bins` + 1 edges, equally far apart, from the 0.5th to the 99.5th percentile of the values (nearest rank); where
    these are the same, around them."""
    ordered = sorted(values)
    beyond = int(_OUTSIDE * len(ordered))
    low, high = ordered[beyond], ordered[-1 - beyond]
    if low == high:
        low, high = low - 0.5, high + 0.5
    return [low + (high - low) * i / bins for i in range(bins + 1)]


def bin_of(value: float, edges: Sequence[float]) -> int:
    """The bin of a value, from its lower edge to just below the upper one; the outer ones hold what lies beyond."""
    return sum(value >= edge for edge in edges[1:-1])
