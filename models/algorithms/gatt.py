"""Ghost Attention: where the instruction stands, and which tokens are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

_ROLES = ("system", "user", "assistant")


def place_instruction(
    messages: Sequence[Mapping[str, str]],
    instruction: str,
    where: str,
    separator: str = " ",
) -> list[dict[str, str]]:
    """The dialogue with the instruction put in front of every user message, or of the first one only.

    "every" is the form that is sampled from, so that each answer obeys; "first" is the form that is trained on.

    Args:
        messages: mappings with role (system, user or assistant) and content; they are not changed.
        instruction: for example "Always act as Napoleon from now on."; surrounding blanks are taken off.
        where: every or first.
        separator: what stands between the instruction and the user's text.

    Returns:
        New messages, in the same order and number.

    Raises:
        ValueError: an unknown `where` or role, an empty instruction, or a dialogue without a user message.

    Source: Llama 2 (arXiv 2307.09288), section 3.3.
    """
    if where not in ("every", "first"):
        raise ValueError(f"unknown place {where!r} for the instruction; use every or first")
    instruction = instruction.strip()
    if not instruction:
        raise ValueError("the instruction is empty")
    placed: list[dict[str, str]] = []
    found = False
    for message in messages:
        copy = dict(message)
        _require_role(copy["role"])
        if copy["role"] == "user" and (where == "every" or not found):
            copy["content"] = f"{instruction}{separator}{copy['content']}"
            found = True
        placed.append(copy)
    if not found:
        raise ValueError("the dialogue has no user message to put the instruction in")
    return placed


def gatt_loss_mask(roles: Sequence[str], token_counts: Sequence[int]) -> torch.Tensor:
    """True on the tokens of the last assistant message alone.

    The loss is 0 on all earlier turns, assistant messages included: those were sampled with the instruction in
    sight, and learning them without it would teach the mismatch.

    Args:
        roles: of the messages in order: system, user or assistant; the last is assistant.
        token_counts: number of tokens of each message as rendered. The last message's count holds exactly what is
            to be learned: its text and its EOS. Template tokens in front of it count for the message before.

    Returns:
        bool tensor (sum of token_counts,), True = counts.

    Raises:
        ValueError: lengths differ, an unknown role, a negative count, or no assistant tokens at the end.

    Source: Llama 2 (arXiv 2307.09288), section 3.3.
    """
    if len(roles) != len(token_counts):
        raise ValueError(f"{len(roles)} roles but {len(token_counts)} token counts")
    for role, count in zip(roles, token_counts, strict=True):
        _require_role(role)
        if count < 0:
            raise ValueError(f"a message of role {role} has a negative token count {count}")
    if not roles or roles[-1] != "assistant":
        raise ValueError("the last message must be the assistant's: there is nothing to learn otherwise")
    if token_counts[-1] == 0:
        raise ValueError("the last assistant message has no token: it would be an all-zero loss mask")
    mask = torch.zeros(sum(token_counts), dtype=torch.bool)
    mask[-token_counts[-1] :] = True
    return mask


def _require_role(role: str) -> None:
    if role not in _ROLES:
        raise ValueError(f"unknown role {role!r}; use one of {', '.join(_ROLES)}")
