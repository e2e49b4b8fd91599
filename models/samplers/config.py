"""How the engine is reached, or started, that draws where a config's `sampling.sampler` names it."""

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from models.config import Config, SamplingConfig

OURS = ("--host", "--port", "--uds", "--dtype", "--logprobs-mode", "--generation-config", "--served-model-name")
OURS_TOO = ("--enable-lora", "--max-lora-rank", "--api-key")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")


def plain_address(url: str) -> str:
    """The address without a slash at its end. Raises ValueError for what is none over HTTP, and for one that holds more
    than a place: a password in it would be written down."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("write it like https://api.example.org/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("no user, password, query or fragment here: name the key's variable in key_variable")
    return url.rstrip("/")


class VllmConfig(Config):
    """vLLM, in an environment of its own. No part of what made a version: that is the sampler's name with its
    version."""

    command: tuple[str, ...] = Field(
        default=(),
        description="What starts the server, the model's folder and what Halter needs of it follow: "
        "[/opt/vllm/bin/vllm, serve]. Each step that draws starts one and ends it",
    )
    arguments: tuple[str, ...] = Field(
        default=(), description="What else the server is told: [--tensor-parallel-size, '8']"
    )
    environment: dict[str, str] = Field(
        default={}, description="Variables of the server alone; secrets come from the environment of the run"
    )
    url: str | None = Field(
        default=None,
        description="Or a server that somebody else runs, such as http://gpu.example:8000. It serves the base of "
        "adapters, reads their folders from the same disk, and lets them be loaded",
    )
    key_variable: str | None = Field(
        default=None, description="Environment variable that holds the key for `url`; the key itself is kept nowhere"
    )
    start_seconds: float = Field(default=600, gt=0, description="How long a server may take until it answers")
    timeout_seconds: float = Field(default=600, gt=0, description="Of one request")
    retries: int = Field(default=3, ge=0, le=20, description="After a timeout, a lost connection, or 408, 429 and 5xx")
    backoff_seconds: float = Field(default=1, ge=0, le=60, description="Before the first; doubled for each next one")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return None if url is None else plain_address(url)

    @field_validator("arguments")
    @classmethod
    def _leaves_ours(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        for argument in arguments:
            if argument.partition("=")[0].replace("_", "-") in (*OURS, *OURS_TOO):
                raise ValueError(f"{argument} is what Halter sets: take it out")
        return arguments

    @field_validator("environment")
    @classmethod
    def _holds_no_secrets(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if _SECRET.search(name.upper()):
                raise ValueError(f"{name} looks like a secret, and configs are kept: export it before the run")
        return environment

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.url is None) == (not self.command):
            raise ValueError("give a command that starts the server, or the url of one that runs")
        if self.url is not None and (self.arguments or self.environment):
            raise ValueError("arguments and environment are those of a command: take them out, or give command")
        if self.url is None and self.key_variable is not None:
            raise ValueError("key_variable is that of a url: a server that Halter starts is reached by nobody else")
        return self


def version_of(sampling: SamplingConfig) -> str | None:
    """The version of vLLM that draws; None where torch does."""
    return None if sampling.sampler == "torch" else sampling.sampler.removeprefix("vllm-")
