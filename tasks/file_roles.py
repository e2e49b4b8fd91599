"""How the files of each role of `data` are read: by import_data, and by the look that comes before a run."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from data_store.errors import InputError
from data_store.figures import figure
from data_store.reading.bad_rows import BAD_ROW, BadRows
from data_store.reading.file_options import AS_SAID, FileOptions, OfFiles
from data_store.reading.messages import Messages
from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.preference_readers import RECOGNISE, each_preferences
from data_store.reading.readers import read_dialogues, read_documents, read_instructions, read_prompts
from data_store.reading.row_import import Imported, NothingLeftError, joined
from data_store.row_sources import is_named
from data_store.rows import AXES
from models.config import Config

PAIRS = tuple(f"{axis}_preferences" for axis in AXES)
ROLES = (
    *("documents", "demonstrations", "instructions"),
    *(f"{axis}_{kind}" for kind in ("prompts", "preferences", "evaluation_prompts") for axis in AXES),
    "borderline_prompts",
)
LOOKED_AT = 2000
"""Records of each file that are read before a run, which takes a fraction of a second."""

SplitOf = Callable[[Messages], str]


class NamedFile(FileOptions):
    """The options of one file, which is named by the end of its path."""

    role: str
    name: str


class ReadingConfig(Config):
    """How to read the files."""

    text_field: str = Field(default="text", description="Field of a document that holds its text")
    prompt_field: str = Field(default="prompt", description="Field of a prompt, and of a dialogue given as a pair")
    response_field: str = Field(default="response", description="Field of a dialogue's answer when given as a pair")
    preference_format: str = Field(
        default=RECOGNISE,
        pattern=f"^({'|'.join((RECOGNISE, *FORMATS))})$",
        description="docs/preference-sources.md describes them; auto: each file's first records tell",
    )
    preference_options: PreferenceOptions = Field(
        default=PreferenceOptions(), description="What is read out of the formats of others, and how"
    )
    default_rating: str = Field(default="better", description="Rating word of pairs that say only which is better")
    category_fields: tuple[str, ...] = Field(
        default=("category",),
        description="Fields of a prompt that say of which category it is, such as XSTest's type; of several the first "
        "that a record has. Rates of refusals and violations are given by category, too",
    )
    on_bad_row: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="A row that cannot be read stops the run before anything is trained; or it is left out and counted",
    )
    max_bad_share: float = Field(
        default=0.1, ge=0, le=1, description="With on_bad_row: drop: a file with a larger share of them stops the run"
    )


class ReadingStepConfig(ReadingConfig):
    """The same for a step, with what is said of single files."""

    of_files: tuple[NamedFile, ...] = Field(default=(), description="Files that are read in their own way")

    def options(self, role: str, paths: Iterable[Path]) -> OfFiles:
        """What is said of the files of a role."""
        named = [each for each in self.of_files if each.role == role]
        found = {path: next((each for each in named if is_named(path, each.name)), None) for path in paths}
        return {path: each or AS_SAID for path, each in found.items()}

    @property
    def bad_rows(self) -> BadRows:
        """What becomes of rows that cannot be read."""
        return BadRows(drop=self.on_bad_row == "drop")


def _train(_: Messages) -> str:
    return "train"


def read_role(
    role: str, paths: Sequence[Path], config: ReadingStepConfig, bad: BadRows, split_of: SplitOf = _train
) -> Imported:
    """Rows and refusals of all roles but documents. Raises InputError for what cannot be read."""
    of_files = config.options(role, paths)
    if role == "demonstrations":
        return read_dialogues(paths, config.prompt_field, config.response_field, bad=bad, of_files=of_files)
    if role == "instructions":
        return read_instructions(paths, split_of, bad, of_files)
    axis = next((each for each in AXES if role.startswith(each)), "helpfulness")
    if role in PAIRS:
        return joined(each_pair(role, paths, config, bad))
    kind = "borderline" if role == "borderline_prompts" else "import"
    return read_prompts(
        paths,
        config.prompt_field,
        axis,
        kind,
        split_of,
        bad,
        of_files,
        category_fields=config.category_fields,
        harmless=kind == "borderline",
    )


def each_pair(role: str, paths: Sequence[Path], config: ReadingStepConfig, bad: BadRows) -> Iterator[Imported]:
    """The rows and refusals of a role of pairs, some at a time. Raises as `read_role` does."""
    return each_preferences(
        paths,
        config.preference_format,
        role.removesuffix("_preferences"),
        default_rating=config.default_rating,
        options=config.preference_options,
        bad=bad,
        of_files=config.options(role, paths),
    )


def annotators_in(role: str, path: Path, config: ReadingStepConfig) -> frozenset[str]:
    """Who judged the pairs of a file; it is read once per process as long as it does not change."""
    about = path.stat()
    looks = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return _annotators_in(role, path, config.model_dump_json(include=set(ReadingStepConfig.model_fields)), looks)


@cache
def _annotators_in(role: str, path: Path, config: str, _looks: tuple[int, ...]) -> frozenset[str]:
    pieces = each_pair(role, [path], ReadingStepConfig.model_validate_json(config), BadRows(drop=True))
    return frozenset(name for read in pieces for name in read.rows.column("annotator").unique().to_pylist())


def faults_of(role: str, path: Path, config: ReadingStepConfig) -> list[str]:
    """What the beginning of a file holds for which the run would stop; in words, the first row and how many more."""
    bad = BadRows(drop=True, most=LOOKED_AT)
    try:
        if role == "documents":
            rows = 0
            for batch in _batches(path, config, bad):
                rows += len(batch)
                if rows >= LOOKED_AT:
                    break
            met = [each.detail for each in bad.taken()]
            return _told(path, met, rows + len(met), config)
        read = read_role(role, [path], config, bad)
        refused = [row["detail"] for row in read.refused.to_pylist() if row["reason"] == BAD_ROW]
        return _told(path, refused, len(read.rows) + len(read.refused), config)
    except NothingLeftError as error:
        return [f"{path}: {error}"]
    except InputError as error:  # that nothing is left has a reason, where rows could not be read
        unread = [each.detail for each in bad.taken()]
        if unread and config.on_bad_row != "drop":
            return _told(path, unread, len(unread), config)
        return [f"{error}; the first row: {unread[0]}" if unread else str(error)]


def too_many_bad(bad: int, rows: int, file: str, first: str, config: ReadingConfig) -> str:
    """Why a file stops the run of which so many rows cannot be read, `first` being what is said of the first; empty
    where they may be left out."""
    if bad <= config.max_bad_share * rows:
        return ""
    most = figure(config.max_bad_share)
    return (
        f"{bad} of {rows} rows of {file} cannot be read, and data.max_bad_share is {most}: mend the file, or raise it. "
        f"The first: {first}"
    )


def _batches(path: Path, config: ReadingStepConfig, bad: BadRows) -> Iterable[pa.RecordBatch]:
    return read_documents([path], config.text_field, bad=bad, of_files=config.options("documents", [path]))


def _told(path: Path, faults: list[str], rows: int, config: ReadingStepConfig) -> list[str]:
    """Of rows that cannot be read. Of those that are to be left out only a file that was read to its end tells whether
    they are too many."""
    if not faults:
        return []
    if config.on_bad_row == "drop":
        fault = too_many_bad(len(faults), rows, str(path), faults[0], config) if rows < LOOKED_AT else ""
        return [fault] if fault else []
    more = f" (and {len(faults) - 1} more rows of this file)" if len(faults) > 1 else ""
    return [f"{faults[0]}{more}"]
