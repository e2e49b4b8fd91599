"""Benchmarks in the formats in which they are handed round: multiple choice, and code with its tests.

A record's fields tell which one it is. Prompts and choices read as in lm-evaluation-harness, without examples before
them, so that figures can be compared.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.containers import read_records
from data_store.reading.row_import import Imported, import_rows
from data_store.reading.source_files import Record, source_files

_LETTERS = "ABCDEFGHIJ"


class _Choice(NamedTuple):
    """A question as it is asked, what can be answered, and the number of the right one."""

    prompt: str
    choices: Sequence[str]
    answer: int


class _Format(NamedTuple):
    """`fields` are those by which a record is told."""

    name: str
    fields: frozenset[str]
    read: Callable[[Record], Any]


def read_benchmark(paths: Sequence[Path], benchmark: str, suite: str) -> Imported:
    """Rows of kind benchmark_item from .jsonl, .json, .csv, each also with .gz.

    Refused by name: empty_prompt, answer_twice. Raises InputError, with file, line and field, for a record of no known
    format, an answer that is none of the choices, and an id that comes twice.
    """
    seen: dict[str, str] = {}

    def item(record: Record) -> dict[str, Any]:
        found = next((each for each in _FORMATS if each.fields <= set(record.fields)), None)
        if found is None:
            known = "; ".join(f"{each.name}: {', '.join(sorted(each.fields))}" for each in _FORMATS)
            raise InputError(f"{record.where}: the fields are of no benchmark that is known ({known})")
        item_id = str(record.fields.get("task_id", record.fields.get("id", record.source)))
        if item_id in seen:
            raise InputError(f"{record.where}: the id {item_id!r} is that of {seen[item_id]} already; make it unique")
        seen[item_id] = record.source
        read = found.read(record)
        asked = _checked(record, read) if isinstance(read, _Choice) else read
        row = {"choices": None, "answer": None, "tests": None, "entry_point": None, **asked}
        return {"benchmark": benchmark, "suite": suite, "item_id": item_id, "source": record.source, **row}

    records = (record for file in source_files(paths) for record in read_records(file))
    return import_rows(records, item, "benchmark_item")


def _checked(record: Record, read: _Choice) -> dict[str, Any]:
    if len(read.choices) < 2:
        raise InputError(f"{record.where}: two choices or more are wanted, there is {list(read.choices)}")
    if not 0 <= read.answer < len(read.choices):
        raise InputError(f"{record.where}: the answer is choice {read.answer}, of {len(read.choices)} from 0 on")
    if not read.prompt.strip() or not all(choice.strip() for choice in read.choices):
        raise RefusedRowError("empty_prompt", "the question or a choice is empty")
    if read.choices.count(read.choices[read.answer]) > 1:
        raise RefusedRowError("answer_twice", f"another choice is the same as the right one: {list(read.choices)}")
    return {"form": "choice", "prompt": read.prompt, "choices": list(read.choices), "answer": read.answer}


def _number(record: Record, field: str, of: Sequence[str] = ()) -> int:
    """A whole number, or a text of `of` by its place: a number is never taken for a choice that is one."""
    value = record.fields[field]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value in of:
        return list(of).index(value)
    try:
        return int(str(value))
    except ValueError:
        wanted = f" or one of {', '.join(of)}" if of else ""
        raise InputError(f"{record.where}: field {field!r} is {value!r}; a whole number{wanted} is wanted") from None


def _texts(record: Record, field: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"{record.where}: field {field!r} must be a list of texts")
    return [record.check_text(f"{field}[{number}]", each) for number, each in enumerate(value)]


def _lettered(question: str, choices: Sequence[str], answer: int, ask: str) -> _Choice:
    """Choices are shown, and answered by their letter."""
    letters = _LETTERS[: len(choices)]
    shown = "".join(f"\n{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
    return _Choice(f"{question.strip()}{shown}\n{ask}", list(letters), answer)


def _plain(record: Record) -> _Choice:
    """Ours: `question`, `choices`, `answer` (a number from 0, or the choice itself); MMLU's too, which has letters."""
    choices = _texts(record, "choices", record.fields["choices"])
    answer = _number(record, "answer", choices)
    if "subject" in record.fields:
        if len(choices) > len(_LETTERS):
            raise InputError(f"{record.where}: field 'choices' has {len(choices)}; {len(_LETTERS)} have a letter")
        return _lettered(record.text("question"), choices, answer, "Answer:")
    return _Choice(f"Question: {record.text('question').strip()}\nAnswer:", choices, answer)


