"""Cache, rerun and failure of one step: `tasks/engine/execute.py`, with the real store and the real worker process."""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import Metric
from data_store.upkeep.verification import verify
from tasks.engine.call import StepCall
from tasks.engine.execute import FlowIds, _code, _record
from tasks.engine.jobs import StepFailedError
from tasks.incoming.files import File
from tests.tasks.bench import Bench, call_of, is_alive, wait_for
from tests.tasks.little_steps import (
    VOWELS,
    MisbehaviourConfig,
    SpendConfig,
    WordConfig,
    join_texts,
    misbehave,
    spend,
    tell_where,
    write_constant,
    write_word,
    write_word_anew,
)


@pytest.fixture
def word(bench: Bench) -> StepCall:
    return call_of(write_word, WordConfig(word="llama", ledger=bench.ledger), name="word")


@pytest.fixture
def joined(bench: Bench) -> StepCall:
    return call_of(
        join_texts, WordConfig(word="end", ledger=bench.ledger), name="joined", inputs={"texts": ("model/word@V1",)}
    )


def changed(call: StepCall, **values: object) -> StepCall:
    """The call with other config values."""
    return dataclasses.replace(call, config=call.config.model_copy(update=values))


def asset(name: str) -> AssetName:
    return AssetName("model", name, "V1")


@pytest.mark.slow
def test_a_step_leaves_its_output_metrics_tables_and_lineage(bench: Bench, word: StepCall) -> None:
    ids = FlowIds("flow-1", "task-1", "root-1")
    outcome = bench.execute(word, ids=ids)
    assert bench.text("model/word@V1") == "llama 7"
    assert not outcome.cached
    assert outcome.tables == {"words": [{"word": "llama"}]}
    assert outcome.metrics["letters"] == 5.0
    (run,) = bench.store.runs()
    assert (run.state, run.run.step, run.run.part, run.run.seed, run.run.attempt) == (
        "succeeded",
        "write_word",
        "V1",
        7,
        1,
    )
    assert run.run.config == word.recipe()
    assert run.run.fingerprint == word.fingerprint({})
    assert run.run.prefect_flow_run_id == "flow-1"
    assert run.run.prefect_root_flow_run_id == "root-1"
    assert "tests/tasks/little_steps.py" in run.run.code_files
    assert "tasks/engine/step.py" in run.run.code_files
    assert run.run.env["python"].startswith("3.")
    points = [(point.name, point.value, point.step) for point in bench.store.metrics(outcome.run_id)]
    assert ("letters", 5.0, 1) in points
    assert ("letters", 5.0, 0) in points
    assert outcome.estimates == run.estimates == {"vowels": VOWELS}
    assert Metric.of("vowels", VOWELS) in bench.store.metrics(outcome.run_id)
    assert any(name == "seconds" and value > 0 for name, value, _ in points)
    assert not (bench.store.root / "work" / run.run.fingerprint[:32]).exists(), "the work folder goes when it is done"


@pytest.mark.conformance("rerun recomputes what is valid", equation="tasks.engine.execute:execute")
def test_the_same_call_again_computes_nothing(bench: Bench, word: StepCall) -> None:
    first = bench.execute(word)
    again = bench.execute(word)
    assert bench.computed() == ["write_word V1"]
    assert again.cached
    assert again.run_id == first.run_id
    assert again.outputs == first.outputs
    assert again.estimates == first.estimates == {"vowels": VOWELS}
    assert again.metrics == first.metrics, "a cached step has the figures of its run, not the points of its curves"
    assert len(bench.store.runs()) == 1
    assert len(bench.store.history(asset("word"))) == 1, "nothing is written for a step that is up to date"


@pytest.mark.slow
@pytest.mark.conformance("rerun reuses what is stale", equation="tasks.engine.execute:fingerprint_of")
def test_a_changed_config_seed_version_or_input_computes_anew(bench: Bench, word: StepCall, joined: StepCall) -> None:
    bench.execute(word)
    bench.execute(joined)
    newer = dataclasses.replace(word, step=write_word_anew)
    for variant in (changed(word, word="alpaca"), dataclasses.replace(word, seed=8), newer):
        assert not bench.execute(variant).cached
    assert bench.computed().count("write_word V1") == 4
    # `newer` wrote the bytes that `joined` has read, so nothing is to be done
    assert bench.text("model/word@V1") == "llama 7"
    assert bench.execute(joined).cached
    bench.execute(changed(word, word="alpaca"))
    assert not bench.execute(joined).cached
    assert bench.text("model/joined@V1") == "alpaca 7 | end"


