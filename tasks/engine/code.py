"""Which code a step consists of: its source files and their hashes, and the commit they stand in."""

import ast
import hashlib
import importlib.metadata
import platform
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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


@dataclass(frozen=True)
class Source:
    """One source file: its sha256, and what of ours it may import."""

    sha256: str
    imports: tuple[str, ...]

    @classmethod
    def of(cls, content: bytes, tree: ast.AST) -> "Source":
        """The source with this text. `from a.b import c` is a.b or a.b.c; what only type checkers import is left
        out."""
        names: list[str] = []
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.ImportFrom) and node.module:
                names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                waiting += node.orelse
            else:
                waiting += ast.iter_child_nodes(node)
        ours = dict.fromkeys(name for name in names if name.split(".")[0] in PACKAGES)
        return cls(hashlib.sha256(content).hexdigest(), tuple(ours))


def path_of(module: str) -> Path:
    """Where a module of ours lies, if it is one."""
    return ROOT / Path(*module.split(".")).with_suffix(".py")


def reached(module: str, source_of: Callable[[str], Source | None]) -> Mapping[str, str]:
    """Path (below the project) → sha256 of every file of ours that `module` imports, directly or not, itself included.
    Imports inside functions count: steps load torch there. `source_of` gives a module's source, None for what is no
    module."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        source = None if name in seen else source_of(name)
        seen.add(name)
        if source is not None:
            found[path_of(name).relative_to(ROOT).as_posix()] = source.sha256
            waiting += source.imports
    return dict(sorted(found.items()))


def code_files(module: str) -> Mapping[str, str]:
    """What `reached` gives for the files as they are now on the disk."""
    return reached(module, _on_disk)


def _on_disk(module: str) -> Source | None:
    path = path_of(module)
    try:
        at = path.stat()
    except FileNotFoundError:
        return None
    with _parsing:
        return _read_source(path, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)


@lru_cache(maxsize=1024)
def _read_source(path: Path, *_looks: int) -> Source:
    content = path.read_bytes()
    return Source.of(content, ast.parse(content))


def code_version(files: Mapping[str, str]) -> str:
    """One hash over a step's source files."""
    text = "\n".join(f"{digest}  {path}" for path, digest in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


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
