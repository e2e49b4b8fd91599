"""The section `data`: which files are the raw material."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Field, Tag, model_validator

from data_store.errors import InputError
from data_store.reading.file_options import FileOptions
from data_store.reading.source_files import PACKED
from data_store.reading.words import named_split
from tasks.import_data import ImportConfig

_DATA_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
# What lies beside the rows in the folder of a data set.
_ABOUT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_NOT_READ = ("readme", "license", "licence", "notice", "requirements")
_WORDS = re.compile(r"[a-z]+")
# Which keys of a file mean something under which role; `path` does everywhere.
_KEYS = {
    "documents": ("text_field",),
    "demonstrations": ("format", "prompt_field", "response_field", "split"),
    "preferences": ("format", "prompt_field", "axis", "split", "question"),
    "prompts": ("prompt_field", "axis", "split"),
    "instructions": ("prompt_field", "split"),
    "labelled_responses": (),
}


class DataFile(FileOptions):
    """A file, a folder or a pattern that is read in its own way."""

    path: Path = Field(description="Relative to the config file")


Given = Path | DataFile
TAGS = ("(path)", "(file)")
"""Which of the two an entry is, where pydantic says what is wrong with it."""
Entry = Annotated[
    Annotated[Path, Tag(TAGS[0])] | Annotated[DataFile, Tag(TAGS[1])],
    Discriminator(lambda given: TAGS[isinstance(given, dict | DataFile)]),
]


def path_of(entry: Given) -> Path:
    """Where it lies."""
    return entry.path if isinstance(entry, DataFile) else entry


def resolved(entry: Given, folder: Path) -> Given:
    """The same, by its whole path."""
    path = (folder / path_of(entry)).resolve()
    return entry.model_copy(update={"path": path}) if isinstance(entry, DataFile) else path


class DataConfig(ImportConfig):
    """The raw material: a world to generate, or files. Paths are relative to the config file. Each is a file, a folder
    or a pattern such as pairs/*.jsonl; or {path: …} with how it is read, see docs/your-own-data.md."""

    documents: tuple[Entry, ...] = Field(
        default=(), description="Corpus: .jsonl, .json, .csv, .tsv, .parquet, .arrow, .txt, also with .gz or .zst"
    )
    demonstrations: tuple[Entry, ...] = Field(default=(), description="SFT dialogues")
    helpfulness_prompts: tuple[Entry, ...] = Field(
        default=(), description="Ordinary prompts; empty: those of the preferences"
    )
    safety_prompts: tuple[Entry, ...] = Field(
        default=(), description="Adversarial prompts; empty: those of the preferences"
    )
    helpfulness_preferences: tuple[Entry, ...] = Field(
        default=(),
        description="Pairs judged for helpfulness",
    )
    safety_preferences: tuple[Entry, ...] = Field(
        default=(), description="Pairs judged for safety; one file may be given for both"
    )
    helpfulness_evaluation_prompts: tuple[Entry, ...] = Field(
        default=(), description="Ordinary prompts that nothing trains on; empty: heldout_percent of the others"
    )
    safety_evaluation_prompts: tuple[Entry, ...] = Field(
        default=(), description="Adversarial prompts that nothing trains on; empty: heldout_percent of the others"
    )
    borderline_prompts: tuple[Entry, ...] = Field(
        default=(), description="Harmless prompts that only sound dangerous, such as XSTest's; nothing trains on them"
    )
    labelled_responses: tuple[Entry, ...] = Field(
        default=(),
        description="For a judge of kind safety_classifier in evaluate.judges, and nobody else: prompt or messages, "
        "response, label (safe or unsafe)",
    )
    instructions: tuple[Entry, ...] = Field(
        default=(),
        description="Of Ghost Attention, such as `always answer in rhymes`: .jsonl, .csv, or .txt with one a line",
    )

    @model_validator(mode="after")
    def _knows_its_keys(self) -> "DataConfig":
        for role, entries in self.given().items():
            known = next(keys for ending, keys in _KEYS.items() if role.endswith(ending))
            for entry in entries:
                said = entry.model_dump(exclude={"path"}, exclude_none=True) if isinstance(entry, DataFile) else {}
                if unknown := sorted(set(said) - set(known)):
                    there = ", ".join(known) or "none but path"
                    raise ValueError(f"{role}: {unknown[0]} means nothing for {path_of(entry)}; there are {there}")
        return self

    def given(self) -> dict[str, tuple[Given, ...]]:
        """What the config gives, by role."""
        roles = set(DataConfig.model_fields) - set(ImportConfig.model_fields)
        return {role: getattr(self, role) for role in sorted(roles) if getattr(self, role)}

    def check_given(self, *, base_model: bool, mix: bool, iterations: bool, pairs: bool, gatt: bool) -> None:
        """Raises ValueError where files are missing: with a base model or without, with iterations or none, and where
        these need judged pairs from files or instructions for Ghost Attention."""
        if not base_model and not self.documents:
            raise ValueError("data.documents is empty: give a corpus, or base_model in its place")
        if base_model and mix and not self.documents:
            raise ValueError(
                "data.documents is empty, and mix says that base_model is pretrained on: give a corpus, or take mix out"
            )
        if not iterations:
            return
        if not base_model and not self.demonstrations:
            raise ValueError(
                "data.demonstrations is empty: a base model trained here needs some to become a chat model; with "
                "iterations: 0 the run ends with the pretrained model"
            )
        if pairs and not (self.helpfulness_preferences and self.safety_preferences):
            raise ValueError(
                "both reward models need pairs: give data.helpfulness_preferences and data.safety_preferences, "
                "an annotator, collect.judge or collect.people"
            )
        if gatt and not self.instructions:
            raise ValueError("gatt needs data.instructions: give a file of them, or set gatt: null")

    @property
    def prompts_from(self) -> list[str]:
        """The roles that prompts are read from."""
        return [role for role in self.given() if role.endswith(("prompts", "preferences"))]

    @property
    def asks(self) -> bool:
        """Whether something is asked in it: prompts, or demonstrations."""
        return bool(self.world or self.demonstrations or self.prompts_from)

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Source files by role, with those that lie in folders now."""
        return {role: tuple(found) for role, found in self.laid_out().items()}

    def laid_out(self) -> dict[str, dict[Path, FileOptions]]:
        """The same, each with what is said of it."""
        return {role: _laid_out(entries, role) for role, entries in self.given().items()}


def check_data(config: DataConfig, where: str) -> None:
    """Raises InputError for a path of the config that is no file, or holds none."""
    for role, found in config.files().items():
        if not found:
            given = ", ".join(str(path_of(entry)) for entry in config.given()[role])
            raise InputError(f"{where}: data.{role}: there is no {', '.join(_DATA_ENDINGS)} file in {given}")
        for path in found:
            if not path.is_file():
                raise InputError(f"{where}: data.{role}: there is no file {path}")


def _laid_out(entries: Iterable[Given], role: str) -> dict[Path, FileOptions]:
    """The files that paths, folders and patterns mean today, each once, sorted within a folder. Hidden files, what is
    about the data and files with another ending are passed over in folders: they may be half written. A file in a
    folder whose name says a split of the hub is of that split."""
    found: dict[Path, FileOptions] = {}
    for entry in entries:
        path = path_of(entry)
        said = FileOptions(**entry.model_dump(exclude={"path"})) if isinstance(entry, DataFile) else FileOptions()
        if path.is_dir():
            for each in sorted(each for each in path.rglob("*") if each.is_file()):
                if _is_data(inside := each.relative_to(path)):
                    split = None if said.split or role == "documents" else _split_in(inside)
                    found.setdefault(each, said if split is None else said.model_copy(update={"split": split}))
        elif not path.exists() and set("*?[") & set(str(path)):
            pattern = path.absolute().relative_to(path.absolute().anchor)
            hits = (each for each in Path(path.absolute().anchor).glob(str(pattern)) if each.is_file())
            for each in sorted(each for each in hits if _is_data(Path(each.name))):
                found.setdefault(each, said)
        else:
            found.setdefault(path, said)
    return found


def _split_in(inside: Path) -> str | None:
    """The split that the first word of a file's name or of its folder says, as in test-00000-of-00001.parquet."""
    words = (_WORDS.match(name.lower()) for name in inside.parts)
    found = (named_split(word.group()) for word in words if word)
    return next((split for split in found if split in ("heldout", "validation")), None)


def _is_data(inside: Path) -> bool:
    name = inside.name.lower()
    if any(part.startswith(".") for part in inside.parts) or name in _ABOUT or name.startswith(_NOT_READ):
        return False
    return name.removesuffix(PACKED[0]).removesuffix(PACKED[1]).endswith(_DATA_ENDINGS)
