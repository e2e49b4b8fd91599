"""What was found of a model that somebody brings. What cannot be right is a ValueError: file, reason, what to do."""

from dataclasses import dataclass

# Where a model reads packed dialogues into each other, and each dialogue in a row of its own as it should.
ONE_DIALOGUE_A_ROW = "one_dialogue_a_row"


@dataclass(frozen=True)
class Finding:
    """One check that did not refuse the model.

    `found` is the same wherever it is looked at again. `consequence` is empty where the recipe goes its usual way.
    `difference` is what was measured, in the unit of what was compared (logits, log-probabilities, scores).
    """

    check: str
    found: str
    consequence: str = ""
    difference: float | None = None


def first_line(error: Exception) -> str:
    """What an error of a library says, without the pages that may follow."""
    return (str(error).splitlines() or [type(error).__name__])[0]
