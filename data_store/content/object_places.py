"""The objects of a store, wherever they lie."""

from pathlib import Path

from data_store.content.objects import Objects
from data_store.errors import InputError, StoreError
from data_store.places import Places, read_places
from data_store.read_only import Scratch


def objects_of(root: Path, places: Places, spare: Scratch | None = None) -> Objects:
    """The objects of the store at `root`. `spare`: where copies lie of a store that cannot be written to. Raises
    InputError where what reaches them is not installed, or the environment has no credentials."""
    if places.objects is None:
        return Objects(root / "objects", root / "tmp")
    try:
        from data_store.content.bucket import open_bucket
        from data_store.content.bucket_objects import BucketObjects
    except ImportError:
        raise InputError(
            f"the objects of {root} lie in {places.objects}, and what reaches them is not installed: "
            "pip install 'halter[s3]'"
        ) from None
    if spare is None:  # whoever brings a store to another machine leaves these behind
        for name in ("objects", "checkouts", "datasets"):
            (root / name).mkdir(exist_ok=True)
    at = (root / "objects", root / "tmp") if spare is None else (spare.folder("objects"), spare.folder("tmp"))
    limit = None if places.cache_gb is None else int(places.cache_gb * 1e9)
    return BucketObjects(*at, open_bucket(places.objects), (places.store or "", root.name), limit)


def check_unmoved(root: Path, places: Places) -> None:
    """Raises StoreError where the objects lie elsewhere now than when the store was opened with these `places`."""
    if read_places(root).objects != places.objects:
        raise StoreError(f"the objects of {root} were moved while this was at work; the same command goes on from here")
