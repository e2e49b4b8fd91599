"""A real S3 server for tests: SeaweedFS, which `make test-cluster` installs. It keeps what it has acknowledged."""

import json
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from obstore import sign
from obstore.store import MemoryStore, S3Store

from data_store.content.bucket import Bucket, open_bucket
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build" / "cluster" / "bin" / "weed"
MISSING = "SeaweedFS is not here: make test-cluster installs it"
BUCKET = "llamas"
_SECONDS_TO_START = 60.0


class S3Server:
    """A server that keeps its data in a folder, and can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(8)
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[0]}",
            "AWS_ACCESS_KEY_ID": "halter",
            "AWS_SECRET_ACCESS_KEY": "halter-secret",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Returns when it answers."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        credentials = {"accessKey": "halter", "secretKey": "halter-secret"}
        who = {"identities": [{"name": "halter", "credentials": [credentials], "actions": ["Admin"]}]}
        (self.folder / "s3.json").write_text(json.dumps(who))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(PROGRAM), "server", "-s3", "-s3.autoCreateBucket=false", "-master.telemetry=false"),
                    *(f"-dir={self.folder / 'data'}", f"-s3.config={self.folder / 's3.json'}"),
                    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64", "-volume.max=40"),
                    *(f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", "-s3.port.iceberg=0"),
                    "-s3.port.lance=0",  # else 9101, for which a second server would end
                    *(f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
                    *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}"),
                    *(f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            with suppress(OSError):
                request = urllib.request.Request(self._bucket_address(), method="PUT")
                try:
                    urllib.request.urlopen(request, timeout=5).close()
                    return
                except urllib.error.HTTPError as error:
                    if error.code == 409:  # it is there
                        return
            assert self.process.poll() is None, f"it ended:\n{self._told()}"
            time.sleep(0.2)
        raise AssertionError(f"it does not answer:\n{self._told()}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _told(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def new_place(self) -> str:
        """The address of a prefix that nobody has used."""
        return f"s3://{BUCKET}/{secrets.token_hex(6)}"

    def _bucket_address(self) -> str:
        store = S3Store(
            BUCKET,
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            region="us-east-1",
            access_key_id="halter",
            secret_access_key="halter-secret",
            client_options={"allow_http": True},
        )
        return sign(store, "PUT", "", timedelta(minutes=1))


Buckets = Callable[[str], Bucket]
"""Place → bucket."""


def in_memory() -> Buckets:
    """Buckets in the memory of this process, one for each place: the client's own, for what needs no server."""
    made: dict[str, MemoryStore] = {}
    return lambda place: Bucket(place, made.setdefault(place, MemoryStore()), patience=0.0)


def keys(bucket: Bucket) -> list[str]:
    """All keys under the prefix."""
    return [key for key, _ in bucket.listed("")]


def in_bucket(place: str | None, prefix: str) -> list[str]:
    """What lies under a prefix of a store's bucket, by the environment's credentials."""
    assert place is not None
    return [key for key in keys(open_bucket(place)) if key.startswith(prefix)]
