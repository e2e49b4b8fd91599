from collections.abc import Sequence

import pytest

from world.annotator import Annotator
from world.content import World
from world.demonstrations import make_demonstrations
from world.documents import defect_truth, make_documents
from world.prompts import make_prompts

DOCUMENTS = 20_000


@pytest.fixture(scope="session")
def world() -> World:
    return World(0)


@pytest.fixture(scope="session")
def annotator(world: World) -> Annotator:
    return Annotator(world)


@pytest.fixture(scope="session")
def documents(world: World) -> list[dict[str, str]]:
    return make_documents(world, DOCUMENTS, seed=0)


@pytest.fixture(scope="session")
def truth(world: World) -> dict[str, str]:
    return defect_truth(world, DOCUMENTS, seed=0)


@pytest.fixture(scope="session")
def clean_texts(documents: Sequence[dict[str, str]], truth: dict[str, str]) -> list[str]:
    return [row["text"] for row in documents if row["doc_id"] not in truth]


@pytest.fixture(scope="session")
def demonstrations(world: World) -> list[dict[str, object]]:
    return make_demonstrations(world, 4_000, seed=0)


@pytest.fixture(scope="session")
def prompts(world: World) -> list[dict[str, object]]:
    return make_prompts(world, seed=0)
