"""Every file that would stop a run is named before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_store.errors import InputError
from flows.cli import app
from flows.data_look import check_data, unread
from flows.recipe.config import load_config
from flows.session import session_of
from flows.shown.status import stale_keys
from flows.up_to_date import look
from models.mix_config import MixConfig, SourceConfig
from tests.flows.test_cli import document, files_config, pair


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))


def test_all_bad_files_are_named_at_once_each_with_its_first_row_and_how_many_more(tmp_path: Path) -> None:
    path = files_config(
        tmp_path,
        documents=[document(1), '{"text": "brok', {"text": 7}],
        helpfulness_preferences=[pair(0), pair(1, rating="fine")],
        safety_preferences=[pair(2), {"note": "?"}],
    )
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "data.documents",
        "data.helpfulness_preferences",
        "data.safety_preferences",
    ]
    assert "documents.jsonl line 2: not JSON" in lines[0]
    assert lines[0].endswith("(and 1 more rows of this file)")
    assert "helpfulness_preferences.jsonl line 2: field 'rating' is 'fine'" in lines[1]
    assert "safety_preferences.jsonl line 2: there is no field" in lines[2]


def test_a_dry_run_says_of_a_bad_file_what_a_run_would_say_and_makes_no_store(tmp_path: Path) -> None:
    path = files_config(tmp_path, documents=[document(1), '{"text": "brok'])
    told = CliRunner().invoke(app, ["run", str(path), "--plan"])
    assert told.exit_code == 2
    assert "documents.jsonl line 2: not JSON" in told.output
    assert not (tmp_path / "home").exists()


def test_documents_beside_a_base_model_without_a_mix_are_said_to_be_read_by_nobody(tmp_path: Path) -> None:
    config = load_config(files_config(tmp_path))
    assert config.data.documents
    assert unread(config) == ""
    based = config.model_copy(update={"base_model": tmp_path})
    assert unread(based) == "data.documents are not read: base_model is pretrained on only with a mix"
    mix = MixConfig(sources=(SourceConfig(name="all", files=("*",), weight=1),))
    assert unread(based.model_copy(update={"mix": mix})) == ""


def with_mix(path: Path, *sources: str) -> Path:
    """The config with a mix of sources `NAME PATTERN`."""
    listed = "".join(
        f"    - {{name: {each.split()[0]}, files: ['{each.split()[1]}'], weight: 1}}\n" for each in sources
    )
    path.write_text(f"{path.read_text()}mix:\n  sources:\n{listed}")
    return path


def test_patterns_of_a_mix_that_fit_no_file_and_files_that_fit_none_are_told_before_anything_is_read(
    tmp_path: Path,
) -> None:
    path = with_mix(files_config(tmp_path), "web c4*", "books *.txt")
    told = CliRunner().invoke(app, ["run", str(path), "--plan"])
    assert told.exit_code == 2
    lines = [" ".join(line.split()) for line in told.output.splitlines()]
    assert any("mix.sources: no source holds documents.jsonl: name it in the files of one" in line for line in lines)
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    unheld, web, books = str(caught.value).splitlines()
    assert "no source holds documents.jsonl" in unheld
    assert web == (
        "mix.sources: web has no document: no file of the corpus fits c4* that no source before it holds; the files "
        "are documents.jsonl"
    )
    assert "books has no document" in books


def test_a_source_whose_files_another_one_before_it_holds_is_told_and_one_that_has_its_own_is_not(
    tmp_path: Path,
) -> None:
    path = with_mix(files_config(tmp_path), "all *", "rest documents*")
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    (fault,) = str(caught.value).splitlines()
    assert fault.startswith("mix.sources: rest has no document")
    with session_of(load_config(with_mix(files_config(tmp_path), "all documents*"))) as session:
        check_data(session.plan, stale_keys(look(session).cells))


def test_a_wrong_text_field_is_named_with_the_fields_that_there_are(tmp_path: Path) -> None:
    """Not that the file is empty, which comes of leaving out all of its rows."""
    path = files_config(tmp_path, documents=[{"body": "a sound line"}, {"body": "another"}])
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    assert "documents.jsonl line 1: there is no field 'text'; the fields are body" in str(caught.value)
    assert "(and 1 more rows of this file)" in str(caught.value)


def test_sound_files_and_bad_rows_that_are_to_be_left_out_stop_nothing(tmp_path: Path) -> None:
    sound = files_config(tmp_path)
    with session_of(load_config(sound)) as session:
        check_data(session.plan, stale_keys(look(session).cells))
    path = files_config(tmp_path, documents=[*map(document, range(40)), '{"text": "brok'])
    path.write_text(
        path.read_text().replace("  preference_format: rows", "  preference_format: rows\n  on_bad_row: drop")
    )
    with session_of(load_config(path)) as session:
        check_data(session.plan, stale_keys(look(session).cells))


def test_a_file_of_which_too_many_rows_would_be_left_out_is_named_with_the_others_before_a_run(tmp_path: Path) -> None:
    path = files_config(
        tmp_path,
        documents=[*map(document, range(8)), '{"text": "brok'],
        helpfulness_preferences=[pair(0), {"note": "?"}],
        safety_preferences=[*map(pair, range(10, 20)), {"note": "?"}],
    )
    path.write_text(
        path.read_text().replace("  preference_format: rows", "  preference_format: rows\n  on_bad_row: drop")
    )
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    documents, pairs = str(caught.value).splitlines()  # of the safety pairs 1 of 11 is less than a tenth
    assert documents.startswith("data.documents: 1 of 9 rows of ")
    assert "cannot be read, and data.max_bad_share is 0.1: mend the file, or raise it. The first: " in documents
    assert pairs.startswith("data.helpfulness_preferences: 1 of 2 rows of ")
    assert "helpfulness_preferences.jsonl line 2: there is no field" in pairs


def test_files_that_a_quality_classifier_learns_from_are_looked_at_too(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a sound line"}\n')
    (tmp_path / "d.jsonl").write_text('{"text": "a sound line"}\n{"content": "another"}\n')
    path = files_config(tmp_path)
    names = [f"{{name: {name}, files: [{name}.jsonl]}}" for name in "abcd"]
    sides = f"  positives: [{', '.join(names[:2])}]\n  negatives: [{', '.join(names[2:])}]\n"
    path.write_text(f"{path.read_text()}\nquality:\n  languages: [en]\n{sides}")
    with session_of(load_config(path)) as session, pytest.raises(InputError) as caught:
        check_data(session.plan, stale_keys(look(session).cells))
    assert str(caught.value).startswith("quality: d: ")
    assert "d.jsonl line 2: there is no field 'text'" in str(caught.value)
