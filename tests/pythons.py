"""The pocket recipe on every Python that the project supports and that is here: `python -m tests.pythons`
(`make pythons`). Each gets a virtual environment of its own, installed as the README says; every asset must come out
with the same content. It downloads torch once per Python, which is several GB where only the CUDA build is to be had.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.flows.recipe_runs import POCKET, ROOT, Home

SUPPORTED = ("3.11", "3.12", "3.13")
BUILD = ROOT / "build" / "pythons"


def interpreter(version: str) -> Path | None:
    """A Python of this version that starts: one on the path, or one that pyenv has installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{version}")
    for path in [*([Path(named)] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]:
        ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(ask, capture_output=True, text=True).stdout.strip() == version:
            return path
    return None


def install(version: str, python: Path) -> Path:
    """A virtual environment with the project, by the README's commands; one that is there is brought up to date."""
    venv = BUILD / version
    subprocess.run([python, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", "constraints.txt", "--editable", ".[dev]"], cwd=ROOT, check=True)
    return venv


def contents(version: str, venv: Path) -> dict[str, str]:
    """Asset → version id, from a run of the pocket recipe that starts from nothing."""
    folder = BUILD / f"home-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pocket.yaml").write_text(POCKET)
    home = Home(folder)
    command = [venv / "bin" / "halter", "run", folder / "pocket.yaml", "--json"]
    with (folder / "said.txt").open("w") as said:
        done = subprocess.run(command, cwd=ROOT, env=home.environment, stdout=said, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"Python {version}: the pocket recipe failed, see {said.name}")
    return home.heads()


def main() -> None:
    """Install and run; exit code 1 where a run fails or an asset differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SUPPORTED, default=SUPPORTED, help="versions to look for")
    found: dict[str, dict[str, str]] = {}
    for version in parser.parse_args().only:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: NOT PROVEN, there is none here", flush=True)
            continue
        print(f"Python {version}: {python}", flush=True)
        own = version == "{}.{}".format(*sys.version_info[:2])
        found[version] = contents(version, Path(sys.prefix) if own else install(version, python))
        print(f"Python {version}: {len(found[version])} assets", flush=True)
    if len(found) < 2:
        sys.exit(None if found else "no Python was found")
    (first, wanted), *others = found.items()
    differing = {
        (version, asset)
        for version, made in others
        for asset in {*wanted, *made}
        if wanted.get(asset) != made.get(asset)
    }
    for version, asset in sorted(differing):
        print(f"{asset} differs between Python {first} and {version}", file=sys.stderr)
    if differing:
        sys.exit(1)
    print(f"the same {len(wanted)} contents on Python {', '.join(found)}")


if __name__ == "__main__":
    main()
