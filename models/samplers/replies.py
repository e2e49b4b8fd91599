"""What a vLLM server says of itself, read as what a stranger says; needs no torch."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.samplers.client import Client, VllmError, http_client
from models.samplers.config import VllmConfig

_LOOK_SECONDS = 10.0
Reply = TypeVar("Reply", bound=BaseModel)


class Said(BaseModel):
    """Strings are no numbers, and true is none."""

    model_config = ConfigDict(strict=True)


class Version(Said):
    """Of the server."""

    version: Annotated[str, Field(max_length=100)]


class Served(Said):
    """A model that it serves; an adapter has a parent."""

    id: Annotated[str, Field(max_length=1000)]
    parent: str | None = None
    max_model_len: Annotated[int, Field(ge=1)] | None = None


class Models(Said):
    """All of them."""

    data: Annotated[list[Served], Field(max_length=1000)]


def read(kind: type[Reply], content: bytes) -> Reply:
    """An answer of this kind. Raises VllmError for what is none."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise VllmError(f"vLLM's answer is not what was asked for: {place or 'it'}: {first['msg']}") from None


def base_of(client: Client, version: str) -> Served:
    """The model that a server was started with. Raises VllmError for another version than this one."""
    there = read(Version, client.get("/version")).version
    if there.partition("+")[0] != version:
        raise VllmError(
            f"the server is vLLM {there}, and sampler: vllm-{version} is that version alone, since another one draws "
            f"other answers: install vllm=={version}"
        )
    for model in read(Models, client.get("/v1/models")).data:
        if model.parent is None:
            return model
    raise VllmError("the server serves no model")


def check_reached(config: VllmConfig, version: str) -> None:
    """Raises ValueError or VllmError where the server that the config names does not answer, or is another version."""
    look = config.model_copy(update={"retries": 0, "timeout_seconds": min(_LOOK_SECONDS, config.timeout_seconds)})
    with http_client(look) as http:
        base_of(Client(http, look, lambda: None), version)
