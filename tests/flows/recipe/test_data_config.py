"""Files, folders and patterns of `data`: which files they are, and how each is read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.recipe.config import RunConfig, dump_config, load_config, parse_config
from flows.recipe.plan import build_plan
from tasks.file_roles import NamedFile
from tests.flows.recipe_runs import POCKET


def config(folder: Path, **data: Any) -> RunConfig:
    """A run on files; each that is named is made, with nothing in it."""
    given = {"documents": ["d.txt"], "demonstrations": ["s.jsonl"], **data}
    given = {"helpfulness_preferences": ["h.jsonl"], "safety_preferences": ["x.jsonl"], **given}
    for name in ("d.txt", "s.jsonl", "h.jsonl", "x.jsonl"):
        (folder / name).touch()
    content = {**yaml.safe_load(POCKET), "annotator": None, "gatt": None, "data": given}
    (folder / "c.yaml").write_text(yaml.safe_dump(content))
    return load_config(folder / "c.yaml")


def laid_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_as_the_hub_has_it_serves_every_role_and_its_names_say_the_split(tmp_path: Path) -> None:
    laid_out(
        tmp_path / "hub",
        *("data/train-00000-of-00002.parquet", "data/test-00000-of-00001.parquet", "dev.jsonl.zst", "more.tsv"),
        *("README.md", "LICENSE.txt", "dataset_infos.json", ".git/x.jsonl", ".half.jsonl", "notes.doc"),
    )
    found = config(tmp_path, helpfulness_preferences=["hub"], demonstrations=["hub"], documents=["hub"]).data.laid_out()
    splits = {
        path.relative_to(tmp_path / "hub").as_posix(): said.split for path, said in found["demonstrations"].items()
    }
    assert splits == {
        "data/test-00000-of-00001.parquet": "heldout",
        "data/train-00000-of-00002.parquet": None,
        "dev.jsonl.zst": "validation",
        "more.tsv": None,
    }
    assert found["helpfulness_preferences"] == found["demonstrations"]
    assert {said.split for said in found["documents"].values()} == {None}  # a corpus has no splits


def test_a_saved_data_set_is_its_arrow_files_by_the_folders_of_its_splits(tmp_path: Path) -> None:
    laid_out(
        tmp_path / "set",
        *("dataset_dict.json", "train/data-00000-of-00001.arrow", "train/state.json", "train/dataset_info.json"),
        "test/data-00000-of-00001.arrow",
    )
    found = config(tmp_path, safety_preferences=["set"]).data.laid_out()["safety_preferences"]
    assert [(path.parent.name, said.split) for path, said in found.items()] == [("test", "heldout"), ("train", None)]


def test_a_pattern_and_a_file_named_test_say_no_split_by_themselves(tmp_path: Path) -> None:
    laid_out(tmp_path, "pairs/test-a.jsonl", "pairs/b.jsonl")
    found = config(tmp_path, helpfulness_preferences=["pairs/*.jsonl", "pairs/test-a.jsonl"]).data.laid_out()
    splits = {path.name: said.split for path, said in found["helpfulness_preferences"].items()}
    assert splits == {"b.jsonl": None, "test-a.jsonl": None}


def test_what_is_said_of_a_file_reaches_its_import_by_the_end_of_its_path(tmp_path: Path) -> None:
    laid_out(tmp_path, "a/x.json", "b/x.json")
    read = config(
        tmp_path,
        helpfulness_preferences=[{"path": "a/x.json", "question": "helpful"}, "b/x.json"],
        safety_preferences=[{"path": "a/x.json", "question": "safe", "format": "label_studio"}],
    )
    assert parse_config(dump_config(read)) == read
    assert build_plan(read)["base", "import_data"].config.of_files == (  # type: ignore[attr-defined]
        NamedFile(role="helpfulness_preferences", name="a/x.json", question="helpful"),
        NamedFile(role="safety_preferences", name="a/x.json", question="safe", format="label_studio"),
    )


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"path": "h.jsonl", "formt": "hh"}, r"there is no key data\.helpfulness_preferences\.0\.formt"),
        (
            {"path": "h.jsonl", "split": "tset"},
            r"data\.helpfulness_preferences\.0\.split: .*'heldout' \(given: 'tset'\)",
        ),
        ({"format": "hh"}, r"data\.helpfulness_preferences\.0\.path: Field required"),
        ({"path": "h.jsonl", "text_field": "t"}, r"helpfulness_preferences: text_field means nothing for h\.jsonl"),
        ({"path": "gone.jsonl"}, r"data\.helpfulness_preferences: there is no file .*gone\.jsonl"),
        (3, r"data\.helpfulness_preferences\.0: Input is not a valid path"),
    ],
)
def test_an_entry_that_says_something_unknown_is_named(tmp_path: Path, entry: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        config(tmp_path, helpfulness_preferences=[entry])


def test_a_folder_without_rows_is_named_with_what_is_looked_for(tmp_path: Path) -> None:
    laid_out(tmp_path / "hub", "README.md")
    with pytest.raises(InputError, match=r"data\.safety_preferences: there is no \.jsonl, .*\.parquet.* file in .*hub"):
        config(tmp_path, safety_preferences=["hub"])
