"""Stores as a stranger could hand them out: a journal that says something else, with a chain of hashes that holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_store.catalog.journal import START, Entry
from data_store.content.publishing import FILES_SCHEMA, files_hash, version_id
from data_store.records import ObjectRef


def forge(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let `change` rewrite each event of the store at `root`; the chain is made anew, and the catalog of it, too."""
    seq, prev = 0, START
    for segment in sorted((root / "journal").glob("*.jsonl")):
        lines = []
        for line in segment.read_text().splitlines():
            old = json.loads(line)
            change(old["event"])
            entry = Entry.after(seq, prev, old["outcome"], old["event"])
            seq, prev = entry.seq, entry.sha256
            lines.append(entry.line())
        segment.chmod(0o644)
        segment.write_text("\n".join(lines) + "\n")
    (root / "catalog.duckdb").unlink(missing_ok=True)


def rehash(publication: dict[str, Any]) -> str:
    """Make the ids of a version of files what they must be; gives its id."""
    refs = [ObjectRef(**each) for each in publication["objects"]]
    publication["set_hash"] = files_hash(refs)
    publication["version_id"] = version_id(publication["kind"], FILES_SCHEMA, publication["set_hash"])
    return str(publication["version_id"])


def replace_everywhere(content: Any, old: str, new: str) -> Any:
    """The same plain values with every text `old` replaced, keys included."""
    return json.loads(json.dumps(content, ensure_ascii=False).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))


def renamed_file(path: str) -> Callable[[dict[str, Any]], None]:
    """A change of a run that has written one file: it gets this path."""

    def change(event: dict[str, Any]) -> None:
        (output,) = event["outputs"]
        output["publication"]["objects"][0]["path"] = path
        rehash(output["publication"])

    return change
