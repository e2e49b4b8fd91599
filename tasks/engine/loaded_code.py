"""Which of our source files this process has loaded, with the hash of the very text that it runs.

A file can be edited after it was imported, so its hash is taken of what the loader compiles. Compiled files
(`__pycache__`) are passed by: Python takes one for current that was made of another text of the same length in the same
second. Imports nothing of ours that a step may use, because it has to be there first.
"""

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tasks.engine.code import PACKAGES, Source, path_of, reached


class LoadedCode(MetaPathFinder):
    """A record of what is imported from the moment of `install` on, in this process and in those it forks."""

    def __init__(self) -> None:
        self.sources: dict[Path, Source] = {}
        self._packages = set(PACKAGES)

    def install(self) -> None:
        """Begin to record."""
        sys.meta_path.insert(0, self)

    def files(self, module: str) -> Mapping[str, str]:
        """Path → sha256 of the files that a module consists of (see `tasks.engine.code.reached`); imports those that
        are not loaded yet, so that nothing of them is read later. Raises ModuleNotFoundError for what is no module of
        ours."""
        self._packages.add(module.split(".")[0])
        files = reached(module, self._loaded)
        if not files:
            raise ModuleNotFoundError(f"there is no {path_of(module)}")
        return files

    def _loaded(self, module: str) -> Source | None:
        path = path_of(module)
        if path not in self.sources and not path.exists():
            return None
        importlib.import_module(module)
        if path not in self.sources:
            raise RuntimeError(f"{path} was loaded before loading was recorded")
        return self.sources[path]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Part of Python's import: found is what the other finders find, loaded is it by our loader."""
        if fullname.split(".")[0] not in self._packages:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader:
                    spec.loader = _Loader(fullname, spec.loader.path, self.sources)
                return spec
        return None


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, sources: dict[Path, Source]) -> None:
        super().__init__(fullname, path)
        self._sources = sources

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Without these Python neither reads nor writes a compiled file."""
        raise OSError(f"{path} is compiled anew each time")

    def source_to_code(self, data: Any, path: Any, *, _optimization: int = -1) -> CodeType:  # type: ignore[override]
        content = bytes(data)
        tree = ast.parse(content, path)
        self._sources[Path(path)] = Source.of(content, tree)
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimization)
        return code
