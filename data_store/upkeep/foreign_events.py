"""What the journal of a store from elsewhere may say: the shape of each event, and names and ids that hold together.

Ids and paths of a journal become paths of files, so none of it is believed: ids are hashes in hexadecimal, paths stay
inside their version, and the id of a version is computed again from what the event says that it holds.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from data_store.catalog.events import Event
from data_store.catalog.journal import APPLIED, Entry
from data_store.catalog.origins import check_facts
from data_store.catalog.shapes import Asset, Count, Label, Moment, Number, Sha256, Word, Words
from data_store.content.publishing import FILES_SCHEMA, files_hash, version_id
from data_store.errors import StoreError
from data_store.records import ObjectRef
from data_store.rows import ROW_KINDS

_PATH_BYTES, _NAME_BYTES = 1024, 255
_HASH_BYTES = 32
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def inside_path(path: str) -> str:
    """A path that stays inside the folder of its version, unchanged; raises ValueError for any other."""
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is not a path inside a version: no '..', no '/' in front")
    if _CONTROL.search(path) or "\\" in path:
        raise ValueError(f"{path!r} is an odd path: it holds a control character or a backslash")
    if len(path.encode()) > _PATH_BYTES or any(len(part.encode()) > _NAME_BYTES for part in parts):
        raise ValueError(f"{path[:80]!r}… is longer than a file's name can be")
    return path


def _json(text: str | None) -> str | None:
    if text is not None:
        json.loads(text)
    return text


def _float(text: str) -> str:
    float(text)
    return text


def _origin(facts: dict[str, Any]) -> dict[str, Any]:
    check_facts(facts)
    return facts


class _Part(BaseModel):
    """Unknown keys are let be: a later halter of the same format may have added some, and nothing reads them."""

    model_config = ConfigDict(strict=True)


class _Object(_Part):
    path: Annotated[str, AfterValidator(inside_path)]
    sha256: Sha256
    bytes: Count
    role: Literal["file", "segment", "ids", "external"]


class _Publication(_Part):
    version_id: Sha256
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    set_hash: Sha256
    schema_hash: Sha256
    row_kind: Literal[*ROW_KINDS] | None  # type: ignore[valid-type]
    n_rows: Count | None
    bytes: Count
    parent: Sha256 | None
    objects: Annotated[list[_Object], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_what_its_ids_say(self) -> "_Publication":
        paths = [each.path for each in self.objects]
        folders = {"/".join(parts[:n]) for parts in (path.split("/") for path in paths) for n in range(1, len(parts))}
        if len(set(paths)) < len(paths) or folders & set(paths):
            raise ValueError("two of its files have the same path")
        if sum(each.bytes for each in self.objects) != self.bytes:
            raise ValueError("its bytes are not the sum of its objects'")
        refs = [ObjectRef(each.path, each.sha256, each.bytes, each.role) for each in self.objects]
        if self.row_kind is None:
            if any(ref.role not in ("file", "external") for ref in refs) or len({ref.role for ref in refs}) > 1:
                raise ValueError("it holds files, and objects of rows among them")
            sound = self.set_hash == files_hash(refs) and self.schema_hash == FILES_SCHEMA
        else:
            ids = [ref for ref in refs if ref.role == "ids"]
            others = [ref for ref in refs if ref.role != "ids"]
            laid_out = [ref.path for ref in ids] == ["ids"] and all(
                ref.role == "segment" and ref.path == f"segments/{ref.sha256}" for ref in others
            )
            # The object of ids is the sorted row hashes, one after the other: its own hash is the hash of the set.
            sound = laid_out and ids[0].sha256 == self.set_hash and ids[0].bytes == _HASH_BYTES * (self.n_rows or 0)
        if not sound:
            raise ValueError("its set hash is not the hash of what it holds")
        if version_id(self.kind, self.schema_hash, self.set_hash) != self.version_id:
            raise ValueError("its version id is not the hash of what it holds")
        return self


class _Run(_Part):
    run_id: Word
    step: Word
    part: Word
    fingerprint: Word
    code_version: Words
    config: dict[str, Any]
    env: dict[str, Any]
    seed: Number
    attempt: Annotated[int, Field(ge=0, le=2**31 - 1)]
    git_commit: Words | None
    git_dirty: bool | None
    code_files: dict[Label, Label]
    prefect_flow_run_id: Words | None
    prefect_task_run_id: Words | None
    prefect_root_flow_run_id: Words | None
    host: Words
    started_at: Moment


class _Edge(_Part):
    role: Label
    asset: Asset
    version_id: Sha256


class _Input(_Edge):
    producer_run_id: Word | None


class _Output(_Part):
    role: Label
    asset: Asset
    publication: _Publication


# JSON has lists where there are pairs, so these are not strict.
_Float = Annotated[str, StringConstraints(pattern=r"^[-+0-9.einfa]{1,32}$"), AfterValidator(_float)]
_Metric = Annotated[tuple[Label, Number, _Float], Field(strict=False)]
_Estimate = Annotated[tuple[Label, Count, _Float | None, _Float | None, Label | None], Field(strict=False)]


class _Measured(_Part):
    metrics: list[_Metric]
    estimates: list[_Estimate] = []

    @model_validator(mode="after")
    def _estimates_are_of_metrics(self) -> "_Measured":
        names = [name for name, *_ in self.estimates]
        if len(set(names)) < len(names) or not set(names) <= {name for name, step, _ in self.metrics if not step}:
            raise ValueError("its estimates are not one each of what the run measured")
        intervals = [(low, high) for _, _, low, high, _ in self.estimates if (low, high) != (None, None)]
        if any(low is None or high is None or float(low) > float(high) for low, high in intervals):
            raise ValueError("an interval has one end, or ends below its beginning")
        return self


_Head = Annotated[tuple[Asset, Sha256, Word | None], Field(strict=False)]


class _Any(_Part):
    event_id: Word
    kind: Word
    format: Annotated[int, Field(ge=1)]
    at: Moment


class _Begun(_Any):
    run: _Run
    reads: list[Sha256] = []


class _Ended(_Any, _Measured):
    metrics: list[_Metric] = []
    run_id: Word
    state: Literal["failed", "cancelled", "crashed"]
    detail: Words


class _Succeeded(_Any, _Measured):
    run: _Run
    inputs: list[_Input]
    outputs: list[_Output]
    reason: Words


class _Moved(_Any):
    run_id: Word
    heads: dict[Asset, Sha256]
    reason: Words
    inputs: list[_Input] = []


class _Source(_Any):
    asset: Asset
    publication: _Publication
    location: Words
    # Those of before it was kept have none; then its facts are read out of the sentence (older_origins.py).
    origin: Annotated[dict[str, Any], AfterValidator(_origin)] = {}


class _ImportedVersion(_Publication):
    created_at: Moment


class _ImportedRun(_Measured):
    run: _Run
    finished_at: Moment
    inputs: list[_Input]
    outputs: list[_Edge]


class _Imported(_Any):
    origin: Words
    versions: list[_ImportedVersion]
    steps: list[_ImportedRun]
    heads: list[_Head]


class _Retired(_Any):
    versions: list[Sha256]
    reason: Words


class _Override(_Any):
    part: Word
    step: Word
    name: Label
    value_json: Annotated[str | None, AfterValidator(_json)]


class _Withdrawal(_Any):
    what: Literal["annotator", "source"]
    name: Words
    in_force: bool
    reason: Words
    holding: dict[Sha256, Count]


_SHAPES: Mapping[str, type[_Any]] = {
    "run_begun": _Begun,
    "run_ended": _Ended,
    "run_succeeded": _Succeeded,
    "heads_moved": _Moved,
    "source_registered": _Source,
    "run_imported": _Imported,
    "versions_retired": _Retired,
    "override_set": _Override,
    "withdrawal_set": _Withdrawal,
}


def check_entry(entry: Entry, where: str) -> None:
    """Raises StoreError for an entry of a foreign journal that says what no halter has written; `where` names it."""
    event: Event = entry.event
    applied = entry.outcome == APPLIED  # of one that was refused only its id is ever used
    shape = _SHAPES.get(str(event.get("kind"))) if applied else _Any
    if shape is None:
        raise StoreError(f"{where}, event {entry.seq}: {str(event.get('kind'))[:80]!r} is no kind of event")
    try:
        shape.model_validate(event)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, (event["kind"], *problem["loc"])))
        raise StoreError(
            f"{where}, event {entry.seq}: {field}: {problem['msg'].removeprefix('Value error, ')}; no halter wrote "
            "this, so nothing of it was taken over"
        ) from None
