"""The process that does shards for a worker of Ray: `python -m tasks.engine.on_ray.shard_process`.

It reads where an order lies, a line of JSON on standard input, and answers with a line; it ends when that input closes.
It stays for the worker's next shard, and keeps the models that it opened last.
"""

import json
import os
import socket
import sys
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tasks.engine.loaded_code import LoadedCode

if TYPE_CHECKING:
    from torch import nn

    from data_store.content.bucket_objects import BucketObjects
    from data_store.content.publishing import Checkouts
    from tasks.engine.on_ray.shards import Answer, Model, Place, Shard

WORK = "tasks.engine.on_ray.shard_work"
MOST_MODELS = 2  # a step scores by two reward models


class Opened:
    """The models that were opened last, no more than a shard needs at once."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, nn.Module] = OrderedDict()

    def get(self, model: "Model", checkouts: "Checkouts") -> "nn.Module":
        """The model, opened where it is not yet."""
        from tasks.engine.on_ray.shard_work import open_model

        name = model.model_dump_json()
        if name not in self._models:
            while len(self._models) >= MOST_MODELS:  # before it is opened: both would have to fit
                self._models.popitem(last=False)
            base = None if model.base is None else checkouts.get(model.base.info)
            self._models[name] = open_model(model, checkouts.get(model.version.info), base)
        self._models.move_to_end(name)
        return self._models[name]


def do_shard(place: "Place", loaded: LoadedCode, opened: Opened, home: Path) -> None:
    """Put the result of a shard into the bucket, where it is not there yet. Raises InputError for other code than the
    step's, ValueError for what cannot be drawn, StoreError where the bucket is out of reach."""
    from data_store.content.bucket_objects import BucketObjects
    from data_store.content.object_places import objects_of
    from data_store.content.publishing import Checkouts
    from data_store.errors import InputError
    from data_store.places import Places
    from tasks.engine.on_ray.shard_work import result_of
    from tasks.engine.on_ray.shards import Began
    from tasks.engine.remote.received import prepared, tidied

    root = prepared(home / ".remote" / place.store)
    objects = objects_of(root, Places(objects=place.objects, store=place.store))
    if not isinstance(objects, BucketObjects):
        raise InputError(f"{place.objects} is no bucket")
    objects.check()
    shard = ordered(objects, place)
    began = Began(host=socket.gethostname())
    objects.bucket.create(f"{place.key}began/{uuid.uuid4().hex}", began.model_dump_json().encode())
    if objects.bucket.look(f"{place.key}result") is not None:
        return
    mine = loaded.files(WORK)
    if others := sorted(path for path in mine if shard.code.get(path) != mine[path]):
        raise InputError(
            f"other code on {began.host} than at the step: {', '.join(others[:5])}: install the same there"
        )
    checkouts = tidied(Checkouts(root / "checkouts", root / "tmp", objects))
    made = result_of(shard, lambda model: opened.get(model, checkouts))
    objects.bucket.create(f"{place.key}result", made.model_dump_json().encode())


def ordered(objects: "BucketObjects", place: "Place") -> "Shard":
    """The order, which is what its name says. Raises InputError where it is not, or is not there."""
    from data_store.errors import InputError
    from tasks.engine.on_ray.shards import Shard, named

    reader = objects.bucket.read(f"{place.key}order")
    if reader is None:
        raise InputError("nobody waits for this shard any more")
    content = b"".join(iter(lambda: reader.read(1 << 20), b""))
    if named(content) != place.key.split("/")[2]:
        raise InputError(f"{place.key}order is not what its name says")
    return Shard.model_validate_json(content)


def answers_to(lines: Iterator[str], loaded: LoadedCode) -> "Iterator[Answer]":
    """One answer a line."""
    from data_store.errors import InputError, StoreError
    from tasks.engine.on_ray.shards import Answer, Place

    opened, home = Opened(), Path(os.environ.get("HALTER_HOME", "halter-store")).absolute()
    for line in lines:
        try:
            do_shard(Place.model_validate_json(line), loaded, opened, home)
            yield Answer()
        except (InputError, ValueError) as error:
            yield Answer(failed=f"{error}"[:20_000], is_input=True)
        except (StoreError, RuntimeError, OSError) as error:
            yield Answer(failed=f"{type(error).__name__}: {error}"[:20_000])


def main() -> None:
    """Until standard input closes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    loaded = LoadedCode()
    loaded.install()
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)  # whoever started this is gone, in the middle of a shard, too

    threading.Thread(target=listen, daemon=True).start()
    for answer in answers_to(iter(lines.get, None), loaded):
        out.write(json.dumps(answer.model_dump()) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
