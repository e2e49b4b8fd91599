"""Which benchmarks are run, and how."""

from pathlib import Path

from pydantic import Field, model_validator

from models.config import Config, SamplingConfig
from tasks.sandbox.sandbox import SandboxConfig

_NAME = r"^[a-z0-9][a-z0-9_.-]{0,47}$"


class BenchmarkChoice(Config):
    """One benchmark, without its files."""

    name: str = Field(pattern=_NAME, description="Names it in rows and metrics: a-z, 0-9, `_`, `.`, `-`")
    suite: str = Field(
        default="other",
        pattern=_NAME,
        description="What it is averaged with, such as code, commonsense, knowledge, reading, math, mmlu, bbh, "
        "agieval, safety, korean",
    )
    chat: bool = Field(
        default=True, description="Ask in a dialogue, as the policy was trained; false: continue the plain text"
    )
    tasks: tuple[str, ...] = Field(
        default=(), description="Of a folder of lm-evaluation-harness: these tasks or groups; needs `halter[eval]`"
    )
    limit: int | None = Field(default=None, ge=1, description="Only the first items; empty: all")


class BenchmarkConfig(BenchmarkChoice):
    """One benchmark: items in files, or a folder of tasks of lm-evaluation-harness."""

    files: tuple[Path, ...] = Field(
        min_length=1,
        description="Items as .jsonl, .json or .csv, of a format in docs/benchmarks.md; with `tasks` one folder",
    )

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "BenchmarkConfig":
        if self.tasks and len(self.files) != 1:
            raise ValueError(f"{self.name}: tasks go with one folder of them in files, not {len(self.files)}")
        return self


class BenchmarkAnsweringConfig(Config):
    """How benchmarks are answered."""

    sampling: SamplingConfig = Field(
        default=SamplingConfig(max_new_tokens=512),
        description="How answers are drawn, and how many rows are read at once",
    )
    samples: int = Field(default=1, ge=1, description="Programs that are drawn for each task of code")
    pass_at: tuple[int, ...] = Field(default=(1,), min_length=1, description="k of pass@k: how many programs may try")
    sandbox: SandboxConfig = Field(default=SandboxConfig(), description="What a program that the model wrote may use")
    programs_at_a_time: int = Field(default=2, ge=1, description="Programs that run side by side")

    @model_validator(mode="after")
    def _has_enough_samples(self) -> "BenchmarkAnsweringConfig":
        if max(self.pass_at) > self.samples or min(self.pass_at) < 1:
            raise ValueError(f"pass_at {list(self.pass_at)} must lie between 1 and samples, {self.samples}")
        return self


class BenchmarksConfig(BenchmarkAnsweringConfig):
    """Benchmarks that each policy is put to."""

    sets: tuple[BenchmarkConfig, ...] = Field(default=(), description="The benchmarks; none: none is run")

    @model_validator(mode="after")
    def _has_each_name_once(self) -> "BenchmarksConfig":
        names = [each.name for each in self.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sets: the name {twice[0]!r} comes twice; give each benchmark its own")
        return self

    def beside(self, folder: Path) -> "BenchmarksConfig":
        """The same, with paths that are meant from a folder on."""
        found = [
            each.model_copy(update={"files": tuple((folder / path).resolve() for path in each.files)})
            for each in self.sets
        ]
        return self.model_copy(update={"sets": tuple(found)})

    def missing(self) -> str:
        """What is not there of the files, or no folder where one is wanted; empty: nothing."""
        for each in self.sets:
            for path in each.files:
                if each.tasks and not path.is_dir():
                    return f"{each.name}: there is no folder {path}"
                if not each.tasks and not path.is_file():
                    return f"{each.name}: there is no file {path}; a folder of lm-evaluation-harness goes with tasks"
        return ""


class ReadingConfig(Config):
    """The benchmarks of one run, with how many of the files are each one's."""

    sets: tuple[BenchmarkChoice, ...]
    files: tuple[int, ...]


class RunBenchmarksConfig(BenchmarkAnsweringConfig):
    """The same for one policy."""

    sets: tuple[BenchmarkChoice, ...]
