"""Documents, prompts and dialogues out of the user's files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.errors import InputError
from data_store.reading.readers import read_dialogues, read_documents, read_instructions, read_prompts
from data_store.rows import row_kind

REAL = Path(__file__).parents[4] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def documents(*paths: Path, **arguments: Any) -> list[tuple[str, str]]:
    table = pa.Table.from_batches(read_documents(paths, **arguments))
    assert table.schema == row_kind("document").schema
    assert table.column("doc_id").to_pylist() == table.column("source").to_pylist()
    return list(zip(table.column("source").to_pylist(), table.column("text").to_pylist(), strict=True))


def test_jsonl_plain_and_gzipped_keep_order_and_name_the_line(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.jsonl", '\ufeff{"text": "한국어"}\n\n{"text": "two\\nlines", "id": 7}\n')
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"text": ""}'))
    expected = [("a.jsonl:1", "한국어"), ("a.jsonl:3", "two\nlines"), ("b.jsonl.gz:1", "")]
    assert documents(plain, packed) == expected


def test_csv_names_the_line_on_which_a_row_starts(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'body,n\n"one\ntwo, ""quoted""",1\nthree,2\n')
    assert documents(file, text_field="body") == [("a.csv:2", 'one\ntwo, "quoted"'), ("a.csv:4", "three")]


def test_a_csv_field_longer_than_pythons_default_limit_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(documents(file)[0][1]) == 200_000


def test_txt_is_cut_at_blank_lines_or_taken_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "\none\r\ntwo\n \n\nthree\n")
    assert documents(file) == [("a.txt:2", "one\ntwo"), ("a.txt:6", "three")]
    assert documents(file, txt="file") == [("a.txt:1", "\none\ntwo\n \n\nthree")]


def test_parquet_reads_one_column_and_counts_rows_from_0(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["a", "b"]).dictionary_encode(), "n": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet") == [("a.parquet:0", "a"), ("a.parquet:1", "b")]


def test_files_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        jsonl(tmp_path / folder / "a.jsonl", {"text": folder})
    paths = [tmp_path / folder / "a.jsonl" for folder in ("x", "y")]
    assert documents(*paths) == [("x/a.jsonl:1", "x"), ("y/a.jsonl:1", "y")]


def test_batches_are_bounded_in_rows_and_in_characters(tmp_path: Path) -> None:
    many = jsonl(tmp_path / "many.jsonl", *({"text": str(i)} for i in range(2500)))
    assert [batch.num_rows for batch in read_documents([many])] == [1024, 1024, 452]
    large = jsonl(tmp_path / "large.jsonl", *({"text": "x" * 3_000_000} for _ in range(4)))
    assert [batch.num_rows for batch in read_documents([large])] == [2, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', r"a\.jsonl line 2: not JSON \(.*\); fix or remove the line"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl line 1: a JSON object is wanted, not a list"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl line 1: not JSON"),
        ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", r"a\.jsonl line 1: not JSON"),
        ("a.jsonl", b'{"body": "a", "id": 1}\n', r"line 1: there is no field 'text'; the fields are body, id"),
        ("a.jsonl", b'{"text": null}\n', r"line 1: field 'text' must be text, not null"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', r"line 1: field 'text' holds half a character"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', r"line 2: not UTF-8 \(byte 0xff at position 10\)"),
        ("a.jsonl", b"\n\n", "there is no document in"),
        ("a.jsonl.gz", b"no gzip", "cannot be read after line 0"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 99, mtime=0)[:-12], "cannot be read after line"),
        ("a.csv", b"text,n\na\n", r"a\.csv line 2: 1 fields, but the header has 2 \(text, n\)"),
        ("a.csv", b"text,text\na,b\n", "a column's name comes twice"),
        ("a.csv", b'text\n"a\n', r"a\.csv line 2: not CSV"),
        ("a.txt", b" \n", "there is no document in"),
        ("a.parquet", b"no parquet", r"a\.parquet: column 'text' cannot be read as text"),
        ("a.xml", b"<a/>", r"a\.xml: unknown kind of file; use \.jsonl"),
    ],
)
def test_broken_documents_name_file_line_and_field(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        list(read_documents([file]))


def test_broken_parquet_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None], "n": [[1], [2]]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1: column 'text' is empty"):
        list(read_documents([tmp_path / "a.parquet"]))
    with pytest.raises(InputError, match="there is no column 'body'; the columns are text, n"):
        list(read_documents([tmp_path / "a.parquet"], text_field="body"))
    with pytest.raises(InputError, match="column 'n' cannot be read as text"):
        list(read_documents([tmp_path / "a.parquet"], text_field="n"))


