"""What `constraints.txt` pins against what is installed: `python -m tests.pins VENV …` (`make pins`).

Every installed package is pinned, in the version that is there, and every pin is of a package that is there. Two kinds
of pins may be of absent packages: those that an installed package wants on another Python or another system only, and
those of torch's CUDA build, which the CPU build does without.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OWN = {"halter", "pip"}
SEEDS = {"setuptools"}  # comes with the virtual environment on some Pythons, whether or not it is asked for
CUDA = re.compile(r"cuda-|nvidia-|triton$")


def requirements(text: str) -> list[Requirement]:
    """The lines of a constraints file."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def faults_of(pins: Iterable[Requirement]) -> list[str]:
    """Pins that not every machine can install: by address, with a version that only one index holds, or not exact."""
    found = []
    for pin in pins:
        exact = [each.version for each in pin.specifier if each.operator == "=="]
        if pin.url:
            found.append(f"{pin.name} is pinned by an address, {pin.url}: name a version")
        elif len(pin.specifier) != 1 or not exact or "*" in exact[0]:
            found.append(f"{pin} is no exact version")
        elif Version(exact[0]).local:
            found.append(f"{pin} has a local version label, which the public index does not hold: leave it out")
    return found


def differences(pins: Iterable[Requirement], venvs: Iterable[Iterable[Distribution]]) -> list[str]:
    """How the pins differ from what is installed in these virtual environments together."""
    wanted = {canonicalize_name(pin.name): pin for pin in pins}
    found: list[str] = []
    needless = {name for name in wanted if not CUDA.match(name)}
    for venv in venvs:
        versions, asked, asked_elsewhere = _read(venv)
        needless -= {*versions, *asked_elsewhere}
        for name, version in sorted(versions.items()):
            if name in OWN or (name in SEEDS and name not in asked):
                continue
            if name not in wanted:
                found.append(f"{name} {version} is installed and not pinned: add {name}=={Version(version).public}")
            elif not wanted[name].specifier.contains(version, prereleases=True):
                found.append(f"{name} {version} is installed, {wanted[name]} is pinned")
    return [*found, *(f"{name} is pinned and not installed: take it out" for name in sorted(needless))]


def _read(venv: Iterable[Distribution]) -> tuple[dict[str, str], set[str], set[str]]:
    """Package → version, the packages that these ask for, and those that they ask for on some machines."""
    versions: dict[str, str] = {}
    asked: set[str] = set()
    asked_elsewhere: set[str] = set()
    for each in venv:
        versions[canonicalize_name(each.metadata["Name"])] = each.version
        for one in map(Requirement, each.requires or ()):
            if one.marker is None:
                asked.add(canonicalize_name(one.name))
            elif "extra" not in str(one.marker):
                asked_elsewhere.add(canonicalize_name(one.name))
    return versions, asked, asked_elsewhere


def in_venv(venv: Path) -> list[Distribution]:
    """What is installed in a virtual environment, of whatever Python."""
    ask = [venv / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return list(distributions(path=[folder]))


def main() -> None:
    """Say what differs; exit code 1 where something does."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("venvs", nargs="+", type=Path, help="virtual environments that were installed with the pins")
    pins = requirements(CONSTRAINTS.read_text())
    found = [*faults_of(pins), *differences(pins, map(in_venv, parser.parse_args().venvs))]
    for line in found:
        print(f"constraints.txt: {line}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
