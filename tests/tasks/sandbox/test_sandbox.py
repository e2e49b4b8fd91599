"""Programs in the sandbox: harmless stand-ins for those that mean harm, and the host stays as it is."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_store.errors import InputError
from tasks.sandbox import sandbox
from tasks.sandbox.sandbox import Bubblewrap, Namespaces, Outcome, Sandbox, SandboxConfig, find_sandbox
from tests.tasks.bench import is_alive, wait_for

LIMITS = SandboxConfig(seconds=8, cpu_seconds=4, memory_mb=256, processes=8, file_mb=4, output_kb=8)


def ways() -> Iterator[Sandbox]:
    if file := shutil.which("bwrap"):
        yield Bubblewrap(file)
    if os.geteuid() == 0:
        yield Namespaces(as_root=True)
    yield Namespaces(as_root=False)


@pytest.fixture(params=list(ways()), ids=lambda way: way.name.replace(" ", "-"))
def way(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.param
    tried = found.run("print(1)", LIMITS)
    if tried.output != "1\n":
        pytest.skip(f"{found.name} does not work on this machine: {tried.errors.strip()[-200:]}")
    return found


def said(outcome: Outcome) -> str:
    assert (outcome.code, outcome.end) == (0, "ended"), outcome
    return outcome.output


def test_a_program_runs_and_its_output_and_exit_code_come_back(way: Sandbox) -> None:
    assert said(way.run("import math, json\nprint(math.factorial(5))", LIMITS)) == "120\n"
    assert way.run("import sys\nsys.exit(3)", LIMITS).code == 3
    failed = way.run("assert 1 + 1 == 3, 'no'", LIMITS)
    assert failed.code == 1
    assert "AssertionError: no" in failed.errors


@pytest.mark.slow
@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_a_loop_without_end_is_ended_by_the_clock_and_by_its_processor_time(way: Sandbox) -> None:
    by_clock = way.run("while True: pass", LIMITS.model_copy(update={"seconds": 0.7}))
    assert by_clock.end == "time"
    assert by_clock.seconds < 3
    asleep = way.run("import time\ntime.sleep(60)", LIMITS.model_copy(update={"seconds": 0.5}))
    assert asleep.end == "time"
    by_processor = way.run("while True: pass", LIMITS.model_copy(update={"cpu_seconds": 1}))
    assert (by_processor.end, by_processor.code > 128) == ("ended", True), by_processor


@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_ten_gigabytes_are_not_given_to_one_process_nor_to_many_together(way: Sandbox) -> None:
    one = way.run("data = bytearray(10 << 30)", LIMITS)
    assert one.code == 1
    assert "MemoryError" in one.errors
    program = (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n"
        "        data = bytearray(os.urandom(1 << 20)) * 120\n        time.sleep(5)\n        os._exit(0)\ntime.sleep(5)"
    )
    together = way.run(program, LIMITS)
    assert together.end == "memory"
    assert together.seconds < 5


@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_a_fork_bomb_is_bounded_and_leaves_no_process(way: Sandbox) -> None:
    """At most 200 forks, where nothing stopped them: each that is made waits."""
    program = (
        "import os, time\nmade = 0\nfor _ in range(200):\n    try:\n        child = os.fork()\n"
        "    except OSError:\n        break\n    if child == 0:\n        time.sleep(30)\n        os._exit(0)\n"
        "    made += 1\nprint(made, flush=True)\ntime.sleep(0.5)"
    )
    before = _running()
    bombed = way.run(program, LIMITS)
    assert bombed.end == "processes" or int(bombed.output) <= LIMITS.processes
    assert bombed.seconds < 5

    def left() -> list[str]:
        return [pid for pid in _running() - before if is_alive(int(pid)) and "/tmp/main.py" in _line(pid)]

    wait_for(lambda: not left(), "the end of what was forked", 5)


def _running() -> set[str]:
    return {path.name for path in Path("/proc").iterdir() if path.name.isdigit()}


def _line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_there_is_no_network_not_even_to_this_machine(way: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        port = server.getsockname()[1]
        program = (
            f"import socket\nfor address in (('127.0.0.1', {port}), ('192.0.2.1', 80)):\n"
            "    try:\n        socket.create_connection(address, timeout=2)\n        print('connected')\n"
            "    except OSError as error:\n        print(type(error).__name__)"
        )
        assert "connected" not in said(way.run(program, LIMITS))
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_nothing_outside_is_read_or_written(way: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    places = [str(secret), "/etc/passwd", "/etc/shadow", "/etc/hostname", str(Path(__file__)), "/proc/self/environ"]
    program = (
        f"import os\nfor path in {places}:\n    try:\n        print('read', path, open(path).read())\n"
        "    except OSError: pass\n"
        f"for path in ('/escaped', {str(tmp_path / 'escaped')!r}):\n"
        "    try:\n        open(path, 'a').write('#'); print('wrote', path)\n    except OSError: pass\n"
        "try: os.close(os.open(os.__file__, os.O_WRONLY)); print('wrote')\nexcept OSError: pass\n"
        "print(sorted(os.listdir('/')))\n"
        "open('/tmp/own.txt', 'w').write('mine'); print(open('/tmp/own.txt').read())"
    )
    output = said(way.run(program, LIMITS))
    assert "read" not in output
    assert "wrote" not in output
    assert output.endswith("mine\n")
    assert "home" not in output
    assert not (tmp_path / "escaped").exists()
    assert not Path("/escaped").exists()
    assert not Path("/tmp/own.txt").exists()
    again = way.run("import os; print(os.path.exists('/tmp/own.txt'))", LIMITS)
    assert said(again) == "False\n", "each program has a fresh place to write"


def test_what_is_written_and_printed_is_bounded(way: Sandbox) -> None:
    program = "with open('/tmp/big', 'wb') as file:\n    for _ in range(64): file.write(b'0' * (1 << 20)); file.flush()"
    assert way.run(program, LIMITS).code != 0
    many = "for n in range(64):\n    with open(f'/tmp/{n}', 'wb') as file: file.write(b'0' * (1 << 20))"
    full = way.run(many, LIMITS)
    assert full.code == 1
    assert "No space left" in full.errors
    loud = way.run("import sys\nfor _ in range(3000): print('x' * 1000)\nsys.stderr.write('y' * 100_000)", LIMITS)
    assert (loud.code, len(loud.output), len(loud.errors)) == (0, 8192, 8192)


@pytest.mark.conformance("a program that a model wrote does harm", equation="tasks.sandbox.sandbox:Sandbox.run")
def test_the_environment_is_empty_and_there_are_no_rights(way: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the user")
    program = (
        "import os\nprint({name for name in os.environ if name not in ('PWD', 'LC_CTYPE')}, os.getuid() != 0)\n"
        "for act in (lambda: os.chroot('/tmp'), lambda: os.setuid(0), lambda: os.kill(1, 9), "
        "lambda: os.mknod('/tmp/x', 0o60600, os.makedev(8, 0))):\n"
        "    try: act(); print('done')\n    except OSError: print('refused')\n"
    )
    lines = said(way.run(program, LIMITS)).splitlines()
    assert lines[0] == "set() True"
    assert lines[1:3] == ["refused", "refused"]
    assert lines[4] == "refused"


def test_processes_of_the_host_are_not_seen_and_cannot_be_ended(way: Sandbox) -> None:
    program = f"import os\ntry: os.kill({os.getpid()}, 0); print('seen')\nexcept OSError: print('not there')"
    assert said(way.run(program, LIMITS)) == "not there\n"


def test_what_outlives_its_program_ends_with_it(way: Sandbox) -> None:
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint('gone')"
    outcome = way.run(program, LIMITS)
    assert said(outcome) == "gone\n"
    assert outcome.seconds < 5


def test_programs_side_by_side_do_not_meet(way: Sandbox) -> None:
    found: dict[int, str] = {}

    def one(number: int) -> None:
        program = (
            f"import os, time\nopen('/tmp/me', 'w').write('{number}')\ntime.sleep(0.3)\nprint(open('/tmp/me').read())"
        )
        found[number] = way.run(program, LIMITS).output

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"{number}\n" for number in range(3)}


def test_a_large_program_and_one_that_is_no_python_come_to_an_end(way: Sandbox) -> None:
    assert said(way.run(f"data = '{'x' * 1_000_000}'\nprint(len(data))", LIMITS)) == "1000000\n"
    assert "SyntaxError" in way.run("def (", LIMITS).errors
    assert way.run("\udcff", LIMITS).code == 1


def test_no_folder_is_left_where_the_root_was_built(
    way: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    started = time.monotonic()
    way.run("while True: pass", LIMITS.model_copy(update={"seconds": 0.3}))
    assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_where_no_sandbox_works_nothing_is_run_and_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    monkeypatch.setattr(
        Namespaces, "command", lambda *_: ["/bin/sh", "-c", "echo unshare: Operation not permitted >&2; exit 125"]
    )
    find_sandbox.cache_clear()
    with pytest.raises(InputError, match=r"Operation not permitted.*install bubblewrap \(`apt install bubblewrap`\)"):
        find_sandbox()
    find_sandbox.cache_clear()
