"""Test sets of reward models as rows, before anything is trained: what trains is held apart from their texts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from data_store.commands import halter
from data_store.errors import InputError
from data_store.reading.preference_readers import read_preferences
from data_store.row_sources import is_named, without
from data_store.rows import row_kind
from tasks.engine.step import Files, Input, Output, StepRun, step
from tasks.file_roles import ReadingStepConfig, annotators_in
from tasks.reward_tests import ReadingTestsConfig, RewardTestChoice


def _imports(config: ReadingTestsConfig, sources: Files, what: str, name: str) -> bool:
    """Whether a file of this name is read, or one has pairs by this annotator."""
    given = [(each, path) for each, paths in _of_sets(config, sources.get("files", ())) for path in paths]
    if what == "source":
        return any(is_named(path, name) for _, path in given)
    # of a file that is not there nothing can be said; what was read of it may have been theirs
    return any(
        not path.is_file()
        or name
        in annotators_in(
            f"{each.axis}_preferences",
            path,
            ReadingStepConfig(preference_format=each.format, preference_options=config.options),
        )
        for each, path in given
    )


@step(
    version=1,
    config=ReadingTestsConfig,
    inputs={"files": Input("file", optional=True, many=True)},
    outputs={"tests": Output("dataset", "test_pair"), "refused": Output("dataset", "dropped")},
    metrics=("pairs", "refused"),
    takes_in=_imports,
    headline="pairs",
    about="Reads the test sets of the reward models.",
    tags=("foundation",),
)
def import_reward_tests(run: StepRun, config: ReadingTestsConfig) -> Mapping[str, float]:
    """The pairs of each set, all held out; rows of withdrawn annotators are left out. Raises InputError for a file that
    cannot be read, a file that is withdrawn, and a set of which nothing is left."""
    paths = tuple(entry.path for entry in run.all_inputs("files"))
    if len(paths) < sum(config.files):
        gone = ", ".join(run.withdrawn("source"))
        raise InputError(
            f"reward_tests.sets: files of them are withdrawn ({gone}): take them out of the config, or take it back "
            f"with `{halter('withdraw', 'source', 'NAME', '--undo')}`"
        )
    rows, refused, counts = [], [row_kind("dropped").schema.empty_table()], []
    for each, mine in _of_sets(config, paths):
        read = read_preferences(
            mine, each.format, axis=each.axis, default_rating=each.default_rating, options=config.options
        )
        pairs = without(read.rows, "annotator", run.withdrawn("annotator"))
        if not len(pairs):
            raise InputError(f"reward_tests.sets: {each.name}: nothing is left that is not withdrawn; take it out")
        rows.append(_of_set(pairs, each))
        refused.append(_named(read.refused, each))
        counts.append({"set": each.name, "axis": each.axis, "pairs": len(pairs), "refused": len(read.refused)})
    tests, dropped = pa.concat_tables(rows), pa.concat_tables(refused)
    run.write_rows("tests", tests)
    run.write_rows("refused", dropped)
    run.table("sets", counts)
    return {"pairs": float(len(tests)), "refused": float(len(dropped))}


def _of_sets(
    config: ReadingTestsConfig, paths: tuple[Path, ...]
) -> Iterator[tuple[RewardTestChoice, tuple[Path, ...]]]:
    """Each set with its files, which follow one another in the order of the sets."""
    for choice, count in zip(config.sets, config.files, strict=True):
        yield choice, paths[:count]
        paths = paths[count:]


def _of_set(pairs: pa.Table, choice: RewardTestChoice) -> pa.Table:
    """As rows of kind test_pair, of this set's axis: the name of the set says what they were judged for."""
    schema = row_kind("test_pair").schema
    same = {"test_set": choice.name, "axis": choice.axis, "split": "heldout"}
    columns = [
        pa.array([same[name]] * len(pairs), field_of.type) if name in same else pairs.column(name)
        for name, field_of in zip(schema.names, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _named(refused: pa.Table, choice: RewardTestChoice) -> pa.Table:
    ids = pa.array([f"{choice.name}/{each}" for each in refused.column("doc_id").to_pylist()], pa.string())
    return refused.set_column(0, refused.schema.field("doc_id"), ids)
