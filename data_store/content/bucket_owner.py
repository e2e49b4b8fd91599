"""Whose objects lie under a prefix of a bucket: a marker there names the store, so that no two share it by accident."""

import json

from data_store.content.bucket import Bucket
from data_store.encoding import canonical_json
from data_store.errors import StoreError

_MARKER = "halter-store.json"
_MOST_BYTES = 1 << 16


def is_claimed(bucket: Bucket) -> bool:
    """Whether the prefix is some store's. The marker is read: a refusal to tell no more than whether it is there would
    not say why."""
    return bucket.read(_MARKER) is not None


def claim(bucket: Bucket, store: str, name: str) -> None:
    """Make the prefix that of the store with this id and name. Raises StoreError where it is another's, or holds
    objects of nobody knows whom."""
    if not is_claimed(bucket):
        for key, _ in bucket.listed("objects/"):
            raise StoreError(f"{bucket.url} has no {_MARKER} and holds {key}: give a prefix that is empty")
        content = canonical_json({"format": 1, "name": name, "store": store}).encode()
        if bucket.create(_MARKER, content):
            if bucket.create(_MARKER, content):
                raise StoreError(
                    f"{bucket.url}: this server writes over what is there in spite of If-None-Match, so content could "
                    "be lost: use another one"
                )
            return
    check_owner(bucket, store, name)


def check_owner(bucket: Bucket, store: str, name: str) -> None:
    """Raises StoreError where the prefix is not that of the store with this id; `name` is for the message."""
    reader = bucket.read(_MARKER)
    if reader is None:
        raise StoreError(
            f"{bucket.url} has no {_MARKER}, so the objects of {name} are not there: correct the address, or put back "
            "what was deleted"
        )
    try:
        found = json.loads(reader.read(_MOST_BYTES))
        theirs, their_name = str(found["store"]), str(found["name"])
    except (ValueError, LookupError, TypeError):
        raise StoreError(f"{bucket.url}/{_MARKER} is damaged; it should name store {store}") from None
    if theirs != store:
        raise StoreError(
            f"{bucket.url} holds the objects of store {their_name} ({theirs}), not of {name} ({store}): give each "
            "store a prefix of its own"
        )


def give_up(bucket: Bucket) -> None:
    """Let the prefix be nobody's; it has to be empty."""
    bucket.delete([_MARKER])
