"""The section `data`: which files are the raw material."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from tasks.import_data import PAIRS, ImportConfig

DATA_ENDINGS = (".jsonl", ".json", ".csv", ".parquet")


class DataConfig(ImportConfig):
    """The raw material: a world to generate, or files. Paths are relative to the config file."""

    documents: tuple[Path, ...] = Field(default=(), description="Corpus: .jsonl, .jsonl.gz, .parquet, .csv, .txt")
    demonstrations: tuple[Path, ...] = Field(default=(), description="SFT dialogues: .jsonl, .jsonl.gz, .csv")
    helpfulness_prompts: tuple[Path, ...] = Field(
        default=(), description="Ordinary prompts; empty: those of the preferences"
    )
    safety_prompts: tuple[Path, ...] = Field(
        default=(), description="Adversarial prompts; empty: those of the preferences"
    )
    helpfulness_preferences: tuple[Path, ...] = Field(
        default=(),
        description="Pairs judged for helpfulness: files, folders, or patterns such as pairs/*.jsonl",
    )
    safety_preferences: tuple[Path, ...] = Field(default=(), description="Pairs judged for safety; the same")
    helpfulness_evaluation_prompts: tuple[Path, ...] = Field(
        default=(), description="Ordinary prompts that nothing trains on; empty: heldout_percent of the others"
    )
    safety_evaluation_prompts: tuple[Path, ...] = Field(
        default=(), description="Adversarial prompts that nothing trains on; empty: heldout_percent of the others"
    )
    borderline_prompts: tuple[Path, ...] = Field(
        default=(), description="Harmless prompts that only sound dangerous, such as XSTest's; nothing trains on them"
    )
    labelled_responses: tuple[Path, ...] = Field(
        default=(),
        description="For a judge of kind safety_classifier in evaluate.judges, and nobody else: prompt or messages, "
        "response, label (safe or unsafe)",
    )
    instructions: tuple[Path, ...] = Field(
        default=(),
        description="Of Ghost Attention, such as `always answer in rhymes`: .jsonl, .csv, or .txt with one a line",
    )

    def given(self) -> dict[str, tuple[Path, ...]]:
        """What the config gives, by role."""
        roles = set(DataConfig.model_fields) - set(ImportConfig.model_fields)
        return {role: getattr(self, role) for role in sorted(roles) if getattr(self, role)}

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Source files by role, with those that lie in folders of preferences now."""
        return {role: _laid_out(paths) if role in PAIRS else paths for role, paths in self.given().items()}


def _laid_out(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files that paths, folders and patterns mean today, each once, sorted within a folder. Hidden files and those
    with another ending are passed over in folders: they may be half written."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.iterdir() if each.is_file() and _is_data(each))
        elif not path.exists() and set("*?[") & set(str(path)):
            pattern = path.absolute().relative_to(path.absolute().anchor)
            found += sorted(each for each in Path(path.absolute().anchor).glob(str(pattern)) if _is_data(each))
        else:
            found.append(path)
    return tuple(dict.fromkeys(found))


def _is_data(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.removesuffix(".gz").endswith(DATA_ENDINGS)
