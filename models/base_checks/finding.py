"""What was found of a model that somebody brings. What cannot be right is a ValueError: file, reason, what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check that did not refuse the model.

    `found` is the same wherever it is looked at again. With `alone` each dialogue needs a row of its own in trainings.
    `difference` is what was measured, in the unit of what was compared (logits, log-probabilities, scores).
    """

    check: str
    found: str
    alone: bool = False
    difference: float | None = None


def first_line(error: Exception) -> str:
    """What an error of a library says, without the pages that may follow."""
    return (str(error).splitlines() or [type(error).__name__])[0]