@pytest.mark.slow
def test_going_back_takes_the_old_run_up_again(bench: Bench, word: StepCall, joined: StepCall) -> None:
    first = bench.execute(word)
    bench.execute(joined)
    bench.execute(changed(word, word="alpaca"))
    bench.execute(joined)
    assert bench.execute(word).run_id == first.run_id
    assert asset("joined") in bench.store.stale()
    assert bench.execute(joined).cached
    assert bench.text("model/joined@V1") == "llama 7 | end"
    assert bench.store.stale() == {}
    assert len(bench.computed()) == 4


@pytest.mark.slow
@pytest.mark.conformance("rerun reuses what is stale", equation="tasks.engine.execute:resolve_inputs")
def test_a_changed_source_file_computes_anew(bench: Bench, joined: StepCall, tmp_path: Path) -> None:
    source = tmp_path / "Some file.txt"
    source.write_text("one")
    call = dataclasses.replace(joined, inputs={"files": (File(source),)})
    bench.execute(call)
    assert bench.text("model/joined@V1") == "one | end"
    source.touch()
    assert bench.execute(call).cached, "the content counts, not the time"
    source.write_text("two")
    assert not bench.execute(call).cached
    assert bench.text("model/joined@V1") == "two | end"


@pytest.mark.slow
def test_two_files_of_one_name_are_two_sources(bench: Bench, joined: StepCall, tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "pairs.txt")
        paths[-1].write_text(folder)
    bench.execute(dataclasses.replace(joined, inputs={"files": tuple(map(File, paths))}))
    assert bench.text("model/joined@V1") == "a | b | end"
    assert bench.execute(dataclasses.replace(joined, inputs={"files": tuple(map(File, paths))})).cached


@pytest.mark.slow
def test_a_forced_redo_with_identical_bytes_makes_nothing_stale(bench: Bench, word: StepCall, joined: StepCall) -> None:
    first = bench.execute(word)
    bench.execute(joined)
    redone = bench.execute(word, force=True)
    assert not redone.cached
    assert redone.run_id != first.run_id
    assert redone.outputs == first.outputs
    assert bench.store.stale() == {}
    assert bench.execute(word).run_id == redone.run_id, "the forced run counts as the current one"
    assert bench.execute(joined).cached
    assert bench.store.runs(step="write_word")[0].run.attempt == 2


@pytest.mark.slow
def test_another_recipe_with_identical_bytes_makes_nothing_stale(bench: Bench, joined: StepCall) -> None:
    constant = call_of(write_constant, WordConfig(word="a", ledger=bench.ledger), name="word")
    bench.execute(constant)
    bench.execute(joined)
    bench.execute(changed(constant, word="b"))
    assert bench.store.stale() == {}
    assert bench.execute(joined).cached


def test_parts_do_not_share_their_runs(bench: Bench) -> None:
    for part in ("V1", "V2"):
        call = call_of(write_constant, WordConfig(ledger=bench.ledger), name="word", part=part)
        assert not bench.execute(call).cached
    heads = bench.store.heads()
    assert heads[AssetName("model", "word", "V1")].version_id == heads[AssetName("model", "word", "V2")].version_id
    assert heads[AssetName("model", "word", "V1")].run_id != heads[AssetName("model", "word", "V2")].run_id


