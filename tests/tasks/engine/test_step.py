import dataclasses
import json
import re
from pathlib import Path

import pytest

from data_store.names import AssetName
from tasks.engine.call import StepCall
from tasks.engine.step import Input, Output, StepInput, StepRun, step
from tasks.incoming.files import File
from tasks.incoming.stored import Asset
from tests.tasks.bench import call_of, step_run, written
from tests.tasks.little_steps import WordConfig, join_texts, write_word

DOCUMENT = {"doc_id": "1", "source": "a.jsonl:1", "text": "a llama"}
READ = {"texts": ("v-one", "v-two")}


def word_call() -> StepCall:
    return call_of(write_word, WordConfig(word="llama", ledger=Path("/ledger")))


def test_equal_calls_have_equal_fingerprints() -> None:
    assert word_call().fingerprint(READ) == word_call().fingerprint(dict(READ))


@pytest.mark.parametrize(
    "changed",
    [
        {"step": dataclasses.replace(write_word, name="other")},
        {"step": dataclasses.replace(write_word, version=2)},
        {"part": "V2"},
        {"seed": 8},
        {"config": WordConfig(word="alpaca", ledger=Path("/ledger"))},
        {"outputs": {"text": AssetName("model", "other", "V1")}},
    ],
    ids=lambda changed: next(iter(changed)) if "step" not in changed else f"step-{changed['step'].version}",
)
@pytest.mark.conformance("rerun reuses what is stale", equation="tasks.engine.call:StepCall.fingerprint")
def test_a_fingerprint_depends_on(changed: dict[str, object]) -> None:
    call = word_call()
    assert dataclasses.replace(call, **changed).fingerprint(READ) != call.fingerprint(READ)


@pytest.mark.parametrize(
    "inputs",
    [{"texts": ("v-one", "v-three")}, {"texts": ("v-two", "v-one")}, {"texts": ("v-one",)}, {"words": READ["texts"]}],
    ids=["version", "order", "number", "role"],
)
def test_a_fingerprint_depends_on_the_inputs(inputs: dict[str, tuple[str, ...]]) -> None:
    assert word_call().fingerprint(inputs) != word_call().fingerprint(READ)


def test_a_fingerprint_depends_on_nothing_else() -> None:
    """Not on where sources lie, on the names of inputs with the same content, on the order of roles, or on which
    function stands behind the step's name."""
    call = word_call()
    moved = dataclasses.replace(
        call,
        inputs={"texts": (Asset(AssetName("model", "renamed", "V1")),), "files": (File(Path("/elsewhere")),)},
        step=dataclasses.replace(join_texts, name=write_word.name),
    )
    assert moved.fingerprint(READ) == call.fingerprint(READ)
    two = {"a": ("1",), "b": ("2",)}
    assert call.fingerprint(two) == call.fingerprint(dict(reversed(two.items())))


def test_a_config_value_given_at_its_default_gives_the_same_fingerprint() -> None:
    given = call_of(write_word, WordConfig(word="llama", ledger=Path("/ledger"), seconds=0.0))
    assert given.fingerprint({}) == word_call().fingerprint({})


def test_a_declared_step_keeps_its_plain_function() -> None:
    declare = step(
        version=4, config=WordConfig, inputs={}, outputs={"text": Output("model")}, headline="letters", about="Writes."
    )
    declared = declare(write_word.function)
    assert (declared.name, declared.version, declared.module) == ("write_word", 4, "tests.tasks.little_steps")
    assert declared.function is write_word.function


def test_rows_written_are_the_rows_read(tmp_path: Path) -> None:
    run = step_run(tmp_path, outputs={"documents": Output("dataset", "document")})
    run.write_rows("documents", [DOCUMENT])
    assert written(tmp_path, "documents") == [DOCUMENT]
    again = step_run(tmp_path / "second", inputs={"documents": tmp_path / "out" / "documents"})
    assert again.records("documents") == [DOCUMENT]


def test_rows_of_several_versions_come_in_the_plans_order(tmp_path: Path) -> None:
    entries = []
    for number in ("2", "1"):
        run = step_run(tmp_path / number, outputs={"documents": Output("dataset", "document")})
        run.write_rows("documents", [{**DOCUMENT, "doc_id": number}])
        entries.append(StepInput("dataset/documents@V1", number, tmp_path / number / "out" / "documents"))
    run = StepRun(name="n", part="V1", seed=0, inputs={"documents": tuple(entries)}, outputs={}, folder=tmp_path)
    assert [row["doc_id"] for row in run.records("documents")] == ["2", "1"]
    with pytest.raises(ValueError, match="wanted one input 'documents', the plan gives 2"):
        run.path("documents")


