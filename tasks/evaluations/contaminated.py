"""Whether prompts that stand in the training data are answered better than others (Llama 2, appendix A.6)."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_store.figures import figure
from models.algorithms.contamination import SUBSETS, Subset, subset_scores
from models.config import Config
from tasks.engine.step import Input
from tasks.evaluations.evaluation import Evaluation, Measure, Subject


class Contaminated(Evaluation):
    """The annotator's score on clean and on contaminated prompts."""

    inputs = {"contamination": Input("dataset", "item_overlap")}
    judged = True

    def metrics(self, config: Config) -> Iterable[Measure]:
        """Of the four subsets of the paper."""
        for name in SUBSETS:
            words = name.replace("_", " ")
            yield Measure(f"contamination/{name}/n", f"Held-out prompts that are {words} of training data", form=figure)
            yield Measure(f"contamination/{name}/score", f"The annotator's mean score of the prompts that are {words}")
            yield Measure(
                f"contamination/{name}/z",
                f"How far that is from the mean of all, in standard errors; {words}. Above 2 in all subsets it matters",
                form=figure,
            )

    def measure(self, of: Subject, config: Config) -> Mapping[str, float]:
        """On each prompt's own axis. A subset without prompts has no figure but its number."""
        shares = {row["item_id"]: row["share"] for row in of.run.records("contamination")}
        scored = [
            (getattr(mine, prompt["axis"]), shares[prompt["prompt_id"]])
            for prompt, (mine, _) in zip(of.prompts, of.judgements, strict=True)
            if prompt["prompt_id"] in shares
        ]
        subsets = subset_scores([score for score, _ in scored], [share for _, share in scored])
        of.run.table("contamination", [_shown(each, of.judge.name) for each in subsets])
        metrics = {}
        for each in subsets:
            metrics[f"contamination/{each.name}/n"] = float(each.n)
            if each.mean is not None:
                metrics[f"contamination/{each.name}/score"] = each.mean
            if each.z is not None:
                metrics[f"contamination/{each.name}/z"] = each.z
        return metrics


def _shown(subset: Subset, judge: str) -> dict[str, Any]:
    words = subset.name.replace("_", " ")
    return {"prompts": words, "n": subset.n, "score": figure(subset.mean), "Z": figure(subset.z), "judge": judge}
