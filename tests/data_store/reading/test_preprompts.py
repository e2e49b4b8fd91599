from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.reading.preprompts import read_preprompts


def test_records_are_for_every_prompt_or_for_a_category(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(
        '{"preprompt": "be  safe."}\n{"preprompt": "no guns.", "category": "weapons"}\n'
        '{"preprompt": "be kind.", "category": ""}\n{"preprompt": "be safe.", "category": "weapons"}\n'
    )
    assert read_preprompts(file) == (("be safe.", "be kind."), {"weapons": ("no guns.", "be safe.")})


def test_of_a_text_file_each_line_is_for_every_prompt(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("be safe.\n\nbe kind.\n")
    assert read_preprompts(file) == (("be safe.", "be kind."), {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", '{"preprompt": "a"}\n{"preprompt": " "}\n', "line 2: field 'preprompt' is empty"),
        ("p.jsonl", '{"preprompt": "a"}\n{"preprompt": "a"}\n', "line 2: field 'preprompt' stands in the file already"),
        ("p.jsonl", '{"preprompt": "a"}\n{"text": "b"}\n', "line 2: there is no field 'preprompt'"),
        ("p.jsonl", '{"preprompt": "a", "category": "<b>Weapons"}\n', "line 1: field 'category' is '<b>Weapons'"),
        ("p.jsonl", '{"preprompt": "a", "category": "weapons"}\n', "no pre-prompt is for every prompt"),
        ("p.txt", "\n", "no pre-prompt is for every prompt"),
        ("p.txt", "".join(f"say {n}\n" for n in range(1001)), "more than 1000 pre-prompts"),
    ],
)
def test_what_is_no_preprompt_is_refused_with_file_line_and_field(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_preprompts(file)
    assert name in str(error.value)
    assert message in str(error.value)
