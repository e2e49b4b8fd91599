"""deployments/Dockerfile, built without Docker: `python -m tests.deployments.image` (`make image`), as root.

buildah does what the file says, step by step, in a root of its own. No hub is asked: what stands for python:3.11-slim
is a Debian 12 out of its packages, whose Python is 3.11, with pip. How packages are found is this machine's own way, by
its pip's configuration, so the build works where an index or a certificate of one's own is needed.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "image"
TREE = BUILD / "root"
"""The image's files, as a container would see them."""
TAG = "halter:0.1.0"
_SUITE, _PYTHON = "bookworm", "3.11"
_PACKAGES = "python3,python3-pip,ca-certificates"
_BUILDAH = ("buildah", "--root", str(BUILD / "storage"), "--runroot", str(BUILD / "run"), "--storage-driver", "vfs")


def main() -> None:
    """Build it anew."""
    if os.geteuid() != 0:
        sys.exit("a root of its own is laid out by root alone: sudo make image")
    for program, package in (("debootstrap", "debootstrap"), ("buildah", "buildah"), ("bwrap", "bubblewrap")):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install {package}")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    _base()
    _image()
    shutil.rmtree(BUILD / "storage")
    print(f"{TREE} is what {TAG} would hold")


def _base() -> None:
    """What the Dockerfile begins with, under its name."""
    name = re.search(r"^FROM (\S+)$", (ROOT / "deployments" / "Dockerfile").read_text(), re.MULTILINE)
    if name is None or name[1] != f"python:{_PYTHON}-slim":
        sys.exit(f"deployments/Dockerfile does not begin with python:{_PYTHON}-slim: change what stands for it here")
    tree = BUILD / "base"
    _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(tree), *_mirror())
    (tree / "usr/bin/python").symlink_to("python3")
    (tree / f"usr/lib/python{_PYTHON}/EXTERNALLY-MANAGED").unlink()  # the image's Python is nobody else's
    container = _ask(*_BUILDAH, "from", "scratch")
    _run(*_BUILDAH, "copy", "--quiet", container, str(tree), "/")
    _run(*_BUILDAH, "commit", "--quiet", container, f"docker.io/library/{name[1]}")
    _run(*_BUILDAH, "rm", container)
    shutil.rmtree(tree)


def _mirror() -> list[str]:
    """Where this machine's apt has the suite from; nothing where it has another one, then debootstrap knows a place."""
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {_SUITE}", "Created-By: Packages")
    return _ask(*asked).splitlines()[:1]


def _image() -> None:
    found = BUILD / "pip.conf"
    settings = _pip_settings()
    with found.open("w") as file:
        written = configparser.ConfigParser(interpolation=None)
        written["global"] = settings
        written.write(file)
    given = [f"--volume={path}:{path}:ro" for path in _folders_of(settings)]
    dockerfile = str(ROOT / "deployments" / "Dockerfile")
    _run(
        *(*_BUILDAH, "build", "--isolation", "chroot", "--pull-never", *given, f"--volume={found}:/etc/pip.conf:ro"),
        *("--file", dockerfile, "--tag", TAG, str(ROOT)),
    )
    container = _ask(*_BUILDAH, "from", "--pull-never", TAG)
    _run("cp", "--archive", "--link", _ask(*_BUILDAH, "mount", container), str(TREE))


def _pip_settings() -> dict[str, str]:
    """What pip does here, from its files and variables."""
    lines = _ask(sys.executable, "-m", "pip", "config", "list").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.rpartition(".")[2].replace("_", "-"): value.strip("'") for key, _, value in pairs}


def _folders_of(settings: Mapping[str, str]) -> Iterator[str]:
    """The folders of this machine that pip's settings name, and its certificates. An index of files points to what lies
    beside it."""
    values = " ".join(settings.values())
    named = [str(Path(each).parent) for each in re.findall(r"file://(/\S+)", values)]
    named += re.findall(r"(?:^|\s)(/\S+)", values)
    paths = {Path("/etc/ssl/certs"), *(Path(each) for each in named)}
    folders = {path if path.is_dir() else path.parent for path in paths if path.exists()}
    yield from sorted(str(each) for each in folders if not folders & set(each.parents))


def _run(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=_environment())
    if done.returncode:
        sys.exit(f"{' '.join(words[:8])} …:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def _ask(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, env=_environment())
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "BUILDAH_ISOLATION": "chroot"}


if __name__ == "__main__":
    main()
