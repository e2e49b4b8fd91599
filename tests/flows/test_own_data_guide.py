"""docs/your-own-data.md is true: its messages are those of the readers, its reasons are those that are counted."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from data_store.errors import InputError
from data_store.reading import dialogue_readers, messages, preference_readers, readers, row_import
from data_store.reading.bad_rows import BAD_ROW
from data_store.reading.dialogue_formats.registry import DIALOGUE_FORMATS
from data_store.reading.dialogue_readers import HELD_OUT
from data_store.reading.preference_formats import hh, label_studio_answers, oasst, pairs, rows, scores
from data_store.reading.preference_formats.registry import FORMATS
from data_store.reading.readers import read_dialogues, read_documents, read_instructions, read_preferences
from flows.recipe.data_config import DataFile
from tasks.judging import endpoint, folder, verdicts
from tests.flows.recipe_runs import ROOT

GUIDE = (ROOT / "docs" / "your-own-data.md").read_text()
READERS: dict[str, Callable[[Path], object]] = {
    "documents": lambda path: list(read_documents([path])),
    "demonstrations": lambda path: read_dialogues([path]),
    "preferences": lambda path: read_preferences([path], "rows"),
}
MESSAGES = re.findall(r"^\| (\w+) `(\w\.jsonl)` \| `(.*?)` \| (.*) \|$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(("role", "name", "line", "message"), MESSAGES, ids=[entry[1] for entry in MESSAGES])
def test_broken_input_is_answered_with_the_message_of_the_guide(
    tmp_path: Path, role: str, name: str, line: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(line + "\n")
    with pytest.raises(InputError) as caught:
        READERS[role](path)
    assert str(caught.value).startswith(f"{path} {message}")


def test_the_guide_shows_a_message_for_each_kind_of_file() -> None:
    assert {role for role, *_ in MESSAGES} == set(READERS)


def test_the_guide_names_every_reason_to_refuse_a_row() -> None:
    section = GUIDE[GUIDE.index("| reason |") : GUIDE.index("Documents go through")]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
    plain = _reasons(readers, dialogue_readers, preference_readers, row_import, messages, pairs, rows, hh)
    plain |= {pairs.EXCLUDED_LABEL, pairs.OTHER_AXIS, HELD_OUT, BAD_ROW}
    of_exports, of_sources = {"system_message", "holds_a_turn_mark"}, {"no_pair"}
    assert named == plain - of_exports - of_sources


def test_the_guide_names_every_key_of_a_file_and_every_format_of_dialogues() -> None:
    keys = GUIDE[GUIDE.index("| key | of which files |") : GUIDE.index("A dialogue is told by its fields")]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", keys, re.MULTILINE)))) == set(
        DataFile.model_fields
    )
    formats = GUIDE[GUIDE.index("| `format` | fields |") : GUIDE.index("`system` (or `system_prompt`)")]
    told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", formats, re.MULTILINE))
    told.pop("format")  # the heading
    assert told == {name: each.about for name, each in DIALOGUE_FORMATS.items()}


def test_the_page_on_sources_names_every_format_of_preferences() -> None:
    page = (ROOT / "docs" / "preference-sources.md").read_text()
    table = page[page.index("| `preference_format` |") : page.index("A source is `FILE:LINE`")]
    named = re.findall(r"^\| (`.*?`) \| ", table, re.MULTILINE)
    assert {name for cell in named for name in re.findall(r"`(\w+)`", cell)} == {"preference_format", *FORMATS}


def test_the_page_on_sources_names_every_other_reason() -> None:
    page = (ROOT / "docs" / "preference-sources.md").read_text()
    found = _reasons(*(inspect.getmodule(each.read) for each in FORMATS.values()), scores, endpoint, folder, verdicts)
    found |= _reasons(label_studio_answers)
    found |= set(re.findall(r'return "(\w+)"', Path(str(oasst.__file__)).read_text())) | {verdicts.ORDERS_DISAGREE}
    assert {"tie", "deleted", "not_submitted", "answer_not_as_asked", "too_long"} <= found
    assert [reason for reason in sorted(found) if f"`{reason}`" not in page + GUIDE] == []


def _reasons(*modules: ModuleType | None) -> set[str]:
    """The reasons that the code of these modules gives."""
    code = "".join(Path(str(module.__file__)).read_text() for module in modules)
    return set(re.findall(r'(?:RefusedRowError\(\s*|Refusal\([^,]+, )"(\w+)"', code))


def test_the_dialogues_and_the_pair_of_the_guide_can_be_read(tmp_path: Path) -> None:
    dialogues, pair, instruction = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "dialogues.jsonl").write_text(dialogues)
    (tmp_path / "pairs.jsonl").write_text(pair)
    read = read_dialogues([tmp_path / "dialogues.jsonl"])
    assert len(read.rows) == 5  # the last record holds two instances
    assert len(read.refused) == 0
    (row,) = read_preferences([tmp_path / "pairs.jsonl"], "rows").rows.to_pylist()
    assert (row["rating"], row["safety_label"], row["annotator"]) == ("significantly_better", "both_safe", "anna")
    (tmp_path / "always.jsonl").write_text(instruction)
    row, checked = read_instructions([tmp_path / "always.jsonl"]).rows.to_pylist()
    assert checked["check"] == '{"contains":["chess"]}'
    assert (row["short"], row["kind"], row["split"]) == ("Language: French.", "language", "train")