def _listed(record: Record) -> _Choice:
    """CommonsenseQA and OpenBookQA as texts: lines of «A. bank», one of which is the answer."""
    lines = [line.strip() for line in record.text("options").splitlines() if re.search(r"\w", line)]
    if not all(re.match(r"[A-J]\. ", line) for line in lines):
        raise InputError(f"{record.where}: field 'options' must hold lines such as 'A. bank'")
    answer, letters = record.text("answer").strip(), [line[0] for line in lines]
    if answer[:1] not in letters:  # texts of the data sets differ from the option's in a dot or a blank
        raise InputError(f"{record.where}: field 'answer' is {answer!r}, none of the options {lines}")
    asked = f"Question: {record.text('question').strip()}\nAnswer:"
    return _Choice(asked, [line[3:] for line in lines], letters.index(answer[0]))


def _arc(record: Record) -> _Choice:
    given = record.fields["choices"]
    if not isinstance(given, Mapping) or not {"text", "label"} <= set(given):
        raise InputError(f"{record.where}: field 'choices' must hold text and label")
    labels = _texts(record, "choices.label", given["label"])
    if record.fields["answerKey"] not in labels:
        raise InputError(
            f"{record.where}: field 'answerKey' is {record.fields['answerKey']!r}; the labels are {labels}"
        )
    asked = f"Question: {record.text('question')}\nAnswer:"
    return _Choice(asked, _texts(record, "choices.text", given["text"]), labels.index(record.fields["answerKey"]))


def _hellaswag(record: Record) -> _Choice:
    context = f"{record.text('ctx_a')} {record.text('ctx_b').capitalize()}"
    endings = _texts(record, "endings", record.fields["endings"])
    asked = _of_wikihow(f"{record.text('activity_label')}: {context}")
    return _Choice(asked, [_of_wikihow(ending) for ending in endings], _number(record, "label"))


def _of_wikihow(text: str) -> str:
    """Without the marks that WikiHow's articles left."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _piqa(record: Record) -> _Choice:
    choices = [record.text("sol1"), record.text("sol2")]
    return _Choice(f"Question: {record.text('goal')}\nAnswer:", choices, _number(record, "label"))


def _boolq(record: Record) -> _Choice:
    asked = f"{record.text('passage')}\nQuestion: {record.text('question')}?\nAnswer:"
    return _Choice(asked, ["no", "yes"], _number(record, "answer"))


def _truthful(record: Record) -> _Choice:
    """TruthfulQA's mc1: one choice is true."""
    targets = record.fields["mc1_targets"]
    labels = targets.get("labels") if isinstance(targets, Mapping) else None
    if not isinstance(labels, list) or "choices" not in targets or 1 not in labels:
        raise InputError(f"{record.where}: field 'mc1_targets' must hold choices and labels, one label 1")
    choices = _texts(record, "mc1_targets.choices", targets["choices"])
    return _Choice(f"Q: {record.text('question')}\nA:", choices, labels.index(1))


def _kmmlu(record: Record) -> _Choice:
    choices = [record.text(letter) for letter in "ABCD"]
    answer = _number(record, "answer", ["A", "B", "C", "D"])
    counted = answer if isinstance(record.fields["answer"], str) and record.fields["answer"] in "ABCD" else answer - 1
    return _lettered(record.text("question"), choices, counted, "정답：")


def _kobest_boolq(record: Record) -> _Choice:
    asked = f"{record.text('paragraph')} 질문: {record.text('question')} 답변: "
    return _Choice(asked, ["아니오", "예"], _number(record, "label"))


