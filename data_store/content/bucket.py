"""What lies under one prefix of an S3 bucket: the requests that the store makes, and what is said where one fails.

Nothing is overwritten: content is put there with `If-None-Match: *`, so that of two who put the same at once one hears
that it is there. Credentials come from the environment alone.
"""

import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from data_store.content.objects import Held
from data_store.errors import InputError, StoreError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

PATIENCE_SECONDS = 60.0  # for all tries of one request together
WHOLE_BYTES = 16 << 20  # what is larger travels in parts of this size, two at a time
PAGE = 1000  # keys that one request lists
_COPY_BYTES = 5 << 30  # S3 copies no more than this in one part
_MOST_PARTS = 9_000  # S3 takes 10,000
_URL = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<prefix>[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*)/?"
)
_KEY_SOURCES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_CREATED = TypeVar("_CREATED")

# What a server's answer means for people, by what stands in it; the first that fits. None of these passes by itself.
_MEANINGS = (
    ("NoSuchBucket", "there is no such bucket: create it, or correct the address"),
    ("RequestTimeTooSkewed", "the clock of this machine and the server's are too far apart: set this one's"),
    ("ExpiredToken", "the credentials in the environment have expired: get new ones"),
    ("InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken", "the server does not accept the credentials in "
     "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: correct them"),
    ("PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|301 Moved",
     "the bucket lies in another region: set AWS_REGION"),
    ("AccessDenied|403 Forbidden|401 Unauthorized", "the credentials in the environment do not allow it: they need "
     "to list, get, put and delete under this prefix"),
    ("501 Not Implemented|NotImplemented", "this server has no conditional writes (If-None-Match), without which "
     "content could be overwritten: use another one"),
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where objects lie: `s3://bucket/prefix`."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises InputError for what is none."""
        found = _URL.fullmatch(url)
        if found is None or any(part in (".", "..") for part in found["prefix"].split("/")):
            raise InputError(f"{url!r} is no place for objects: give s3://BUCKET/PREFIX, for example s3://llamas/demo")
        return cls(found["bucket"], found["prefix"])

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def open_bucket(url: str) -> "Bucket":
    """The bucket that an address names, by the environment's endpoint, region and credentials; nothing is asked of it.
    Raises InputError for a wrong address and where there are no credentials."""
    address = Address.parse(url)
    keys = os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not keys and not any(os.environ.get(name) for name in _KEY_SOURCES):
        raise InputError(
            f"{address}: there are no credentials in the environment: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "and AWS_ENDPOINT_URL for a server that is not Amazon's"
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    store = S3Store(
        address.bucket,
        prefix=address.prefix,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        checksum_algorithm="sha256",
        copy_if_not_exists="multipart",
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=PATIENCE_SECONDS),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
    )
    return Bucket(str(address), store, PATIENCE_SECONDS)


class Bucket:
    """One prefix of a bucket. Threads may share it; it must not be used on both sides of a fork.

    Each request is tried again, for `patience` seconds in all, where the server is away or busy. What goes wrong for
    good is a StoreError that names bucket and key and says what to do. `requests` counts those that were made.
    """

    def __init__(self, url: str, store: "ObjectStore", patience: float) -> None:
        self.url = url
        self.patience = patience
        self.requests = 0
        self._store = store

    def within(self, seconds: float) -> "Bucket":
        """The same for somebody of less patience."""
        return Bucket(self.url, self._store, seconds)

    def look(self, key: str) -> Held | None:
        """Size in bytes and last change of what lies there; None where nothing does."""
        found = self._ask(key, lambda: _or_none(lambda: obstore.head(self._store, key)))
        return None if found is None else Held(found["size"], found["last_modified"].timestamp())

    def listed(self, prefix: str) -> Iterator[tuple[str, Held]]:
        """Every key below a prefix, which ends with '/', with size and last change."""
        last: str | None = None
        while page := self._ask(prefix, partial(self._page, prefix, last)):
            for each in page:
                yield each["path"], Held(each["size"], each["last_modified"].timestamp())
            if len(page) < PAGE:
                return
            last = page[-1]["path"]

    def create(self, key: str, content: bytes) -> bool:
        """Put content where nothing lies; False where something does, which stays as it is."""
        return self._created(key, lambda: obstore.put(self._store, key, content, mode="create", use_multipart=False))

    def create_file(self, key: str, file: Path) -> bool:
        """The same of a file that nobody writes to, of any size; no more than two parts of it are in memory."""
        size = file.stat().st_size
        if size <= WHOLE_BYTES:
            return self.create(key, file.read_bytes())
        if self.look(key) is not None:
            return False
        if size > _COPY_BYTES:
            self._upload(key, file, size)
            return True
        # S3 has no conditional upload of parts in this client: they are put together elsewhere, then copied so.
        draft = f"uploads/{uuid.uuid4().hex}"
        self._upload(draft, file, size)
        self.requests += 2
        made = self._created(key, lambda: obstore.copy(self._store, draft, key, overwrite=False))
        self.delete([draft])
        return made

    def touch(self, key: str) -> None:
        """Let an empty object be there, changed now; the one way in which anything here is written over."""
        self._ask(key, lambda: obstore.put(self._store, key, b"", mode="overwrite", use_multipart=False))

    def read(self, key: str) -> "Reader | None":
        """What lies there, to be read some bytes at a time; None where nothing does."""
        got = self._ask(key, lambda: _or_none(lambda: obstore.get(self._store, key)))
        if got is None:
            return None
        size = got.meta["size"]
        if size > WHOLE_BYTES:
            return Reader(size, lambda start: self._range(key, start, min(WHOLE_BYTES, size - start)))
        try:
            content = bytes(got.bytes())
        except BaseError:  # cut off on its way
            content = self._ask(key, lambda: bytes(obstore.get(self._store, key).bytes()))
        return Reader(size, lambda _start: content)

    def delete(self, keys: Sequence[str]) -> None:
        """Take these away, whether or not they are there."""
        for start in range(0, len(keys), 1000):
            some = list(keys[start : start + 1000])
            self._ask(some[0], lambda some=some: obstore.delete(self._store, some))  # type: ignore[misc]

    def _page(self, prefix: str, after: str | None) -> "Sequence[ObjectMeta]":
        return next(iter(obstore.list(self._store, prefix, offset=after, chunk_size=PAGE)), [])

    def _range(self, key: str, start: int, length: int) -> bytes:
        return self._ask(key, lambda: bytes(obstore.get_range(self._store, key, start=start, length=length)))

    def _upload(self, key: str, file: Path, size: int) -> None:
        part = max(WHOLE_BYTES, -(-size // _MOST_PARTS))

        def send() -> None:
            obstore.put(self._store, key, file, use_multipart=True, chunk_size=part, max_concurrency=2)

        self.requests += 1 - (-size // part)
        self._ask(key, send)

    def _created(self, key: str, request: Callable[[], object]) -> bool:
        def tried() -> bool:
            try:
                request()
            except AlreadyExistsError:
                return False
            return True

        return self._ask(key, tried)

    def _ask(self, key: str, request: Callable[[], _CREATED]) -> _CREATED:
        deadline, pause = time.monotonic() + self.patience, 0.1
        while True:
            self.requests += 1
            try:
                return request()
            except (BaseError, FileNotFoundError) as error:
                meaning = next((text for mark, text in _MEANINGS if re.search(mark, str(error))), None)
                if isinstance(error, FileNotFoundError):
                    meaning = meaning or "it was taken away while it was read"
                if meaning or time.monotonic() + pause > deadline:
                    raise StoreError(f"{self.url}/{key}: {meaning or self._unreachable(error)}") from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _unreachable(self, error: Exception) -> str:
        where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon's own"
        reason = str(error).split("\n", 1)[0]
        return (
            f"no answer within {self.patience:g} s; look at the network and at AWS_ENDPOINT_URL ({where}); the same "
            f"command goes on from here ({reason})"
        )


class Reader:
    """Bytes that are fetched as they are read. `fetch` gives those from a place on, as many as it likes."""

    def __init__(self, size: int, fetch: Callable[[int], bytes]) -> None:
        self.size = size
        self._fetch = fetch
        self._done = 0
        self._held = memoryview(b"")

    def read(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        if not self._held and self._done < self.size:
            self._held = memoryview(self._fetch(self._done))
            self._done += len(self._held)
        some, self._held = bytes(self._held[:most]), self._held[most:]
        return some


def _or_none(request: Callable[[], _CREATED]) -> _CREATED | None:
    try:
        return request()
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise
        return None
