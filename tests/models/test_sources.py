"""What the sources must never do: open a pickle, run a checkpoint's own code, or ask the network for a model."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flows", "tasks", "models", "data_store", "world")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PICKLING_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PICKLING_CALLS = {"torch.load", "torch.save", "torch.jit.load", "pandas.read_pickle", "pd.read_pickle"}


def complaints(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            modules = []
        for module in modules:
            if module.split(".")[0] in PICKLING_MODULES or module in PICKLING_CALLS:
                yield f"line {node.lineno} imports {module}"
        if isinstance(node, ast.Call):
            yield from _call_complaints(node)


def _call_complaints(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called in PICKLING_CALLS:
        yield f"line {node.lineno} calls {called}"
    if given.get("allow_pickle") == "True" or given.get("trust_remote_code") == "True":
        yield f"line {node.lineno} calls {called} with {given}"
    if called.endswith(".from_pretrained") and called.split(".")[0] in ("AutoTokenizer", "kind"):
        for name, value in (("local_files_only", "True"), ("trust_remote_code", "False")):
            if given.get(name) != value:
                yield f"line {node.lineno} calls {called} without {name}={value}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_reads_a_pickle_runs_foreign_code_or_downloads(path: Path) -> None:
    assert list(complaints(path.read_text())) == []


def test_the_scan_sees_the_sources() -> None:
    assert {path.parent.name for path in SOURCES} >= {*PACKAGES, "training", "algorithms"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "from torch import load",
        "import torch\ntorch.load('weights.bin')",
        "numpy.load(path, allow_pickle=True)",
        "AutoTokenizer.from_pretrained(folder, local_files_only=True)",
        "kind.from_pretrained(folder, trust_remote_code=True, local_files_only=True)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str) -> None:
    assert list(complaints(source))
