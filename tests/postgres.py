"""A PostgreSQL server of the tests' own: started as a user that is not root, on a unix socket in a folder that goes."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

_PLACES = ("/usr/local/bin", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
MISSING = "no PostgreSQL server is installed (apt-get install postgresql)"


def _program(name: str) -> Path | None:
    found = [shutil.which(name)]
    for place in _PLACES:
        found += [str(path) for path in sorted(Path("/").glob(f"{place[1:]}/{name}"), reverse=True)]
    return next((Path(path).resolve() for path in found if path and Path(path).exists()), None)


def is_there() -> bool:
    """Whether there is a server to start."""
    return _program("postgres") is not None and _program("initdb") is not None


class Postgres:
    """A server on a socket in `folder`. With a `password` it listens on 127.0.0.1, too, at `port`, lets in who knows
    it, and has a database called `name`, as the user is."""

    def __init__(self, folder: Path, name: str = "halter", password: str | None = None, port: int = 5432) -> None:
        self.folder, self.data = folder, folder / "data"
        self.name, self.password, self.port = name, password, port
        self.process: subprocess.Popen[bytes] | None = None
        self.data.mkdir()
        if os.geteuid() == 0 and _may_be_anybody():
            for path in (folder, self.data):
                shutil.chown(path, "nobody")
        words = [str(_program("initdb")), "-D", str(self.data), "-U", name, "-E", "UTF8", "-N", "--auth-local", "trust"]
        self._run([*words, "--auth-host", "trust" if password is None else "scram-sha-256"])

    @property
    def url(self) -> str:
        """Its one database."""
        return f"postgresql://{self.name}@/postgres?host={self.folder}&port={self.port}"

    def fresh(self) -> str:
        """The address of a journal in a schema that nobody has used."""
        return f"{self.url}&schema=s{uuid.uuid4().hex[:12]}"

    def count(self, url: str) -> int:
        """How many entries the journal at the address has."""
        schema = url.rpartition("=")[2]
        with psycopg.connect(self.url) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {schema}.entry".encode()).fetchall()[0][0])

    def start(self) -> None:
        """Start it, again where it is still held by what a killed one has left, and wait until it answers."""
        heard = "" if self.password is None else "127.0.0.1"
        settings = {"listen_addresses": heard, "port": f"{self.port}", "unix_socket_directories": f"{self.folder}"}
        settings["max_connections"] = "100"
        words = [str(_program("postgres")), "-D", str(self.data)]
        words += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(_as_nobody(words), stdout=log, stderr=log, **_identity())
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError((self.folder / "log").read_text())

    def open_to(self, password: str) -> None:
        """Let in over TCP who knows the password, to a database of the user's name."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.name), password))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))

    def kill(self) -> None:
        """As a power cut would end it, but that the kernel keeps what was written."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Fast and clean."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)

    def _run(self, words: list[str]) -> None:
        subprocess.run(_as_nobody(words), check=True, capture_output=True, **_identity())


def _may_be_anybody() -> bool:
    """Whether this root has the other users, which that of a namespace may lack."""
    return int(Path("/proc/self/uid_map").read_text().split()[2]) > 65534


def _identity() -> dict[str, str]:
    return {"user": "nobody"} if os.geteuid() == 0 and _may_be_anybody() else {}


def _as_nobody(words: list[str]) -> list[str]:
    if os.geteuid() == 0 and not _may_be_anybody():
        return ["unshare", "--user", "--map-user=65534", "--", *words]
    return words


@contextmanager
def postgres(name: str = "halter", password: str | None = None, port: int = 5432) -> Iterator[Postgres]:
    """A server for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = Postgres(folder, name, password, port)
    try:
        server.start()
        if password is not None:
            server.open_to(password)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
