"""What tells of an answer whether it keeps an instruction."""

import pytest

from data_store.errors import InputError
from data_store.reading.instruction_checks import InstructionCheck, read_check


@pytest.mark.conformance(
    "an instruction that is kept because the judge says so",
    equation="data_store.reading.instruction_checks:InstructionCheck.kept_by",
)
@pytest.mark.parametrize(
    ("check", "kept", "broken"),
    [
        ({"contains": ["garden", "green thumb"]}, ["My Garden grows.", "A green\nthumb!"], ["gardening", "green", ""]),
        ({"lacks": ["sorry"]}, ["Here it is."], ["I am SORRY.", " - "]),
        ({"starts_with": "Dear reader"}, ["dear reader, no."], ["Dear old reader.", "So, dear reader"]),
        ({"ends_with": "over and out"}, ["Yes. Over and out!"], ["Over and out. Yes.", "out"]),
        ({"script": "hangul"}, ["고양이는 OK입니다", "네."], ["The word is 고양이 here", "123", "Yes"]),
        ({"script": "latin"}, ["Ça va, 고?"], ["고양이 is"]),
        ({"case": "upper"}, ["ALL OF 3 IT."], ["All of it."]),
        ({"case": "lower"}, ["all of it."], ["all of It."]),
        ({"min_words": 2, "max_words": 3}, ["one two", "one, two - three"], ["one", "one two three four", ""]),
        ({"starts_with": "aye", "max_words": 2}, ["Aye sir"], ["Aye my good sir", "my sir"]),
    ],
)
def test_an_answer_keeps_an_instruction_where_all_of_its_check_holds(
    check: dict[str, object], kept: list[str], broken: list[str]
) -> None:
    found = InstructionCheck.model_validate(check)
    assert [found.kept_by(answer) for answer in kept] == [True] * len(kept)
    assert [found.kept_by(answer) for answer in broken] == [False] * len(broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"contain": ["x"]}', "line 3: field 'check.contain': Extra inputs are not permitted"),
        ("{}", "line 3: field 'check': give at least one of contains, lacks, starts_with"),
        ('{"script": "runes"}', "line 3: field 'check.script': Input should be 'latin', 'hangul'"),
        ('{"contains": ["!"]}', "line 3: field 'check.contains.0': String should match pattern"),
        ("[1]", "line 3: field 'check': Input should be an object"),
        ("{", "line 3: field 'check': Invalid JSON"),
    ],
)
def test_what_is_no_check_is_refused_with_its_row(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_check(text, "a.jsonl line 3")
    assert message in str(refused.value)
