"""docs/faq.md quotes messages that the code really has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("flows", "tasks", "models", "data_store", "web", "world")
QUOTED = re.findall(r"^> `(.*)`$", (ROOT / "docs" / "faq.md").read_text(), flags=re.MULTILINE)


def texts_of_the_code() -> list[str]:
    """Every text in the source, docstrings left out; what is filled in at run time is …."""
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
                    found.append(node.value)
    return found


TEXTS = texts_of_the_code()


def says(text: str, quoted: str) -> bool:
    """Whether the parts of the quotation around each … stand in the text, in their order."""
    return re.search(".*".join(re.escape(part.strip()) for part in quoted.split("…")), text, re.DOTALL) is not None


@pytest.mark.parametrize("quoted", QUOTED)
def test_each_message_of_the_faq_is_one_that_the_code_has(quoted: str) -> None:
    assert len(quoted.replace("…", "")) >= 15, "too little to know it by"
    assert any(says(text, quoted) for text in TEXTS)


def test_a_message_that_the_code_does_not_have_is_noticed() -> None:
    assert says("config.yaml: there is no key x", "…: there is no key …")
    assert not any(says(text, "there is no such message in all of …") for text in TEXTS)


def test_the_faq_has_messages_of_every_kind() -> None:
    assert len(QUOTED) >= 30
