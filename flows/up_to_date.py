"""Whether a start of the recipe finds nothing to do. Knows no Prefect: it is told before a server is started."""

from collections.abc import Iterator
from contextlib import contextmanager

from flows.intakes import foretell
from flows.session import Session
from flows.shown.status import Standing, look_at
from flows.shown.summary import summary_rows
from tasks.engine.outside import hash_sources

Rows = list[dict[str, object]]


def look(session: Session) -> Standing:
    """Where the session's run stands."""
    return look_at(session.store, session.plan, session.config.gates)


@contextmanager
def one_look(session: Session) -> Iterator[None]:
    """All that is asked inside the block is answered from one state of the catalog, opened once; what takes long is
    read before."""
    hash_sources(session.store, session.plan.values())
    with session.store.one_state():
        yield


def figures_if_done(session: Session, standing: Standing) -> Rows | None:
    """The figures with which a start of the recipe would end, where it would compute nothing and write nothing; None
    where there is something to do. Raises InputError where the recipe would, for a file that was taken in and changed.
    """
    if not standing.nothing_to_do:
        return None
    with session.store.one_state():
        told = foretell(session)
        if told is None:
            return None
        session.taken_in = told
        return summary_rows(session)


def in_words(standing: Standing) -> str:
    """What a run says that had nothing to do."""
    return f"all {len(standing.cells)} steps are finished: there is nothing to do"
