"""Files outside the store that change while a step is held at a known point: what it made is of what was hashed, or
nothing was made."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data_store.errors import InputError
from data_store.names import AssetName
from models.config import SFTConfig
from tasks.engine import outside_files
from tasks.engine.call import StepCall
from tasks.engine.execute import Outcome
from tasks.engine.processes import Ended, StepCode, Workers
from tasks.import_data import ImportStepConfig, import_data
from tasks.sft import SFTStepConfig, sft
from tests.tasks.bench import Bench, call_of, wait_for
from tests.tasks.little_policy import little_policy
from tests.tasks.little_steps import HeldConfig, read_when_told

TEXT = AssetName("model", "text", "V1")


def replaced(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def edited(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.write(text)


def as_if_untouched(path: Path, text: str) -> None:
    """Of the same length and time."""
    at = path.stat()
    edited(path, text)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


WAYS = (replaced, edited, as_if_untouched)


class Held:
    """A step that waits for a word before it reads a file, and for another before it ends."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.file = folder / "data" / "words.txt"
        self.file.parent.mkdir()
        self.file.write_text("first")
        config = HeldConfig(folder=folder)
        self.call = call_of(read_when_told, config, name="text", sources={"file": (self.file,)})
        self.ended: list[Outcome | BaseException] = []
        self.thread = threading.Thread()

    def start(self) -> None:
        for name in ("started", "read", "has-read", "end"):
            (self.folder / name).unlink(missing_ok=True)
        self.ended.clear()
        self.thread = threading.Thread(target=self._execute)
        self.thread.start()
        self.wait_for("started")

    def say(self, word: str) -> None:
        (self.folder / word).touch()

    def wait_for(self, name: str) -> None:
        wait_for(lambda: (self.folder / name).exists() or bool(self.ended), name, 120)

    def outcome(self) -> Outcome | BaseException:
        self.say("read")
        self.say("end")
        self.thread.join(120)
        (ended,) = self.ended
        return ended

    def recorded(self) -> str:
        """The content of the file by the run's lineage."""
        (edge,) = self.bench.store.lineage(TEXT).edges[:1]
        (content,) = self.bench.store.version(edge.version_id).objects
        return content.sha256

    def _execute(self) -> None:
        try:
            self.ended.append(self.bench.execute(self.call))
        except BaseException as error:
            self.ended.append(error)


