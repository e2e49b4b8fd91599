"""One run reads a file of every format that is registered, of every kind of container, and keeps a row of each."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml

from data_store.errors import InputError
from data_store.reading.benchmark_items import known_formats
from data_store.reading.containers import KINDS
from data_store.reading.dialogue_formats.registry import DIALOGUE_FORMATS
from data_store.reading.preference_formats.registry import FORMATS
from data_store.reading.readers import read_dialogues, read_preferences, read_prompts
from data_store.reading.source_files import PACKED
from tasks.sandbox.sandbox import find_sandbox
from tests.data_store.reading.format_samples import ASKED, BAD, DIALOGUES, GOOD, PREFERENCES, PROMPTS
from tests.data_store.reading.test_benchmark_items import BENCHMARKS
from tests.flows.recipe_runs import POCKET, ROOT, Home
from world.content import World
from world.documents import make_documents

REAL = ROOT.parent / "shared" / "data" / "formats"
COPIES, DOCUMENTS = 3, 12
PROGRAMS = ("HumanEval", "MBPP", "MBPP, sanitized")
Records = Sequence[Mapping[str, Any]]


def numbered(records: Records, number: int) -> list[dict[str, Any]]:
    """The same records of another prompt: one that is asked twice is one."""
    asked = f"{ASKED.removesuffix('?')}, case {number}?"
    return list(json.loads(json.dumps(list(records), ensure_ascii=False).replace(ASKED, asked)))


def packed(path: Path, content: bytes) -> None:
    """Written as the ending says."""
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = pa.compress(content, codec="zstd", asbytes=True)
    path.write_bytes(content)


def as_lines(records: Records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def as_table(records: Records, delimiter: str) -> bytes:
    out = pa.BufferOutputStream()
    pc.write_csv(pa.Table.from_pylist(list(records)), out, pc.WriteOptions(delimiter=delimiter))
    return bytes(out.getvalue())


def as_columns(records: Records, kind: str) -> bytes:
    table, out = pa.Table.from_pylist(list(records)), pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(table, out)
    else:
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return bytes(out.getvalue())


CONTAINERS: dict[str, Callable[[Records], bytes]] = {
    "jsonl": as_lines,
    "json": lambda records: json.dumps(list(records)).encode(),
    "csv": lambda records: as_table(records, ","),
    "tsv": lambda records: as_table(records, "\t"),
    "parquet": lambda records: as_columns(records, "parquet"),
    "arrow": lambda records: as_columns(records, "arrow"),
    "txt": lambda records: "\n\n".join(record["text"] for record in records).encode(),
}
BINARY = ("parquet", "arrow")


def documents(folder: Path) -> dict[str, int]:
    """A file of each kind, also packed; documents in each."""
    texts = [row["text"] for row in make_documents(World(1), 3000, 1, 0.0) if "\n\n" not in row["text"]]
    held, taken = {}, iter(dict.fromkeys(texts))
    for kind, write in CONTAINERS.items():
        for packing in ("", *(PACKED if kind not in BINARY else ())):
            path = folder / f"texts-{packing.removeprefix('.')}.{kind}{packing}"
            packed(path, write([{"text": next(taken)} for _ in range(DOCUMENTS)]))
            held[path.name] = DOCUMENTS
    return held


def samples(folder: Path) -> dict[str, dict[str, int]]:
    """By role the files and how many rows each holds: every sample of preferences, dialogues and prompts."""
    axes = [f"{axis}_{what}" for axis in ("helpfulness", "safety") for what in ("preferences", "prompts")]
    held: dict[str, dict[str, int]] = {role: {} for role in (*axes, "demonstrations")}
    number = 0
    for format, of_format in PREFERENCES.items():
        role = "safety_preferences" if format == "safety_labels" else "helpfulness_preferences"
        for name, records in of_format.items():
            kind = "csv" if name in ("csv", "table") else ("jsonl", "parquet")[number % 2]
            number += 1
            path = folder / f"{format}-{name}.{kind}"
            path.write_bytes(CONTAINERS[kind](numbered(records, number)))
            held[role][path.name] = 1
    for axis in ("helpfulness", "safety"):
        path = folder / f"more-{axis}.jsonl"
        pairs = [{"prompt": ASKED, "response_a": GOOD, "response_b": f"{BAD} {n}", "chosen": "a"} for n in range(24)]
        path.write_bytes(as_lines([row for n, pair in enumerate(pairs) for row in numbered([pair], 1000 + n)]))
        held[f"{axis}_preferences"][path.name] = 24
    for role, of_role in (("demonstrations", DIALOGUES), ("helpfulness_prompts", PROMPTS)):
        for format, record in of_role.items():
            path = folder / f"{role}-{format}.jsonl"
            path.write_bytes(as_lines([row for n in range(COPIES) for row in numbered([record], number + n)]))
            number += COPIES
            held[role][path.name] = COPIES
    (folder / "unsafe.jsonl").write_bytes(as_lines(numbered([PROMPTS["goal"]], number)))
    held["safety_prompts"]["unsafe.jsonl"] = 1
    number += 1
    path = folder / "prompts.txt"
    path.write_text("\n".join(numbered([{"a": ASKED}], number + n)[0]["a"] for n in range(COPIES)))
    held["helpfulness_prompts"][path.name] = COPIES
    return held


def real_samples() -> dict[str, dict[Path, int]]:
    """Files of ../shared/data/formats by role, and how many rows each has when it is read alone; some are of no use by
    design."""
    readers: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
        "helpfulness_preferences": (("prefs", "argilla", "label_studio"), read_preferences),
        "demonstrations": (("sft",), read_dialogues),
        "safety_prompts": (("prompts",), read_prompts),
    }
    found: dict[str, dict[Path, int]] = {role: {} for role in readers}
    for role, (folders, read) in readers.items():
        for path in sorted(each for name in folders for each in (REAL / name).glob("*.*")):
            try:
                more = {"axis": "helpfulness"} if role.endswith("preferences") else {}
                found[role][path] = len(read([path], **more).rows)
            except InputError:
                continue
    return found


def test_every_kind_of_container_and_every_benchmark_has_its_sample() -> None:
    assert set(CONTAINERS) == {*KINDS, "txt"}
    assert set(BENCHMARKS) == set(known_formats())


def counted(home: Home, asset: str, reason: str | None = None) -> Counter[str]:
    """Rows by the file that they are from; of refused ones those with this reason."""
    rows = home.store.rows(home.head(asset)).to_pylist()
    return Counter(row["source"].rpartition(":")[0] for row in rows if reason is None or row["reason"] == reason)


@pytest.mark.slow
def test_a_run_keeps_what_the_files_of_every_format_hold(tmp_path: Path, server: str) -> None:
    assert (set(PREFERENCES), set(DIALOGUES)) == (set(FORMATS), set(DIALOGUE_FORMATS))
    texts, held = documents(tmp_path), samples(tmp_path)
    given: dict[str, list[str]] = {role: list(files) for role, files in held.items()} | {"documents": list(texts)}
    for role, files in real_samples().items():
        given[role].extend(map(str, files))
        held[role].update({path.name: rows for path, rows in files.items()})
    (tmp_path / "kept-apart.txt").write_text("What does the keeper say?\nWho sings at night?\n")
    given["helpfulness_evaluation_prompts"] = ["kept-apart.txt"]
    (tmp_path / "apart.jsonl").write_bytes(as_lines([{"prompt": "How is a lock opened?"}]))
    given["safety_evaluation_prompts"] = ["apart.jsonl"]
    sets = []
    for format, record in BENCHMARKS.items():
        (tmp_path / f"{format}.jsonl").write_bytes(as_lines([record]))
        sets.append({"name": format.lower().replace(" ", "_").replace(",", "").replace("'", ""), "suite": "all"})
        sets[-1]["files"] = [f"{format}.jsonl"]
    try:
        find_sandbox()
    except InputError:
        sets = [each for each in sets if each["files"][0].removesuffix(".jsonl") not in PROGRAMS]
    tests = [{**row, "split": "test"} for row in numbered([PREFERENCES["rows"]["ours"][0]], 5000)]
    (tmp_path / "test-set.jsonl").write_bytes(as_lines(tests))
    content = yaml.safe_load(POCKET)
    for key in ("annotator", "gatt", "ppo", "dpo"):
        content.pop(key)
    config = tmp_path / "every.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                **content,
                "name": "every",
                "iterations": 1,
                "final_stage": "none",
                "gatt": None,
                "data": given,
                "filter": {"languages": ["en", "code"], "min_words": 1, "near_duplicate_similarity": 1.0},
                "fit": {"too_long": "drop", "max_dropped_share": 1.0},
                "collect": {"heldout_percent": 20},
                "reward_tests": {"sets": [{"name": "ours", "axis": "helpfulness", "files": ["test-set.jsonl"]}]},
                "benchmarks": {"sets": sets, "sampling": {"max_new_tokens": 8}},
            }
        )
    )
    home = replace(Home(tmp_path / "home", name="every"), server=server)
    run = home.halter("run", config, "--json")
    assert run.code == 0, run.err
    assert counted(home, "dataset/raw-documents@base") == texts
    preferences = Counter(held["helpfulness_preferences"]) + Counter(held["safety_preferences"])
    assert counted(home, "dataset/raw-preferences@base") == preferences
    assert counted(home, "dataset/raw-demonstrations@base") == held["demonstrations"]
    apart = {"kept-apart.txt": 2, "apart.jsonl": 1}
    prompts = {**held["helpfulness_prompts"], **held["safety_prompts"], **apart}
    twice = counted(home, "dataset/refused@base", "duplicate_prompt")  # some of ../shared/data ask the same
    assert counted(home, "dataset/raw-prompts@base") + twice == prompts
    assert counted(home, "dataset/benchmark-items@base") == {each["files"][0]: 1 for each in sets}
