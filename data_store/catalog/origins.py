"""Where a source came from: an origin has facts as fields, and one sentence made of them for people.

There is one class per way into a store, named as `tasks/incoming` names what is read. The journal keeps all facts; the
catalog has columns for those that are asked for. The types of the fields are what is demanded of them, of our own code
and of a journal from elsewhere alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from data_store.catalog.shapes import Asset, Count, RunBeside, Sha256, Word, Words

# The facts that can be asked for: each has a column in the catalog's table `origin`. The others, counts and lists, are
# in the journal and in the sentence.
COLUMNS = (
    *("kind", "path", "run", "from_asset", "from_version", "made_by"),
    *("batch", "part", "model", "url", "pairs", "pairs_version"),
)
_SHORT = 16  # digits of an id, in a sentence

Trigger = Literal["nothing", "files", "night"]


@dataclass(frozen=True)
class Origin(ABC):
    """Where a source came from. `str` of it is the sentence for people."""

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class FileOrigin(Origin):
    """A file or folder outside the store, by its absolute path."""

    path: Words
    kind: Literal["file"] = "file"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class AdoptedOrigin(Origin):
    """An asset of another run in the same home: which version it pointed to there, and which of that run's runs of
    steps made it (None for a source there)."""

    run: RunBeside
    from_asset: Asset
    from_version: Sha256
    made_by: Word | None
    kind: Literal["adopted"] = "adopted"

    def __str__(self) -> str:
        made = "a source there" if self.made_by is None else f"made by its run {self.made_by}"
        return f"run {self.run}: {self.from_asset} version {self.from_version}, {made}"


@dataclass(frozen=True)
class StoredOrigin(Origin):
    """A version of this very store that the config names: of which asset it was last, and which run made it."""

    from_asset: Asset
    from_version: Sha256
    made_by: Word | None
    kind: Literal["stored"] = "stored"

    def __str__(self) -> str:
        made = "which no run made" if self.made_by is None else f"made by run {self.made_by}"
        return f"{self.from_asset} version {self.from_version}, {made}"


@dataclass(frozen=True)
class JudgedOrigin(Origin):
    """The judgements of a batch: how many are whose; `closed` is why it was closed, None where the book is gone. Of
    these, `written` are on people's own prompts, which the policies `answered_by` answered."""

    batch: Word
    closed: Words | None
    judgements: dict[Words, Count]
    written: Count = 0
    answered_by: tuple[Words, ...] = ()
    kind: Literal["judged"] = "judged"

    def __str__(self) -> str:
        closed = "the book is gone" if self.closed is None else f"closed because {self.closed}"
        counts = sorted(self.judgements.items())
        people = ", ".join(f"{count} judgements by {name}" for name, count in counts) or "no judgement"
        own = f"; {self.written} on prompts of their own, answered by {', '.join(v[:_SHORT] for v in self.answered_by)}"
        return f"annotation batch {self.batch}, {closed}: {people}{own if self.written else ''}"


@dataclass(frozen=True)
class AskedOrigin(Origin):
    """What an endpoint answered to questions on pairs: how many it answered, and refused for which reason."""

    model: Words
    url: Words
    pairs: Asset
    pairs_version: Sha256
    outcomes: dict[Words, Count]
    kind: Literal["asked"] = "asked"

    def __str__(self) -> str:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"{self.model} at {self.url} on {self.pairs} {self.pairs_version}: {told}"


@dataclass(frozen=True)
class RedTeamSession:
    """One closed session of a red team."""

    session: Word
    policy: Asset
    policy_version: Word
    attacks: Count
    violations: Count

    def __str__(self) -> str:
        against = f"{self.session} against {self.policy} {self.policy_version[:_SHORT]}"
        return f"{against}: {self.attacks} attacks, {self.violations} violations"


@dataclass(frozen=True)
class AttackedOrigin(Origin):
    """The attacks of closed sessions on the policies of a part; `sessions` is None where the book is gone."""

    part: Word
    sessions: tuple[RedTeamSession, ...] | None
    kind: Literal["attacked"] = "attacked"

    def __str__(self) -> str:
        if self.sessions is None:
            return "red teams: the book is gone"
        return f"red teams: {'; '.join(map(str, self.sessions)) or 'none has been closed'}"


@dataclass(frozen=True)
class TakenInOrigin(Origin):
    """What a part took in, and why: the names of the files."""

    part: Word
    trigger: Trigger
    files: tuple[Words, ...]
    kind: Literal["taken_in"] = "taken_in"

    def __str__(self) -> str:
        judging = "another round of judging" if self.trigger == "night" else "nothing"
        return f"{self.part} took in {', '.join(self.files) or judging}"


_ONE_OF = FileOrigin | AdoptedOrigin | StoredOrigin | JudgedOrigin | AskedOrigin | AttackedOrigin | TakenInOrigin
_NAMES = {kind.kind: {each.name for each in fields(kind)} for kind in get_args(_ONE_OF)}


@lru_cache
def _shape() -> TypeAdapter[_ONE_OF]:
    """Made when the first origin comes in: commands that only read need not wait for it."""
    return TypeAdapter(Annotated[_ONE_OF, Field(discriminator="kind")])


def columns_of(facts: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The values of `COLUMNS`: of a fact that its kind does not have, or a kind that is not known, None."""
    names = _NAMES.get(facts.get("kind", ""), ())
    return tuple(facts.get(column) if column in names else None for column in COLUMNS)


def facts_of(origin: Origin) -> dict[str, Any]:
    """The facts as plain values, `kind` among them. Raises ValueError for one that no journal may hold."""
    facts = asdict(origin)
    check_facts(facts)
    return facts


def check_facts(facts: Mapping[str, Any]) -> Origin:
    """The origin of these facts, whoever wrote them. Raises ValueError, in one sentence, for what is none."""
    try:
        return _shape().validate_python(facts)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "origin"
        raise ValueError(f"{where}: {problem['msg'].removeprefix('Value error, ')}") from None