@pytest.fixture
def held(bench: Bench, tmp_path: Path) -> Held:
    return Held(bench, tmp_path)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No source is small enough to be copied."""
    monkeypatch.setattr(outside_files, "COPIED_BYTES", -1)
    monkeypatch.setattr(outside_files, "SECONDS_BETWEEN_LOOKS", 0.0)


FIRST = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"  # sha256 of "first"


@pytest.mark.slow
@pytest.mark.parametrize("change", WAYS)
def test_a_small_file_that_changes_before_it_is_read_is_read_as_it_was_hashed(
    held: Held, change: Callable[[Path, str], None]
) -> None:
    held.start()
    change(held.file, "other")
    assert isinstance(held.outcome(), Outcome)
    assert held.bench.text(str(TEXT)) == "first"
    assert held.recorded() == FIRST
    held.start()
    assert isinstance(held.outcome(), Outcome)
    assert held.bench.text(str(TEXT)) == "other", "the next command takes the file as it is then"


@pytest.mark.slow
@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", WAYS)
def test_a_large_file_that_changes_before_it_is_read_ends_the_step_and_nothing_is_kept(
    held: Held, change: Callable[[Path, str], None]
) -> None:
    held.start()
    change(held.file, "other")
    error = held.outcome()
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{held.file} changed while read_when_told of V1 was reading it")
    assert held.bench.states("read_when_told") == ["failed"]
    assert held.bench.store.head(TEXT) is None
    held.file.write_text("first")
    held.start()
    assert isinstance(held.outcome(), Outcome)
    assert (held.bench.text(str(TEXT)), held.recorded()) == ("first", FIRST)


@pytest.mark.usefixtures("large")
def test_a_large_file_that_is_gone_ends_the_step_at_once(held: Held) -> None:
    held.start()
    held.file.unlink()
    wait_for(lambda: bool(held.ended), "the end of a step that was told nothing", 60)
    assert isinstance(held.outcome(), InputError)


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_checkpoint_that_was_learned_of_another_file_is_not_gone_on_from(held: Held) -> None:
    """The file is put back after the step has read the other one: by its fingerprint the next attempt is the same."""
    held.start()
    held.file.rename(held.file.with_suffix(".kept"))
    held.file.write_text("other")
    held.say("read")
    assert isinstance(held.outcome(), InputError)
    held.file.with_suffix(".kept").rename(held.file)
    work = held.bench.store.root / "work"
    held.start()
    assert len([path for path in work.iterdir() if path.is_dir()]) == 1, "it is the same computation"
    assert isinstance(held.outcome(), Outcome)
    assert held.bench.text(str(TEXT)) == "first"


@pytest.mark.usefixtures("large")
def test_a_large_file_that_was_only_touched_is_hashed_again_and_does_no_harm(held: Held) -> None:
    held.start()
    held.file.touch()
    held.file.chmod(0o600)
    assert isinstance(held.outcome(), Outcome)
    assert held.recorded() == FIRST


class EditingFirst(Workers):
    """Change something when everything is laid out and the worker is about to be told."""

    def __init__(self, workers: Workers, change: Callable[[], object]) -> None:
        super().__init__()
        self.workers, self.change = workers, change

    def code(self, module: str) -> StepCode:
        return self.workers.code(module)

    def run(self, folder: Path, on_wait: Callable[[], None]) -> Ended:
        self.change()
        return self.workers.run(folder, on_wait)


@pytest.mark.slow
def test_import_data_makes_its_rows_of_the_file_that_it_names(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "How do llamas sleep?"}) + "\n")
    whole = call_of(import_data, ImportStepConfig(), part="base", sources={"helpfulness_prompts": (path,)})
    outputs = {role: asset for role, asset in whole.outputs.items() if role in ("prompts", "refused")}
    call = replace(whole, outputs=outputs)
    bench.workers = EditingFirst(bench.workers, lambda: replaced(path, json.dumps({"prompt": "Other?"}) + "\n"))
    (row,) = bench.store.rows(bench.execute(call).outputs["prompts"][1]).to_pylist()
    assert row["messages"][0]["content"] == "How do llamas sleep?"
    assert row["source"] == "prompts.jsonl:1"
    bench.workers.change = lambda: None
    again = bench.execute(call)
    assert not again.cached
    (row,) = bench.store.rows(again.outputs["prompts"][1]).to_pylist()
    assert row["messages"][0]["content"] == "Other?"


def test_an_error_names_the_users_file_and_not_the_copy_of_it(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "How?"}\nno JSON\n')
    call = call_of(import_data, ImportStepConfig(), part="base", sources={"helpfulness_prompts": (path,)})
    outputs = {role: asset for role, asset in call.outputs.items() if role in ("prompts", "refused")}
    with pytest.raises(InputError, match=f"import_data of base: {path} line 2: not JSON"):
        bench.execute(replace(call, outputs=outputs))
    assert not list((bench.store.root / "work").glob("*/sources"))


def base_call(folder: Path) -> StepCall:
    """SFT without demonstrations: the policy is the base model, written anew."""
    return call_of(sft, SFTStepConfig(training=SFTConfig()), name="policy", sources={"base": (folder,)})


def overwrite_weights(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(bytes(64))


def overwrite_template(folder: Path) -> None:
    edited(folder / "chat_template.jinja", "{{ 'another template' }}")


@pytest.mark.slow
@pytest.mark.parametrize("change", [overwrite_weights, overwrite_template])
def test_a_base_model_is_learned_from_as_it_was_hashed_with_its_template(
    bench: Bench, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = little_policy(tmp_path)
    kept = shutil.copytree(folder, tmp_path / "kept")
    bench.workers = EditingFirst(bench.workers, lambda: change(folder))
    made = bench.store.checkout(bench.execute(base_call(folder)).outputs["policy"][1])
    expected, found = load_file(kept / "model.safetensors"), load_file(made / "model.safetensors")
    assert all(found[name].equal(tensor) for name, tensor in expected.items() if name in found)
    assert (made / "chat_template.jinja").read_text() == (kept / "chat_template.jinja").read_text()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", [overwrite_weights, overwrite_template])
def test_a_base_model_too_large_to_copy_that_changes_while_it_is_read_makes_no_policy(
    bench: Bench, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = little_policy(tmp_path)
    bench.workers = EditingFirst(bench.workers, lambda: change(folder))
    with pytest.raises(InputError, match="changed while sft of V1 was reading it"):
        bench.execute(base_call(folder))
    assert bench.store.head(AssetName("model", "policy", "V1")) is None
    assert bench.states("sft") == ["failed"]
