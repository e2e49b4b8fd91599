"""The two ways in which the store says no."""


class InputError(ValueError):
    """What the user gave is wrong. The message names the file, the row and the field, and says what to do."""


class StoreError(RuntimeError):
    """The store itself cannot go on: a newer schema, a damaged object, a lock that nobody lets go of."""


class LostObjectError(StoreError):
    """An object is missing or damaged."""


class UnwritableError(StoreError):
    """Nothing can be written to the store now, for want of room or of permission. What it holds can be read."""


class UnreachableError(StoreError):
    """A server that holds a part of the store does not answer, or says no. `is_passing`: the next try may go well."""

    def __init__(self, message: str, *, is_passing: bool = True) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class BrokenJournalError(StoreError):
    """The journal has lost something or was changed: only a backup has what it said."""
