import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx
import pytest

from data_store.annotation.batches import Message
from data_store.annotation.live import LiveResponse
from tests.data_store.annotation.pairs import Desk, pair
from tests.web.answering import ReadyAnswerer
from tests.web.served import TLS, Person, hidden_fields, running
from web.app import create_app
from web.guard import BODY_BYTES

CLIENT = httpx.Client(verify=TLS, timeout=60)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "127.0.0.1:x", "::1", "[::1", "a/b"],
)
def test_a_foreign_host_name_is_refused_so_that_no_name_can_be_rebound_to_this_address(url: str, host: str) -> None:
    assert CLIENT.get(f"{url}/login", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4300", "LOCALHOST", "[::1]:4300"])
def test_the_names_of_this_machine_are_served(url: str, host: str) -> None:
    assert CLIENT.get(f"{url}/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://{host}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_form_that_is_not_our_own_pages_is_refused(desk: Desk, url: str, headers: Mapping[str, str]) -> None:
    desk.add("anna")
    host = urlsplit(url).netloc
    filled = {name: value.format(host=host) for name, value in headers.items()}
    answer = CLIENT.post(f"{url}/login", data={"token": desk.tokens["anna"]}, headers=filled)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{"Origin": "{url}"}, {"Sec-Fetch-Site": "same-origin"}])
def test_a_form_of_our_own_page_is_taken(desk: Desk, url: str, headers: Mapping[str, str]) -> None:
    desk.add("anna")
    filled = {name: value.format(url=url) for name, value in headers.items()}
    assert CLIENT.post(f"{url}/login", data={"token": desk.tokens["anna"]}, headers=filled).status_code == 303


def test_every_answer_carries_the_headers_errors_and_refusals_included(desk: Desk) -> None:
    class Broken(ReadyAnswerer):
        def pair(self, messages: Sequence[Message], key: str) -> tuple[LiveResponse, LiveResponse]:
            raise ZeroDivisionError

    desk.add("anna")
    desk.open(quota=1, written_prompts=True)
    with running(create_app(desk.book, answerer=Broken())) as url:
        anna = Person(url, desk.tokens["anna"])
        answers = {
            200: anna.get("/"),
            404: anna.get("/nowhere"),
            405: anna.client.put("/login"),
            421: anna.client.get("/login", headers={"Host": "evil"}),
            413: anna.client.post("/login", content=b"x" * (BODY_BYTES + 1)),
            500: anna.post("/batches/v1/write", anna.get("/batches/v1/write").text, axis="safety", prompt="why?"),
        }
    for status, answer in answers.items():
        assert answer.status_code == status
        policy = answer.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 's"
        )
        assert "frame-ancestors 'none'; base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers or answer.headers["server"] == "uvicorn"  # halter annotate leaves it out


def test_a_body_over_the_limit_is_refused_with_and_without_a_length(url: str) -> None:
    def chunks() -> object:
        for _ in range(BODY_BYTES // 1000 + 2):
            yield b"x" * 1000

    for content in (b"x" * (BODY_BYTES + 1), chunks()):
        answer = CLIENT.post(f"{url}/login", content=content, headers={"Origin": url})  # type: ignore[arg-type]
        assert answer.status_code == 413


def test_a_body_that_never_ends_is_cut_off_by_its_length_before_it_is_read(url: str) -> None:
    parts = urlsplit(url)
    head = f"POST /login HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {url}\r\nContent-Length: 99999999\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_behind_https_cookies_are_secure_and_an_http_origin_is_refused(desk: Desk) -> None:
    desk.add("anna")
    app = create_app(desk.book, hosts=["judge.example.org"], https=True)
    with running(app) as url:
        form = {"token": desk.tokens["anna"]}
        ours = {"Host": "judge.example.org", "Origin": "https://judge.example.org"}
        answer = CLIENT.post(f"{url}/login", data=form, headers=ours)
        plain = CLIENT.post(f"{url}/login", data=form, headers={**ours, "Origin": "http://judge.example.org"})
        assert CLIENT.get(f"{url}/login").status_code == 421  # by its address it is not reached
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-halter=")
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Secure"} <= set(cookie.split("; "))
    assert answer.headers["strict-transport-security"]
    assert plain.status_code == 403


def test_a_form_without_the_token_of_its_session_is_refused(desk: Desk, url: str) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1))
    anna, ben = Person(url, desk.tokens["anna"]), Person(url, desk.tokens["ben"])
    page = anna.get("/batches/v1").text
    of_ben = hidden_fields(ben.get("/").text)["csrf"]
    for csrf in ("", "x", of_ben, "é"):
        for path in ("judge", "skip", "flag", "undo"):
            assert anna.post(f"/batches/v1/{path}", page, csrf=csrf, verdict="a:better").status_code == 403
    assert anna.post("/batches/v1/judge", page, verdict="a:better").status_code == 303


def test_a_session_cookie_is_kept_from_scripts_and_other_sites(desk: Desk, url: str) -> None:
    desk.add("anna")
    cookie = CLIENT.post(f"{url}/login", data={"token": desk.tokens["anna"]}, headers={"Origin": url}).headers[
        "set-cookie"
    ]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
