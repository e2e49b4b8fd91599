"""What a fact of a journal may look like: types that pydantic holds it against.

Ids become paths of files and names become names of folders, so these are narrow, whoever wrote the fact.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from data_store.identity import is_beside
from data_store.names import AssetName

MOST = 2**63 - 1  # what a BIGINT of the catalog holds


def _asset(text: str) -> str:
    AssetName.parse(text)
    return text


def _run_beside(run: str) -> str:
    if not is_beside(run):
        raise ValueError(f"{run[:80]!r} is no name of a run beside this one")
    return run


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]  # a role, the name of a metric
Words = Annotated[str, StringConstraints(max_length=1_000_000)]  # for people: a reason, a place, an error
Asset = Annotated[str, AfterValidator(_asset)]
RunBeside = Annotated[str, AfterValidator(_run_beside)]
Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")]
Count = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Number = Annotated[int, Field(ge=-MOST, le=MOST, strict=True)]
