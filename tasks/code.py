"""Which code a step consists of: its source files and their hashes, and the commit they stand in."""

import ast
import hashlib
import importlib.metadata
import platform
import subprocess
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tasks", "models", "data_store", "world")
LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "sentencepiece",
    "duckdb",
    "pyarrow",
    "numpy",
)


_parsing = threading.Lock()  # two threads in ast.parse at once raise SystemError in Python 3.11


def source_files(module: str) -> Mapping[str, str]:
    """Path (below the project) → sha256 of every file of ours that `module` imports, directly or not, itself included.

    Imports inside functions count: steps load torch there.
    """
    with _parsing:
        return _source_files(module)


@lru_cache
def _source_files(module: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        if not path.exists() or str(path.relative_to(ROOT)) in found:
            continue
        digest, imports = _read_source(path)
        found[path.relative_to(ROOT).as_posix()] = digest
        waiting += imports
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def _read_source(path: Path) -> tuple[str, tuple[str, ...]]:
    """The file's sha256, and what of ours it may import: `from a.b import c` is a.b or a.b.c."""
    content = path.read_bytes()
    names: list[str] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return hashlib.sha256(content).hexdigest(), tuple(name for name in names if name.split(".")[0] in PACKAGES)


def code_version(module: str) -> str:
    """One hash over the step's source files."""
    text = "\n".join(f"{digest}  {path}" for path, digest in source_files(module).items())
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache
def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether the working tree differs from it); (None, None) where the code is no git checkout."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", *PACKAGES],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changes.strip())


@lru_cache
def environment() -> Mapping[str, str]:
    """Versions of Python and of the libraries that a result may depend on, and the kind of machine."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}", **versions}
