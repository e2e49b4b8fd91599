"""Strange addresses, fields and headers at every route: an answer of ours each time, and never an internal error."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_store.annotation.batches import batch_of
from data_store.annotation.judging import next_item
from data_store.annotation.red_team import RedTeamSpec, open_red_team
from data_store.names import AssetName
from tests.data_store.annotation.pairs import Desk, new_desk, pair
from tests.web.answering import TROUBLE, ReadyAnswerer
from tests.web.served import Person, hidden_fields, running
from web import adjudicating, attacking, entrance, judging, writing
from web.app import create_app
from web.limits import RateLimit

ROUTES = [
    ("GET", "/"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/batches/{}"),
    ("GET", "/batches/{}/write"),
    *(("POST", f"/batches/{{}}/{act}") for act in ("judge", "skip", "flag", "undo", "write")),
    ("GET", "/adjudicate"),
    ("GET", "/adjudicate/{}"),
    ("POST", "/adjudicate/{}"),
    *((act, "/red-team/{}") for act in ("GET", "POST")),
    *((act, "/red-team/{}/label") for act in ("GET", "POST")),
    ("GET", "/static/{}"),
    ("GET", "/{}"),
]
FIELDS = ["form_key", "verdict", "safety_label", "axis", "milliseconds", "note", "answer_id", "drop", "prompt", "after"]
FIELDS += ["severity", "risk", "vector", "attack_id", "again"]
WORDS = [
    "",
    "v1",
    "1",
    "-1",
    "a:better",
    "both_safe",
    "safety",
    "helpfulness",
    "9" * 30,
    "1e9",
    "²",
    "' OR 1=1 --",
    "\x00",
]
WORDS += [
    "../../etc/passwd",
    "{{ 7*7 }}",
    "{0.__class__}",
    "%s%n",
    "<script>",
    "\ud7ff\uffff",
    "ﷺ" * 50,
    "\r\nX: y",
    *TROUBLE,
    "violation",
    "hate",
    "direct",
]
text = st.one_of(st.sampled_from(WORDS), st.text(max_size=40))
fields = st.dictionaries(st.one_of(st.sampled_from(FIELDS), text), text, max_size=8)


@pytest.fixture(scope="module")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Person]]:
    desk = new_desk(Path(tmp_path_factory.mktemp("book")))
    desk.add("anna", adjudicator=True)
    desk.open(*(pair(number, "safety" if number % 2 else "helpfulness") for number in range(400)), written_prompts=True)
    open_red_team(desk.book, RedTeamSpec("v1", AssetName("model", "policy", "V1"), "new"))
    app = create_app(desk.book, answerer=ReadyAnswerer("new"))
    site = app.app.state.site
    site.requests = site.prompts = site.failed_log_ins = RateLimit(burst=10**6, seconds=1)
    with running(app) as url:
        yield desk, Person(url, desk.tokens["anna"])


def test_the_list_of_routes_is_whole() -> None:
    routers = (entrance.router, judging.router, adjudicating.router, writing.router, attacking.router)
    paths = {route.path for router in routers for route in router.routes if isinstance(route, APIRoute)}
    generic = {path.replace("{batch_id}", "{}").replace("{item}", "{}").replace("{session_id}", "{}") for path in paths}
    assert generic == {path for _, path in ROUTES} - {"/static/{}", "/{}"} | {"/logout"}


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.sampled_from(ROUTES), text, fields, st.booleans(), text)
def test_nothing_that_is_sent_makes_an_internal_error(
    anna: tuple[Desk, Person], route: tuple[str, str], part: str, sent: dict[str, str], is_own_form: bool, language: str
) -> None:
    desk, person = anna
    method, path = route
    address = path.format(quote(part, safe="")) + f"?lang={quote(language)}&after={quote(part)}&axis={quote(language)}"
    form = dict(sent)
    if is_own_form:  # past the first checks
        page = hidden_fields(person.get("/red-team/v1" if "red-team" in path else "/batches/v1").text)
        form = {**page, **sent, "csrf": page["csrf"]}
    headers = {"Accept-Language": language.translate(_NO_CONTROLS).strip().encode("latin-1", "replace")}
    answer = person.client.request(method, address, data=form if method == "POST" else None, headers=headers)
    assert answer.status_code < 500 or (answer.status_code == 503 and form.get("prompt", "").strip() in TROUBLE), (
        answer.text
    )
    assert answer.status_code != 200 or answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith("//")
    assert batch_of(desk.book, "v1").closed is None
    assert next_item(desk.book, "v1", "anna") is not None


_NO_CONTROLS = dict.fromkeys((*range(32), 127))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.binary(max_size=300), st.sampled_from(["application/x-www-form-urlencoded", "multipart/form-data", "x", ""]))
def test_a_body_that_is_no_form_makes_no_internal_error(anna: tuple[Desk, Person], body: bytes, kind: str) -> None:
    _, person = anna
    for path in ("/login", "/batches/v1/judge", "/batches/v1/write", "/adjudicate/1", "/logout"):
        answer = person.client.post(path, content=body, headers={"Content-Type": kind})
        assert 300 <= answer.status_code < 500
