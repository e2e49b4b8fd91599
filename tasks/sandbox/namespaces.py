"""A private root by Linux namespaces alone, for where bubblewrap is not installed.

This file is a program of its own, `python -I -S namespaces.py SPEC COMMAND…`, with the standard library alone: it puts
itself into new namespaces, builds a root of read-only binds and one tmpfs, gives up every right, and runs the command.
As root it does so as root and then becomes a user whom nobody else is; else by a user namespace. Exit code 125: it
could not, and the reason stands in its errors.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

CANNOT = 125
NOBODY = 65_534
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    *(0x00020000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
NOSUID, NODEV, RDONLY, REMOUNT, BIND, REC, PRIVATE = 2, 4, 1, 32, 4096, 16384, 1 << 18
_MOUNT_SETATTR = 442  # the same number on every architecture
_AT_RECURSIVE = 0x8000
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DETACH = 2
_PDEATHSIG, _NO_NEW_PRIVS, _CAPBSET_DROP = 1, 38, 24

libc = ctypes.CDLL(None, use_errno=True)


def _done(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode())
    _done(libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def _leave(as_root: bool) -> None:
    """Into new namespaces."""
    user = (os.getuid(), os.getgid())
    flags = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET | (0 if as_root else NEWUSER)
    _done(libc.unshare(ctypes.c_int(flags)), "unshare")
    if not as_root:
        Path("/proc/self/setgroups").write_text("deny")
        for name, number in zip(("uid_map", "gid_map"), user, strict=True):
            Path(f"/proc/self/{name}").write_text(f"{NOBODY} {number} 1")


def _build(root: str, spec: dict) -> None:  # type: ignore[type-arg]
    """The private root, and into it."""
    _mount("none", "/", "none", REC | PRIVATE)
    _mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for name, to in spec["links"].items():
        Path(root + name).parent.mkdir(parents=True, exist_ok=True)
        Path(root + name).symlink_to(to)
    for name in spec["readable"]:
        target = Path(root + name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(name).is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        _mount(name, str(target), "none", BIND | REC)
        attributes = (ctypes.c_uint64 * 4)(RDONLY | NOSUID | NODEV, 0, 0, 0)  # set, clear, propagation, user namespace
        number, size = ctypes.c_long(_MOUNT_SETATTR), ctypes.c_size_t(ctypes.sizeof(attributes))
        words = (ctypes.c_int(-100), str(target).encode(), ctypes.c_uint(_AT_RECURSIVE), ctypes.byref(attributes), size)
        _done(libc.syscall(number, *words), f"make {name} read-only")
    writable = root + "/tmp"  # noqa: S108
    Path(writable).mkdir()
    _mount("tmpfs", writable, "tmpfs", NOSUID | NODEV, f"size={spec['file']},mode=1777")
    os.chdir(root)
    pivot = ctypes.c_long(_PIVOT_ROOT[os.uname().machine])
    _done(libc.syscall(pivot, b".", b"."), "pivot_root")
    _done(libc.umount2(b".", _DETACH), "leave the old root")
    _mount("none", "/", "none", REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    os.chdir("/tmp")  # noqa: S108


def _give_up(as_root: bool, user: int) -> None:
    """Every right. A user whom nobody else is has no files and no other processes."""
    for capability in range(64):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    if as_root:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _done(libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "give up capabilities")
    _done(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def _first(root: str, spec: dict, command: list[str], as_root: bool, user: int) -> int:  # type: ignore[type-arg]
    """The first process of the namespace: when it ends, all in it end."""
    _build(root, spec)
    _give_up(as_root, user)
    _done(libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with the parent")
    child = os.fork()
    if child == 0:
        os.setsid()
        os.execve(command[0], command, {})  # noqa: S606
    while True:
        ended, status = os.wait()  # and of whoever was left to it
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run the command; gives its exit code, 128 and the number of the signal that ended it."""
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    _done(libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with the parent")
    as_root = spec["user"] > 0
    _leave(as_root)
    child = os.fork()
    if child == 0:
        code = CANNOT
        try:
            code = _first(spec["root"], spec, command, as_root, spec["user"])
        except OSError as error:
            print(error.strerror, file=sys.stderr)
        sys.stderr.flush()
        os._exit(code if code >= 0 else 128 - code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        sys.exit(CANNOT)
