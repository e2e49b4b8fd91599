"""Commands as Halter prints them: what a message says can be pasted into a shell as it stands.

Each names its run. Which run is the last one may have changed by the time somebody reads the message, in a log, in an
artifact of the Prefect UI, or in another terminal, and the command would then do its work in another store.
"""

import shlex
from contextvars import ContextVar

NO_RUN = frozenset(
    {"run", "serve", "deploy", "restore", "rename", "import", "plan", "study", "move-store", "join-store"}
)
"""The commands that do not take the name of a run in `--run`."""

_spoken_of: ContextVar[str | None] = ContextVar("run", default=None)


def speak_of(run: str | None) -> None:
    """From now on, in this context, printed commands are for this run; None: for none."""
    _spoken_of.set(run)


def halter(*words: str, run: str | None = None) -> str:
    """The command `halter WORDS`, quoted for a shell, with the run that it is for: the one given, else the one that is
    spoken of here. Words in capitals, such as KEY=VALUE, are for people to fill in."""
    run = run or _spoken_of.get()
    chosen = ("--run", run) if run is not None and words[0] not in NO_RUN else ()
    return shlex.join(["halter", *words, *chosen])