def test_what_the_plan_does_not_give_is_empty_or_refused_by_name(tmp_path: Path) -> None:
    run = step_run(tmp_path, outputs={"text": Output("model")})
    assert run.records("gatt") == []
    assert run.all_inputs("gatt") == ()
    assert run.optional_path("base") is None
    assert run.wants("text")
    assert not run.wants("dropped")
    with pytest.raises(ValueError, match="wanted one input 'policy', the plan gives 0"):
        run.version("policy")
    with pytest.raises(ValueError, match="output text is not a data set"):
        run.write_rows("text", [])


def test_rows_that_are_not_of_the_kind_are_refused(tmp_path: Path) -> None:
    run = step_run(tmp_path, outputs={"documents": Output("dataset", "document")})
    with pytest.raises((ValueError, TypeError)):
        run.write_rows("documents", [{**DOCUMENT, "text": 3}])


def test_work_whose_rest_nobody_knows_takes_its_share_of_what_is_left(tmp_path: Path) -> None:
    run = step_run(tmp_path)
    shown = []
    run.progress(0.5, "drawn")
    for share in (0.4, 0.4, 1.0):
        heard = run.part_of_rest(share, "scored")
        for done in (0.5, 1.0):
            run._reported = 0.0  # as if a quarter of a second had passed
            heard(done)
            shown.append(json.loads((tmp_path / "progress.json").read_text())["fraction"])
    assert shown == pytest.approx([0.6, 0.7, 0.76, 0.82, 0.91, 1.0])


def test_progress_is_bounded_and_the_end_is_always_shown(tmp_path: Path) -> None:
    run = step_run(tmp_path)
    run.progress(-0.5, "first")
    run.progress(0.5, "too soon after the first")
    assert json.loads((tmp_path / "progress.json").read_text()) == {"fraction": 0.0, "text": "first"}
    run.progress(7.0, "done")
    assert json.loads((tmp_path / "progress.json").read_text()) == {"fraction": 1.0, "text": "done"}


def test_metrics_and_tables_are_kept_for_the_flow(tmp_path: Path) -> None:
    run = step_run(tmp_path)
    run.metric("loss", 2.5, 1)
    run.metric("loss", 1.5, 2)
    with pytest.raises(ValueError, match="the first point of a curve has step 1, not 0"):
        run.metric("loss", 3.0, 0)  # it would read as what the whole run measured
    run.table("examples", [{"prompt": "hello"}])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"name": "loss", "value": 2.5, "step": 1}, {"name": "loss", "value": 1.5, "step": 2}]
    assert json.loads((tmp_path / "tables" / "examples.json").read_text()) == [{"prompt": "hello"}]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text": ("model/a@V1",)}, "join_texts of V1: the step declares no input 'text'; it declares texts, files"),
        ({"texts": ("dataset/a@V1",)}, "join_texts of V1: dataset/a@V1 is no model, as 'texts' must be"),
    ],
)
def test_a_call_that_does_not_fit_the_declaration_is_not_made(inputs: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call_of(join_texts, WordConfig(ledger=Path("/ledger")), inputs=inputs)


def test_a_required_input_may_not_be_left_out_and_one_that_is_single_not_come_twice() -> None:
    needy = dataclasses.replace(join_texts, inputs={"texts": Input("model")})
    with pytest.raises(ValueError, match="join_texts of V1 lacks its input 'texts'"):
        call_of(needy, WordConfig(ledger=Path("/ledger")))
    with pytest.raises(ValueError, match="is given 2 inputs 'texts', and reads one"):
        call_of(needy, WordConfig(ledger=Path("/ledger")), inputs={"texts": ("model/a@V1", "model/b@V1")})


def test_a_step_that_asks_for_an_input_it_does_not_declare_is_told_so(tmp_path: Path) -> None:
    run = StepRun(name="n", part="V1", seed=0, inputs={}, outputs={}, folder=tmp_path, roles=("documents",))
    assert run.records("documents") == []
    for ask in (run.records, run.rows, run.path, run.optional_path, run.all_inputs, run.version):
        with pytest.raises(ValueError, match="n declares no input 'documnets'; it declares documents"):
            ask("documnets")


def test_rows_can_be_passed_on_from_an_input_alone() -> None:
    with pytest.raises(ValueError, match="write_word passes on rows of documents: not its input"):
        step(
            version=1,
            config=WordConfig,
            inputs={},
            outputs={"text": Output("dataset", "document", passes_on=("documents",))},
            headline="letters",
            about="Writes.",
        )(write_word.function)
