"""What a program in the sandbox can read: the interpreter, its standard library and the system's libraries."""

import os
import sys
import sysconfig
from pathlib import Path

_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_LOADER = "/etc/ld.so.cache"  # where the loader finds libraries; it names files and holds nothing else


def interpreter() -> Path:
    """The interpreter's own file, outside a virtual environment: the standard library is beside it."""
    return Path(os.path.realpath(sys.executable))


def readable() -> tuple[list[Path], dict[Path, str]]:
    """Files and folders that are there, read-only, at the same path; and symbolic links with what they point to.

    Libraries outside the system's folders (a Python of one's own) are found among those that this process has loaded.
    """
    links = {Path(name): str(Path(name).readlink()) for name in _LIBRARIES if Path(name).is_symlink()}
    found = [Path(name) for name in _LIBRARIES if Path(name).is_dir() and Path(name) not in links]
    standard = Path(os.path.realpath(sysconfig.get_path("stdlib")))
    wanted = [interpreter(), standard, standard / "lib-dynload", Path(_LOADER), *_loaded()]
    for path in wanted:
        if path.exists() and not any(path == each or each in path.parents for each in found):
            found.append(path)
    return found, links


def _loaded() -> list[Path]:
    """The shared libraries of the interpreter itself."""
    lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in paths if path.name.startswith("libpython") and path.is_file())
