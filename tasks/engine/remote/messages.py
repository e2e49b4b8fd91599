"""What the flow and the machine that does a step for it say to each other, by way of the store's bucket.

    steps/FINGERPRINT/SENDING/order          what is to be done             says/000001 …   what the other side says
    steps/FINGERPRINT/SENDING/alive          touched while the flow waits   out/SHA256      files of rows that it made

and of a step that trains on several nodes

    steps/FINGERPRINT/SENDING/meeting        where the first one listens    part-1/says/…   what the second one says

The flow puts and removes all of it: where `order` or `alive` are gone, nobody waits any more. What comes back is taken
for what a stranger says: of these types and within these bounds, or refused.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from data_store.content.objects import Readable
from data_store.records import Metric, ObjectRef, VersionInfo
from tasks.engine.processes import StepCode

FLOW = "halter-step"  # its deployment in a pool has the pool's name
MOST_BYTES = 16 << 20  # of one message
LEASE_SECONDS = 120.0  # the flow is gone when it has not touched `alive` for so long
SILENT_SECONDS = 120.0  # the other side is gone when it has said nothing for so long
_LOG_CHARACTERS = 1 << 20

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_TableName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
_MessageType = TypeVar("_MessageType", bound="Message")


def _inside(path: str) -> str:
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("it would lie outside of the output")
    return path


class Message(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Ref(Message):
    """An object of a version, as `ObjectRef`."""

    path: str
    sha256: _Sha256
    bytes: int = Field(ge=0)
    role: Literal["file", "segment", "ids"]


class Version(Message):
    """A version that is read, as `VersionInfo`."""

    version_id: _Sha256
    kind: str
    row_kind: str | None
    set_hash: str
    schema_hash: str
    n_rows: int | None
    bytes: int
    parent: str | None
    created_at: datetime
    objects: tuple[Ref, ...]

    @classmethod
    def of(cls, info: VersionInfo) -> "Version":
        """The same as it is sent."""
        return cls(**{**vars(info), "objects": tuple(Ref(**vars(ref)) for ref in info.objects)})

    @property
    def info(self) -> VersionInfo:
        """The same as the store has it."""
        return VersionInfo(**{**dict(self), "objects": tuple(ObjectRef(**dict(each)) for each in self.objects)})


class Order(Message):
    """A step to be done. `job` is what the step's process is told (tasks/engine/jobs.py) without the places of its
    inputs; `inputs` are (asset, version id) by role. `code_version` is the hash of the step's code as the flow has it;
    `energy_country` as in the config."""

    step: str
    part: str
    job: dict[str, Any]
    inputs: dict[str, list[tuple[str, str]]]
    versions: tuple[Version, ...]
    rows: tuple[str, ...]  # the outputs that hold rows
    code_version: str
    cache_gb: float | None = None
    energy_country: str | None = None
    nodes: int = Field(default=1, ge=1)  # parts that it has, each of which is told of this order
    wait_seconds: float = Field(default=0.0, ge=0)  # so long they wait for each other


class Code(Message):
    """What the other side has loaded as the step's code, as `StepCode`; `host` is its name."""

    files: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    env: dict[str, str]
    host: str = Field(max_length=255)

    @property
    def loaded(self) -> StepCode:
        """The same as the engine has it."""
        return StepCode(self.files, self.git_commit, self.git_dirty, self.env)


class Number(Message):
    """A number that was measured, as `Metric`."""

    name: str = Field(min_length=1, max_length=200)
    value: float
    step: int = Field(default=0, ge=0)
    n: int | None = None
    low: float | None = None
    high: float | None = None
    judge: str | None = None

    @property
    def metric(self) -> Metric:
        """The same as the store has it."""
        return Metric(**dict(self))


class File(Message):
    """A file that was made. `path` is its name inside the output, and leads nowhere else; `new`: nothing had stored the
    same before."""

    path: Annotated[str, Field(max_length=1000), AfterValidator(_inside)]
    sha256: _Sha256
    bytes: int = Field(ge=0)
    new: bool = True


class Made(Message):
    """What came of a step. The files of `outputs` lie among the objects, those of rows under `out`."""

    metrics: tuple[Number, ...]
    outputs: dict[str, tuple[File, ...]]
    notes: tuple[str, ...] = ()
    tables: dict[_TableName, list[dict[str, Any]]] = {}
    processor_seconds: float = Field(ge=0)
    energy: tuple[Number, ...] = ()


class Failed(Message):
    """Why nothing came of it: `input`: the step refuses what it is given; `died`: its process ended without a word."""

    kind: Literal["input", "failure", "died"]
    message: str = Field(max_length=20_000)


class Said(Message):
    """One thing said: how far the step is, points of its curves, lines of its log; `made` or `failed` is the last."""

    code: Code | None = None
    progress: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[str, Field(max_length=1000)]] | None = None
    points: tuple[Number, ...] = ()
    log: str = Field(default="", max_length=_LOG_CHARACTERS)
    made: Made | None = None
    failed: Failed | None = None


class Came(Message):
    """What came of a sending, for whoever looks at the machine: the flow is told on its line."""

    state: Literal["COMPLETED", "FAILED", "CANCELLED"]
    message: str = Field(default="", max_length=30_000)


class UnreadableError(ValueError):
    """A message that is none."""


def read(message: type[_MessageType], reader: Readable, size: int, most: int = MOST_BYTES) -> _MessageType:
    """The message whose bytes these are. Raises UnreadableError for what is too long, cut short, or not of its type."""
    if size > most:
        raise UnreadableError(f"a message of {size} bytes, of {most} that are read")
    content = b""
    while some := reader.read(1 << 20):
        content += some
    try:
        return message.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UnreadableError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def said(number: int, part: int = 0) -> str:
    """The key of the message of a part with this number, from 1."""
    return f"{f'part-{part}/' if part else ''}says/{number:06d}"
