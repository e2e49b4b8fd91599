"""pass@k: how often one of k programs passes."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), the share of all ways to take k of n drawn programs in which one of the c correct ones
    is. 1 - (1 - c/n)^k would be biased low.

    Raises ValueError unless 1 <= k <= n and 0 <= c <= n.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), equation 1, computed as
    there without large factorials: 1 - prod over i = n - c + 1 … n of (1 - k / i).
    """
    if not 1 <= k <= n or not 0 <= correct <= n:
        raise ValueError(f"pass@{k} of {correct} correct among {n}: 1 <= k <= n and 0 <= correct <= n are wanted")
    if n - correct < k:
        return 1.0
    none = 1.0
    for i in range(n - correct + 1, n + 1):
        none *= 1 - k / i
    return 1 - none