def test_a_missing_input_is_named_and_nothing_is_begun(bench: Bench, joined: StepCall) -> None:
    with pytest.raises(InputError, match="join_texts of V1 needs model/word@V1, which no step has made yet"):
        bench.execute(joined)
    assert bench.store.runs() == []


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("input", InputError, "misbehave of V1: pairs.jsonl:3: rating: 'fine' is no rating; use better"),
        ("value", InputError, "misbehave of V1: ValueError: no pair"),
        ("failure", StepFailedError, "misbehave of V1: RuntimeError: the loss is not a number"),
        ("killed", StepFailedError, "misbehave of V1 ended with code -9 and no result. the last words"),
    ],
)
def test_a_step_that_fails_leaves_a_failed_run_and_no_head(
    bench: Bench, how: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        bench.execute(call_of(misbehave, MisbehaviourConfig(how=how)))
    assert str(caught.value).startswith(message)
    (run,) = bench.store.runs()
    assert run.state == "failed"
    assert run.detail.startswith(message)
    assert bench.store.heads() == {}


@pytest.mark.parametrize("ends_well", [True, False])
def test_each_attempt_keeps_its_processor_time_whether_or_not_something_came_of_it(
    bench: Bench, ends_well: bool
) -> None:
    call = call_of(spend, SpendConfig(own=0.05, forked=0.1, ends_well=ends_well))
    with nullcontext() if ends_well else pytest.raises(StepFailedError, match="all for nothing"):
        bench.execute(call)
    (run,) = bench.store.runs()
    assert run.state == ("succeeded" if ends_well else "failed")
    assert 0.15 <= run.metrics["processor_seconds"] < 0.5
    assert run.seconds is not None
    asked = bench.store.query("SELECT step, processor_seconds FROM runs").to_pylist()
    assert asked == [{"step": "spend", "processor_seconds": run.metrics["processor_seconds"]}]


def test_an_attempt_that_nobody_saw_end_has_no_processor_time_and_the_next_one_has(
    bench: Bench, word: StepCall
) -> None:
    """The flow was killed: the run is given up as crashed by the next one, which computes."""
    record = _record(word, word.fingerprint({}), 1, FlowIds(), _code(bench.workers, word))
    bench.store.begin_run(record)
    bench.execute(word)
    newest, oldest = bench.store.runs()
    assert (oldest.state, "processor_seconds" in oldest.metrics) == ("crashed", False)
    assert newest.metrics["processor_seconds"] > 0


def test_the_log_of_a_failed_step_is_where_the_error_says(bench: Bench) -> None:
    with pytest.raises(StepFailedError) as caught:
        bench.execute(call_of(misbehave, MisbehaviourConfig(how="failure")))
    log = Path(str(caught.value).partition("(log: ")[2].rstrip(")"))
    assert "RuntimeError: the loss is not a number" in log.read_text()


@pytest.mark.parametrize(("how", "missing"), [("half", "extra"), ("nothing", "text, extra")])
def test_a_step_that_forgets_an_output_has_failed(bench: Bench, how: str, missing: str) -> None:
    """Otherwise the old head would stay, and look as if this run had made it."""
    with pytest.raises(StepFailedError, match=f"misbehave of V1 wrote nothing for its outputs: {missing}"):
        bench.execute(call_of(misbehave, MisbehaviourConfig(how=how)))
    assert bench.store.heads() == {}
    assert bench.states("misbehave") == ["failed"]


def test_a_failed_step_keeps_the_heads_of_the_last_success(bench: Bench) -> None:
    bench.execute(call_of(write_word, WordConfig(ledger=bench.ledger), name="word-text"))
    with pytest.raises(StepFailedError):
        bench.execute(call_of(misbehave, MisbehaviourConfig(how="failure"), name="word"))
    assert bench.text("model/word-text@V1") == "llama 7"


def test_leftovers_of_an_attempt_that_was_cut_off_are_not_published(bench: Bench, word: StepCall) -> None:
    folder = bench.store.root / "work" / word.fingerprint({})[:32] / "out" / "text"
    folder.mkdir(parents=True)
    (folder / "half-written.bin").write_text("old")
    outcome = bench.execute(word)
    (_, version) = outcome.outputs["text"]
    assert [ref.path for ref in bench.store.version(version).objects] == ["text.txt"]


@pytest.mark.slow
def test_an_interrupted_step_is_cancelled_and_the_same_call_goes_on(bench: Bench) -> None:
    call = call_of(tell_where, WordConfig(ledger=bench.ledger, seconds=3), name="where")

    def interrupt(fraction: float, text: str) -> None:
        assert (fraction, text) == (0.5, "half way")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.execute(call, on_progress=interrupt)
    assert bench.states("tell_where") == ["cancelled"]
    pid = json.loads(bench.ledger.read_text())["pid"]
    wait_for(lambda: not is_alive(pid), "the end of the interrupted step", 5)
    assert not bench.execute(call).cached
    assert bench.states("tell_where") == ["cancelled", "succeeded"]


@pytest.mark.slow
def test_a_damaged_input_ends_the_step_with_its_name_and_what_puts_it_right(
    bench: Bench, word: StepCall, joined: StepCall
) -> None:
    made = bench.execute(word)
    ((asset, version),) = made.outputs.values()
    (ref,) = bench.store.version(version).objects
    place = bench.store.objects.path(ref.sha256)
    place.chmod(0o644)
    place.write_bytes(bytes(len(place.read_bytes())))
    with pytest.raises(StoreError, match=rf"{asset} {version[:12]}: object {place} is damaged: .*`halter repair"):
        bench.execute(joined)
    (run,) = bench.store.runs(step=joined.step.name)
    assert (run.state, str(place) in run.detail) == ("failed", True)
    assert not bench.execute(word, force=True).cached
    assert verify(bench.store).problems == (), "made anew by its step, in the place of the damaged one"
    assert not bench.execute(joined).cached


class Interrupted:
    """A meter that somebody interrupts while it looks for what it measures with."""

    problem = ""

    def begin(self, run_id: str) -> None:
        raise KeyboardInterrupt

    def end(self, run_id: str) -> tuple[Metric, ...]:
        return ()


@pytest.mark.slow
def test_a_step_that_is_interrupted_before_its_meter_has_begun_is_cancelled_and_not_at_work_for_ever(
    bench: Bench, word: StepCall
) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.execute(word, meter=Interrupted())
    assert bench.states("write_word") == ["cancelled"]
    bench.execute(word)
    assert bench.states("write_word") == ["cancelled", "succeeded"]