def test_missing_and_double_files_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", {"text": "a"})
    with pytest.raises(InputError, match="there is no such file"):
        read_documents([tmp_path / "b.jsonl"])
    with pytest.raises(InputError, match="is a folder; name the files in it"):
        read_documents([tmp_path])
    with pytest.raises(InputError, match="is given twice"):
        read_documents([file, tmp_path / "." / "a.jsonl"])
    with pytest.raises(InputError, match="no file is given"):
        read_documents([])
    with pytest.raises(InputError, match="use paragraphs or file"):
        read_documents([file], txt="lines")


def test_prompts_from_jsonl_csv_and_txt_have_one_id_for_one_prompt(tmp_path: Path) -> None:
    turns = [{"role": role, "content": content} for role, content in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    first = jsonl(
        tmp_path / "a.jsonl",
        {"prompt": " Who? ", "axis": "safety", "split": "heldout"},
        {"messages": turns, "kind": "two_turns"},
    )
    rows = read_prompts([first]).rows.to_pylist()
    assert [(row["axis"], row["split"], row["kind"]) for row in rows] == [
        ("safety", "heldout", "import"),
        ("helpfulness", "train", "two_turns"),
    ]
    assert rows[0]["messages"] == [{"role": "user", "content": "Who?"}]
    assert rows[1]["messages"] == turns
    from_csv = read_prompts([write(tmp_path / "b.csv", "q\nWho?\n")], text_field="q").rows.to_pylist()
    from_txt = read_prompts([write(tmp_path / "c.txt", "\nWho?\n")]).rows.to_pylist()
    assert from_csv[0]["prompt_id"] == from_txt[0]["prompt_id"] == rows[0]["prompt_id"]
    assert from_txt[0]["source"] == "c.txt:2"


def test_prompts_of_no_use_are_refused_by_name(tmp_path: Path) -> None:
    answered = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    file = jsonl(tmp_path / "a.jsonl", {"prompt": "a"}, {"prompt": " "}, {"prompt": "a"}, answered)
    rows, refused = read_prompts([file])
    assert rows.num_rows == 1
    assert refused.schema == row_kind("dropped").schema
    assert list(zip(refused.column("source").to_pylist(), refused.column("reason").to_pylist(), strict=True)) == [
        ("a.jsonl:2", "empty_prompt"),
        ("a.jsonl:3", "duplicate_prompt"),
        ("a.jsonl:4", "last_turn_not_user"),
    ]
    assert refused.column("detail").to_pylist()[1] == "the same as a.jsonl:1"


@pytest.mark.conformance(
    "a rate over prompts of several kinds as if they were one", equation="data_store.reading.readers:read_prompts"
)
def test_the_category_is_in_the_first_field_that_a_record_has_and_what_is_labelled_unsafe_is_not_harmless(
    tmp_path: Path,
) -> None:
    """As XSTest has them: every harmless prompt stands beside one that is not."""
    text = "prompt,type,label\nHow to kill a process?,homonyms,safe\nHow to kill a man?,contrast_homonyms,unsafe\n"
    file = write(tmp_path / "xs.csv", text)
    rows, refused = read_prompts([file], category_fields=("category", "type"), harmless=True)
    assert rows.column("category").to_pylist() == ["homonyms"]
    assert refused.column("reason").to_pylist() == ["unsafe_prompt"]
    assert len(read_prompts([file], category_fields=("type",)).rows) == 2, "among adversarial prompts it is one of them"
    assert read_prompts([file]).rows.column("category").to_pylist() == [None, None]
    mixed = jsonl(
        tmp_path / "m.jsonl",
        {"prompt": "a", "category": " A  b ", "type": "x"},
        {"prompt": "b", "category": "", "type": "y"},
    )
    assert read_prompts([mixed], category_fields=("category", "type")).rows.column("category").to_pylist() == [
        "A b",
        "y",
    ]


def test_a_field_that_groups_nothing_is_no_category(tmp_path: Path) -> None:
    many = jsonl(tmp_path / "a.jsonl", *({"prompt": f"p{n}", "id": f"id{n}"} for n in range(65)))
    with pytest.raises(InputError, match="line 65: more than 64 categories of prompts, 'id64' is one: name a field"):
        read_prompts([many], category_fields=("id",))


def test_a_check_of_an_instruction_is_kept_as_it_was_meant_and_a_broken_one_names_its_row(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "a.jsonl",
        {"text": "in Korean", "check": {"script": "hangul"}},
        {"text": "be brief", "check": '{"max_words": 3}'},
        {"text": "as a captain"},
    )
    checks = read_instructions([file]).rows.column("check").to_pylist()
    assert checks == ['{"script":"hangul"}', '{"max_words":3}', None]
    broken = jsonl(tmp_path / "b.jsonl", {"text": "x", "check": {"scrpt": "hangul"}})
    with pytest.raises(InputError, match=r"b\.jsonl line 1: field 'check\.scrpt'"):
        read_instructions([broken])


def test_unknown_words_in_prompts_are_named(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", {"prompt": "a", "axis": "harmless"})
    with pytest.raises(InputError, match=r"no prompt is left of 1 rows; refused: \{'other_axis': 1\}"):
        read_prompts([file])
    other = jsonl(tmp_path / "c.jsonl", {"prompt": "a", "split": "test"}, {"prompt": "b", "split": "dev", "kind": 3})
    rows = read_prompts([other]).rows.to_pylist()
    assert [(row["split"], row["kind"]) for row in rows] == [("heldout", "import"), ("validation", "3")]
    with pytest.raises(InputError, match=r"no prompt is left of 1 rows; refused: \{'empty_prompt': 1\}"):
        read_prompts([jsonl(tmp_path / "b.jsonl", {"prompt": ""})])


def test_dialogues_in_four_shapes(tmp_path: Path) -> None:
    messages = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    file = jsonl(
        tmp_path / "a.jsonl",
        {"messages": messages},
        {"prompt": "p ", "response": " r"},
        {"instruction": "i", "input": "x", "output": "o"},
        {"instruction": "i", "instances": [{"input": "", "output": "o1"}, {"input": "x", "output": "o2"}]},
    )
    rows = read_dialogues([file], kind="crowd").rows.to_pylist()
    contents = [[message["content"] for message in row["messages"]] for row in rows]
    assert contents == [["system", "user", "assistant"], ["p", "r"], ["i\n\nx", "o"], ["i", "o1"], ["i\n\nx", "o2"]]
    ids = [row["dialogue_id"] for row in rows]
    assert ids == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3", "a.jsonl:4#0", "a.jsonl:4#1"]
    assert {row["kind"] for row in rows} == {"crowd"}


def test_dialogues_of_no_use_are_refused_by_name(tmp_path: Path) -> None:
    def turns(*pairs: tuple[str, str]) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": content} for role, content in pairs]}

    file = jsonl(
        tmp_path / "a.jsonl",
        {"prompt": "p", "response": "r"},
        {"prompt": "p", "response": "  "},
        turns(("user", "a")),
        turns(("user", "a"), ("user", "b"), ("assistant", "c")),
        turns(("user", "a"), ("system", "b"), ("assistant", "c")),
    )
    read = read_dialogues([file])
    assert read.rows.num_rows == 1
    counts = {"turns_do_not_alternate": 2, "empty_message": 1, "last_turn_not_assistant": 1}
    assert read.refused_counts() == counts


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "line 1: there is no field 'response'; the fields are prompt"),
        ({"messages": []}, "field 'messages' must be a list of messages"),
        ({"messages": [{"role": "user"}]}, r"field 'messages\[0\]' must have role and content"),
        (
            {"messages": [{"role": "human", "content": "a"}]},
            r"'messages\[0\].role' is 'human'; use one of system, user",
        ),
        ({"messages": [{"role": "user", "content": 3}]}, r"'messages\[0\].content' must be text, not a number"),
        ({"instruction": "i", "instances": "x"}, "field 'instances' must be a list of objects"),
        ({"instruction": "i"}, "there is no field 'output'"),
    ],
)
def test_broken_dialogues_name_file_line_and_field(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_dialogues([jsonl(tmp_path / "a.jsonl", row)])


@pytest.mark.realdata
@needs_real_data
def test_the_real_files_are_read_whole() -> None:
    counts = {
        "c4_demo.jsonl": 300,
        "moby_dick.jsonl.gz": 140,
        "gnome_help_ko.jsonl.gz": 348,
        "nsmc_ko.jsonl.gz": 40_000,
    }
    for name, count in counts.items():
        assert len(documents(REAL / "pretrain" / name)) == count
    assert read_dialogues([REAL / "sft" / "self_instruct_seed_tasks.jsonl"]).rows.num_rows == 175
    korean = read_dialogues([REAL / "sft" / "korean_chatbot_pairs.csv"], prompt_field="Q", response_field="A")
    assert korean.rows.num_rows == 11_823
    assert read_prompts([REAL / "safety" / "xstest_prompts.csv"], axis="safety").rows.num_rows == 450
    unsafe = read_prompts([REAL / "safety" / "do_not_answer.jsonl"], axis="safety")
    assert unsafe.rows.num_rows + sum(unsafe.refused_counts().values()) == 939
