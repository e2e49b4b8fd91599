"""The rows of benchmarks: their items beside the other data, and each policy on them; and what of all that evaluates
stands in the training data."""

from flows.recipe.conditions import (
    has_base_alone,
    has_benchmarks,
    has_contamination,
    has_demonstrations,
    has_policy,
    has_prompts,
    trains_base,
)
from flows.recipe.places import (
    Condition,
    Place,
    Reads,
    Row,
    base,
    here,
    only,
    section,
    the_tokenizer,
    under_adapters,
    where,
)
from tasks.benchmarks.config import BenchmarkAnsweringConfig, BenchmarkChoice, ReadingConfig, RunBenchmarksConfig
from tasks.check_base import check_base
from tasks.engine.reading import Incoming
from tasks.import_benchmarks import import_benchmarks
from tasks.incoming.files import File
from tasks.measure_contamination import measure_contamination
from tasks.run_benchmarks import run_benchmarks


def _files(at: Place) -> tuple[Incoming, ...]:
    """The files and folders of all benchmarks, in the config's order."""
    return tuple(File(path) for each in at.config.benchmarks.sets for path in each.files)


def _folders(at: Place) -> tuple[Incoming, ...]:
    """Those that hold tasks of lm-evaluation-harness."""
    return tuple(File(path) for each in at.config.benchmarks.sets if each.tasks for path in each.files)


def _benchmarks(at: Place) -> tuple[BenchmarkChoice, ...]:
    """Without their files: a path is in no fingerprint."""
    return tuple(BenchmarkChoice(**only(BenchmarkChoice, each)) for each in at.config.benchmarks.sets)


def _reading(at: Place) -> ReadingConfig:
    return ReadingConfig(sets=_benchmarks(at), files=tuple(len(each.files) for each in at.config.benchmarks.sets))


def _running(at: Place) -> RunBenchmarksConfig:
    return RunBenchmarksConfig(**only(BenchmarkAnsweringConfig, at.config.benchmarks), sets=_benchmarks(at))


ITEMS_ROW = Row(
    import_benchmarks,
    _reading,
    {"files": _files},
    {"items": "benchmark-items", "refused": "benchmark-refused"},
    when=has_benchmarks,
    after=(check_base,),
)
CONTAMINATION_ROW = Row(
    measure_contamination,
    section("contamination"),
    {
        "prompts": where(has_prompts, here("dataset/prompts")),
        "benchmarks": where(has_benchmarks, here("dataset/benchmark-items")),
        "corpus": where(trains_base, here("dataset/corpus")),
        "demonstrations": where(has_demonstrations, here("dataset/demonstrations")),
        "tokenizer": the_tokenizer,
    },
    {"contamination": "contamination"},
    when=has_contamination,
)
CONTAMINATION = where(has_contamination, base("dataset/contamination"))


def _putting(model: Reads, under: Reads, when: Condition) -> Row:
    """A model, and what it is an adapter of, to the benchmarks."""
    return Row(
        run_benchmarks,
        _running,
        {
            "policy": model,
            "items": base("dataset/benchmark-items"),
            "folders": _folders,
            "contamination": CONTAMINATION,
            "base": under,
        },
        {"results": "benchmark-results"},
        when=lambda at: has_benchmarks(at) and when(at),
    )


BENCHMARKS_ROW = _putting(here("model/policy"), under_adapters, has_policy)
BASE_BENCHMARKS_ROW = _putting(here("model/base"), lambda _at: (), has_base_alone)
