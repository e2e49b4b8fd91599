"""Context distillation for safety: where the pre-prompt stands, and which answers are worth learning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal


def with_preprompt(
    messages: Sequence[Mapping[str, str]], preprompt: str, place: Literal["user", "system"]
) -> list[dict[str, str]]:
    """The dialogue c ∥ p: the pre-prompt c before the prompt p, every other message as it is.

    Args:
        messages: (n) messages with `role` and `content`, the last one the user's.
        preprompt: c, without blanks at its ends.
        place: "user" puts it before the text of the first user message; "system" into the system message, before what
            that says already, which is made where there is none.

    Raises:
        ValueError: there is no user message, or the pre-prompt is empty.

    Source: Llama 2 (arXiv 2307.09288), section 4.2.5; Askell et al. (arXiv 2112.00861), section 2.1.1.
    """
    if not preprompt.strip():
        raise ValueError("the pre-prompt is empty: nothing would be distilled")
    copied = [dict(message) for message in messages]
    users = [message for message in copied if message["role"] == "user"]
    if not users:
        raise ValueError("the dialogue has no user message to put a pre-prompt before")
    if place == "system" and copied[0]["role"] != "system":
        return [{"role": "system", "content": preprompt}, *copied]
    before = copied[0] if place == "system" else users[0]
    before["content"] = f"{preprompt} {before['content']}".rstrip()
    return copied


def where_scores_rise(plain: Sequence[float], distilled: Sequence[float]) -> list[int]:
    """The places i with R_s(p, a'_i) > R_s(p, a_i): a' is the answer to c ∥ p, a the one to p, and both are scored as
    answers to p. An equal score is no rise.

    Args:
        plain: (N) safety scores of the answers without a pre-prompt.
        distilled: (N) safety scores, of the same model, of those with one.

    Raises:
        ValueError: the lengths differ, or a score is no finite number.

    Source: Llama 2 (arXiv 2307.09288), section 4.2.5: context distillation "only on samples where it positively impacts
    the model output", told by the safety reward model.
    """
    if len(plain) != len(distilled):
        raise ValueError(f"{len(plain)} scores without a pre-prompt and {len(distilled)} with one: not one length")
    for i, pair in enumerate(zip(plain, distilled, strict=True)):
        if not all(map(math.isfinite, pair)):
            raise ValueError(f"the scores of prompt {i} are {pair}: the reward model has diverged")
    return [i for i, (before, after) in enumerate(zip(plain, distilled, strict=True)) if after > before]