def _kobest_copa(record: Record) -> _Choice:
    connectors = {"원인": "왜냐하면", "결과": "그래서"}
    asked = record.text("question").strip()
    if asked not in connectors:
        raise InputError(f"{record.where}: field 'question' is {asked!r}; use one of {', '.join(connectors)}")
    choices = [record.text("alternative_1"), record.text("alternative_2")]
    return _Choice(f"{record.text('premise')}  {connectors[asked]}", choices, _number(record, "label"))


def _kobest_hellaswag(record: Record) -> _Choice:
    choices = [record.text(f"ending_{number}") for number in (1, 2, 3, 4)]
    return _Choice(f"문장: {record.text('context')}", choices, _number(record, "label"))


def _kobest_wic(record: Record) -> _Choice:
    asked = (
        f"문장1: {record.text('context_1')} 문장2: {record.text('context_2')} 두 문장에서 {record.text('word')}가 "
        "같은 뜻으로 쓰였나?"
    )
    return _Choice(asked, ["아니오", "예"], _number(record, "label"))


def _kobest_sentineg(record: Record) -> _Choice:
    return _Choice(f"문장: {record.text('sentence')} 긍부정:", ["부정", "긍정"], _number(record, "label"))


def _humaneval(record: Record) -> dict[str, Any]:
    name = record.text("entry_point")
    if not name.isidentifier():
        raise InputError(f"{record.where}: field 'entry_point' is {name!r}; the name of a function is wanted")
    return {"form": "humaneval", "prompt": record.text("prompt"), "tests": record.text("test"), "entry_point": name}


def _mbpp(record: Record) -> dict[str, Any]:
    tests = _texts(record, "test_list", record.fields["test_list"])
    if not tests:
        raise InputError(f"{record.where}: field 'test_list' is empty; without tests nothing can be told")
    imports = _texts(record, "test_imports", record.fields.get("test_imports") or [])
    setup = [str(record.fields.get("test_setup_code") or ""), *imports]
    before = "\n".join(each for each in setup if each.strip())
    asked = f"{record.text('text' if 'text' in record.fields else 'prompt')} Your code should pass these tests:\n\n"
    joined = "\n".join(tests)
    return {"form": "mbpp", "prompt": asked + joined, "tests": f"{before}\n{joined}".strip()}


_FORMATS = (
    _Format("HumanEval", frozenset({"prompt", "test", "entry_point"}), _humaneval),
    _Format("MBPP", frozenset({"text", "test_list"}), _mbpp),
    _Format("MBPP, sanitized", frozenset({"prompt", "test_list"}), _mbpp),
    _Format("ARC", frozenset({"question", "choices", "answerKey"}), _arc),
    _Format("KMMLU", frozenset({"question", "answer", "A", "B", "C", "D"}), _kmmlu),
    _Format("TruthfulQA", frozenset({"question", "mc1_targets"}), _truthful),
    _Format("BoolQ", frozenset({"question", "passage", "answer"}), _boolq),
    _Format("HellaSwag", frozenset({"ctx_a", "ctx_b", "activity_label", "endings", "label"}), _hellaswag),
    _Format("PIQA", frozenset({"goal", "sol1", "sol2", "label"}), _piqa),
    _Format("KoBEST BoolQ", frozenset({"paragraph", "question", "label"}), _kobest_boolq),
    _Format("KoBEST COPA", frozenset({"premise", "question", "alternative_1", "alternative_2", "label"}), _kobest_copa),
    _Format("KoBEST HellaSwag", frozenset({"context", "ending_1", "ending_4", "label"}), _kobest_hellaswag),
    _Format("KoBEST WiC", frozenset({"word", "context_1", "context_2", "label"}), _kobest_wic),
    _Format("KoBEST SentiNeg", frozenset({"sentence", "label"}), _kobest_sentineg),
    _Format("options as lines", frozenset({"question", "options", "answer"}), _listed),
    _Format("MMLU and Halter's own", frozenset({"question", "choices", "answer"}), _plain),
)


def known_formats() -> Iterator[str]:
    """The formats that are read, by name."""
    return (each.name for each in _FORMATS)
