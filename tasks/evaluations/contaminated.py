"""Whether prompts that stand in the training data are answered better than others (Llama 2, appendix A.6)."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_store.estimate import Estimate
from data_store.figures import figure
from models.algorithms.contamination import SUBSETS, Subset, subset_scores
from models.config import Config
from tasks.engine.step import Input
from tasks.estimates import of_subsets
from tasks.evaluations.evaluation import Evaluation, Measure, Subject


class Contaminated(Evaluation):
    """The annotator's score on clean and on contaminated prompts."""

    inputs = {"contamination": Input("dataset", "item_overlap")}
    judged = True

    def metrics(self, config: Config) -> Iterable[Measure]:
        """Of the four subsets of the paper."""
        for name in SUBSETS:
            words = name.replace("_", " ")
            yield Measure(f"contamination/{name}/score", f"The annotator's mean score of the prompts that are {words}")
            yield Measure(
                f"contamination/{name}/z",
                f"How far that is from the mean of all, in standard errors; {words}. Above 2 in all subsets it matters",
                form=figure,
            )

    def measure(self, of: Subject, config: Config) -> Mapping[str, float | Estimate]:
        """On each prompt's own axis. A subset without prompts has no figure."""
        shares = {row["item_id"]: row["share"] for row in of.run.records("contamination")}
        scored = [
            (getattr(mine, prompt["axis"]), shares[prompt["prompt_id"]])
            for prompt, (mine, _) in zip(of.prompts, of.judgements, strict=True)
            if prompt["prompt_id"] in shares
        ]
        subsets = subset_scores([score for score, _ in scored], [share for _, share in scored])
        of.run.table("contamination", [_shown(each, of.judge_name) for each in subsets])
        return of_subsets(subsets, "contamination", of.judge_name)


def _shown(subset: Subset, judge: str) -> dict[str, Any]:
    words = subset.name.replace("_", " ")
    return {"prompts": words, "n": subset.n, "score": figure(subset.mean), "Z": figure(subset.z), "judge": judge}
