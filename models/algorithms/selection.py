"""Rejection sampling's choice among candidates, free of the order in which they arrive."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence


def top_n_per_group(
    groups: Sequence[Hashable], scores: Sequence[float], tie_break_ids: Sequence[str], n: int
) -> list[int]:
    """Positions of the n highest-scoring candidates of each group.

    Equal scores are decided by the smaller id, so the same candidates are taken in whatever order they are given.

    Args:
        groups: (N) what to choose within, for example the prompt id or (prompt id, iteration).
        scores: (N) finite scores **of one reward-model version**; scores of two versions do not compare. To choose
            over all iterations, give every earlier candidate with its score under the newest reward model.
        tie_break_ids: (N) different ids, usually response ids.
        n: how many to take from each group, at least 1; a smaller group is taken whole.

    Returns:
        Positions into the inputs: groups in order of their first appearance, best first within a group.

    Raises:
        ValueError: lengths differ, an id comes twice, a score is NaN or infinite, or n is below 1.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.3, rejection sampling over all earlier iterations.
    """
    if not len(groups) == len(scores) == len(tie_break_ids):
        raise ValueError(f"{len(groups)} groups, {len(scores)} scores and {len(tie_break_ids)} ids must be one length")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    members: dict[Hashable, list[int]] = {}
    seen: set[str] = set()
    for i, (group, score, tie_break_id) in enumerate(zip(groups, scores, tie_break_ids, strict=True)):
        if not math.isfinite(score):
            raise ValueError(f"the score of candidate {tie_break_id!r} is {score}")
        if tie_break_id in seen:
            raise ValueError(f"candidate {tie_break_id!r} is given twice")
        seen.add(tie_break_id)
        members.setdefault(group, []).append(i)
    chosen: list[int] = []
    for positions in members.values():
        positions.sort(key=lambda i: (-scores[i], tie_break_ids[i]))
        chosen.extend(positions[:n])
    return chosen


def best_per_prompt(prompt_ids: Sequence[str], scores: Sequence[float], tie_break_ids: Sequence[str]) -> list[int]:
    """Position of the highest-scoring candidate of each prompt; `top_n_per_group` with n = 1.

    Args, Raises: as there. Returns: one position per prompt, in order of the prompts' first appearance.
    """
    return top_n_per_group(prompt_ids, scores, tie_break_ids, n=1)


def best_setting(outcomes: Sequence[Sequence[float]]) -> tuple[int, int]:
    """Of several settings, each tried on the same prompts, the place of the best one and of the runner-up by their mean
    outcome; of equals the earlier one comes first.

    Args:
        outcomes: (S, P) S >= 2 settings, P >= 1 outcomes of each in the order of the prompts, for example the highest
            reward among N samples at a temperature.

    Raises:
        ValueError: fewer than two settings, no prompt, settings of unequal lengths, or an outcome that is not finite.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.3, figure 8: the temperature that maximises the mean over prompts of
    the max reward among N samples.
    """
    if len(outcomes) < 2:
        raise ValueError(f"{len(outcomes)} settings leave no choice")
    lengths = {len(each) for each in outcomes}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"every setting must be tried on the same prompts, at least one: there are {sorted(lengths)}")
    for i, each in enumerate(outcomes):
        if not all(map(math.isfinite, each)):
            raise ValueError(f"setting {i} has an outcome that is no finite number")
    means = [math.fsum(each) / len(each) for each in outcomes]
    first, second = sorted(range(len(means)), key=lambda i: (-means[i], i))[:2]
    return first, second
