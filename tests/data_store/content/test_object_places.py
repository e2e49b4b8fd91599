import sys
from pathlib import Path

import pytest

from data_store.content.object_places import objects_of
from data_store.content.objects import Objects
from data_store.errors import InputError
from data_store.places import Places


def test_objects_lie_in_the_folder_unless_the_places_say_otherwise(tmp_path: Path) -> None:
    found = objects_of(tmp_path, Places())
    assert type(found) is Objects
    assert found.folder == tmp_path / "objects"


def test_where_the_client_of_buckets_is_not_installed_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "data_store.content.bucket", None)
    with pytest.raises(InputError, match=r"lie in s3://llamas/demo, .*pip install 'halter\[s3\]'"):
        objects_of(tmp_path, Places(objects="s3://llamas/demo"))
