"""How often, how long and how much a server is heard, and what is said of one that cannot be used."""

import socket
import time
from pathlib import Path

import pytest

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.generation import Request
from models.samplers.client import Client, RefusedError, VllmError, http_client
from models.samplers.config import VllmConfig
from models.samplers.replies import check_reached
from models.samplers.serving import Serving
from tests.models.samplers.wrong_server import Answer, Asked, answering, drips, says

HERE = {
    "/version": says(b'{"version": "0.32.0"}'),
    "/v1/models": says(b'{"data": [{"id": "base", "max_model_len": 64}]}'),
}


def config(url: str, **more: float) -> VllmConfig:
    return VllmConfig.model_validate({"url": url, "retries": 2, "backoff_seconds": 0, **more})


def asked(url: str, **more: float) -> bytes:
    """What a server says at /x, in at most 100 bytes."""
    settings = config(url, **more)
    with http_client(settings) as http:
        return Client(http, settings, lambda: None).ask("POST", "/x", {"a": 1}, 100)


def hangs_up(request: Asked) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [(says(b"", 503), "status 503"), (says(b"", 429), "status 429"), (hangs_up, "RemoteProtocol")],
)
def test_a_server_in_trouble_is_asked_again_so_often_and_no_more(answer: Answer, trouble: str) -> None:
    with answering({"/x": answer}) as (url, paths), pytest.raises(VllmError, match=f"3 attempts, at last {trouble}"):
        asked(url)
    assert paths == ["/x"] * 3


def test_an_answer_that_never_ends_is_given_up_after_the_time_of_one_request() -> None:
    began = time.monotonic()
    with answering({"/x": drips}) as (url, _), pytest.raises(VllmError, match="1 attempts, at last ReadTimeout"):
        asked(url, retries=0, timeout_seconds=0.2)
    assert time.monotonic() - began < 1.5


def test_an_answer_is_heard_up_to_its_bound_and_no_further() -> None:
    with answering({"/x": says(b"a" * 100)}) as (url, _):
        assert asked(url) == b"a" * 100
    with answering({"/x": says(b"a" * 101)}) as (url, paths), pytest.raises(VllmError, match="more than 100 bytes"):
        asked(url)
    assert paths == ["/x"]


def test_what_a_server_refuses_is_not_asked_again_and_its_word_on_a_key_is_not_repeated() -> None:
    with (
        answering({"/x": says(b"no such model", 404)}) as (url, paths),
        pytest.raises(RefusedError, match="no such model"),
    ):
        asked(url)
    assert paths == ["/x"]
    with answering({"/x": says(b"wrong key: s3cret", 401)}) as (url, _), pytest.raises(RefusedError) as refused:
        asked(url)
    assert "s3cret" not in str(refused.value)
    assert "check the key" in str(refused.value)


def test_a_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def listens(request: Asked) -> None:
        heard.append(request.headers["Authorization"])
        says(b"ok")(request)

    with answering({"/x": listens}) as (url, _):
        settings = VllmConfig(url=url, key_variable="THE_KEY")
        with pytest.raises(ValueError, match="the environment has no THE_KEY"):
            http_client(settings)
        monkeypatch.setenv("THE_KEY", "s3cret")
        with http_client(settings) as http:
            assert Client(http, settings, lambda: None).get("/x") == b"ok"
    assert heard == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"/version": says(b'{"version": "0.33.1"}')}, "vLLM 0.33.1, and sampler: vllm-0.32.0 is that version alone"),
        ({"/version": says(b"<html>")}, "is not what was asked for"),
        ({"/v1/models": says(b'{"data": []}')}, "serves no model"),
        ({"/v1/models": says(b'{"data": [{"id": "base", "max_model_len": 0}]}')}, "max_model_len"),
        ({"/version": says(b"", 500)}, "1 attempts, at last status 500"),
    ],
)
def test_a_server_is_looked_at_before_a_run_begins(changed: dict[str, Answer], why: str) -> None:
    with answering(HERE | changed) as (url, _), pytest.raises(VllmError, match=why):
        check_reached(config(url), "0.32.0")


def test_nobody_at_the_address_is_said_at_once() -> None:
    with answering(HERE) as (url, _):
        check_reached(config(url), "0.32.0")
    with pytest.raises(VllmError, match="ConnectError"):
        check_reached(config(url), "0.32.0")


def served(url: str, folders: dict[str, Path], name: str, renderer: Renderer, tokens: int = 4) -> None:
    base = folders["one"] if name == "adapter" else None
    with Serving(config(url), "0.32.0", "float32", 2, print) as serving:
        policy = serving.policy(load_policy(folders[name], base), folders[name], base, name)
        policy.sample([Request([1, 5, 6], (1.0,), 1)], SamplingConfig(max_new_tokens=tokens), end_ids=renderer.end_ids)


def test_a_server_of_somebody_else_is_given_adapters_alone(served_folders: dict[str, Path], renderer: Renderer) -> None:
    with (
        answering(HERE) as (url, paths),
        pytest.raises(ValueError, match=r"is given adapters alone.*give vllm\.command"),
    ):
        served(url, served_folders, "one", renderer)
    assert paths == []


def test_a_server_that_lets_no_adapter_be_loaded_is_refused_with_how_to_start_it(
    served_folders: dict[str, Path], renderer: Renderer
) -> None:
    with answering(HERE) as (url, _), pytest.raises(ValueError, match="start it with --enable-lora and VLLM_ALLOW"):
        served(url, served_folders, "adapter", renderer)
    says_why = HERE | {"/v1/load_lora_adapter": says(b"rank 4 is more than 2", 400)}
    with answering(says_why) as (url, _), pytest.raises(ValueError, match="rank 4 is more than 2"):
        served(url, served_folders, "adapter", renderer)


def test_a_server_that_was_started_for_less_than_prompt_and_answer_is_asked_for_nothing(
    served_folders: dict[str, Path], renderer: Renderer
) -> None:
    loads = HERE | {path: says(b"ok") for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter")}
    with answering(loads) as (url, paths), pytest.raises(ValueError, match=r"than the 64 that vLLM.*--max-model-len"):
        served(url, served_folders, "adapter", renderer, tokens=62)
    assert paths[-2:] == ["/v1/load_lora_adapter", "/v1/unload_lora_adapter"]
