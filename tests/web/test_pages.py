import re

import pytest

from data_store.annotation.batches import batch_of, close_batch
from data_store.annotation.export import handed_rows, judgements
from data_store.annotation.live import LiveResponse
from data_store.annotation.people import disable_annotator
from data_store.annotation.red_team import RedTeamSpec, attack_form, enter_turn, open_red_team
from data_store.names import AssetName
from tests.data_store.annotation.pairs import Desk, pair
from tests.web.answering import ReadyAnswerer
from tests.web.served import Person, hidden_fields, running, serving
from web.app import create_app
from web.limits import RateLimit
from web.texts import TEXTS


def test_without_a_session_every_page_leads_to_the_log_in(desk: Desk, url: str) -> None:
    desk.open(pair(1))
    stranger = Person(url)
    for path in ("/", "/batches/v1", "/adjudicate", "/adjudicate/1"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/logout", "/batches/v1/judge", "/batches/v1/skip", "/batches/v1/flag", "/batches/v1/undo"):
        assert stranger.post(path, "", verdict="a:better").headers["location"] == "/login"
    assert judgements(desk.book, "v1") == []


@pytest.mark.slow
def test_a_wrong_token_is_refused_and_too_many_of_them_wait_but_never_a_right_one(desk: Desk, url: str) -> None:
    """Whoever types wrong tokens must not shut out those who share their address."""
    desk.add("anna")
    stranger = Person(url)
    answers = [stranger.post("/login", "", token=f"guess {number}").status_code for number in range(12)]
    assert answers == [403] * 10 + [429] * 2
    assert Person(url).post("/login", "", token=desk.tokens["anna"]).status_code == 303
    assert stranger.post("/login", "", token=desk.tokens["anna"]).status_code == 303


def test_right_tokens_are_not_counted(desk: Desk, url: str) -> None:
    desk.add("anna")
    for _ in range(15):
        Person(url, desk.tokens["anna"])


def test_a_pair_is_judged_and_the_overview_shows_the_progress(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2, "safety"))
    anna = Person(url, desk.tokens["anna"])
    assert "0 of 2 pairs done" in anna.get("/").text
    assert anna.judge()
    assert "1 of 2 pairs done" in anna.get("/").text
    assert anna.judge(verdict="b:negligibly_better")
    assert not anna.judge()
    assert [(one.chosen, one.rating, one.safety_label) for one in judgements(desk.book, "v1")] == [
        ("a", "better", None),
        ("b", "negligibly_better", "both_safe"),
    ]
    done = anna.get("/batches/v1").text
    assert TEXTS["en"]["done_thanks"] in done
    close_batch(desk.book, "v1", "done")
    assert TEXTS["en"]["done_closed"] in anna.get("/batches/v1").text
    assert TEXTS["en"]["batches_none"] in anna.get("/").text


def test_the_page_does_not_tell_which_policy_or_temperature_wrote_which_response(desk: Desk, url: str) -> None:
    desk.add("anna")
    draft = pair(1, policy_version_a="secret-version", policy_version_b="other-version", known_choice=None)
    check = pair(2, policy_version_a="secret-version", known_choice="a")
    desk.open(draft, check, check_every=1)
    page = Person(url, desk.tokens["anna"]).get("/batches/v1").text
    for drawn in ("csrf", "form_key"):  # random, so that any figure may be in them
        page = page.replace(hidden_fields(page)[drawn], "")
    for word in ("secret-version", "other-version", "700", "1000", "known", "prompt-1"):
        assert word not in page


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_response_that_was_cut_off_has_a_mark_and_no_other_has(desk: Desk, url: str, language: str) -> None:
    """People know nothing of a length limit: what stops in the middle of a sentence looks like a fault of its own."""
    desk.add("anna")
    desk.open(pair(1, finished_a=True, finished_b=False), pair(2, finished_a=None, finished_b=None))
    anna = Person(url, desk.tokens["anna"], language)
    mark = TEXTS[language]["cut_off"]
    page = anna.get("/batches/v1").text
    a, b = (page.index(TEXTS[language][f"response_{side}"]) for side in "ab")
    assert page.count(mark) == 1
    assert a < b < page.index(mark) < page.index("answer B of 1")
    assert anna.judge()
    assert mark not in anna.get("/batches/v1").text


def test_a_red_team_sees_which_response_was_cut_off(desk: Desk) -> None:
    desk.add("anna")
    open_red_team(desk.book, RedTeamSpec("s1", AssetName("model", "policy", "V1"), "v"))
    for number, finished in enumerate((True, False)):
        form = attack_form(desk.book, "s1", "anna")
        response = LiveResponse(f"reply {number}", "v", 700, 1, finished=finished)
        enter_turn(desk.book, "s1", "anna", form.form_key, f"prompt {number}", response)
    with serving(desk.book, answerer=ReadyAnswerer("v")) as url:
        page = Person(url, desk.tokens["anna"]).get("/red-team/s1").text
    assert page.count(TEXTS["en"]["cut_off"]) == 1
    assert page.index("prompt 1") < page.index(TEXTS["en"]["cut_off"]) < page.index("reply 1")


def test_what_is_missing_is_said_and_what_was_chosen_is_kept(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1, "safety"))
    anna = Person(url, desk.tokens["anna"])
    page = anna.get("/batches/v1").text
    nothing = anna.post("/batches/v1/judge", page)
    assert (nothing.status_code, TEXTS["en"]["problem_verdict"] in nothing.text) == (422, True)
    unlabelled = anna.post("/batches/v1/judge", page, verdict="b:better")
    assert (unlabelled.status_code, TEXTS["en"]["problem_label"] in unlabelled.text) == (422, True)
    assert re.search(r'value="b:better"[^>]* checked', unlabelled.text)
    forbidden = anna.post("/batches/v1/judge", page, verdict="b:better", safety_label="chosen_unsafe_other_safe")
    assert forbidden.status_code == 422
    without_axis = anna.post("/batches/v1/judge", page, verdict="b:better", axis="helpfulness")
    assert without_axis.status_code == 422
    assert judgements(desk.book, "v1") == []


def test_a_form_sent_twice_leads_on_and_counts_once(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    anna = Person(url, desk.tokens["anna"])
    page = anna.get("/batches/v1").text
    assert [anna.post("/batches/v1/judge", page, verdict="a:better").status_code for _ in range(2)] == [303, 303]
    assert len(judgements(desk.book, "v1")) == 1


def test_skip_flag_and_undo(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    anna = Person(url, desk.tokens["anna"])
    page = anna.get("/batches/v1").text
    flagged = anna.post("/batches/v1/flag", page, note="<b>cut off</b>")
    assert TEXTS["en"]["noted"] in anna.get(flagged.headers["location"]).text
    assert anna.post("/batches/v1/flag", page, note=" ").status_code == 422
    anna.post("/batches/v1/skip", page)
    page = anna.get("/batches/v1").text
    assert "question 2" in page
    assert TEXTS["en"]["undo_skip"] in page
    assert anna.post("/batches/v1/undo", page).status_code == 303
    page = anna.get("/batches/v1").text
    assert "question 1" in page
    assert "undo" not in re.findall(r'action="/batches/v1/(\w+)"', page)
    assert anna.post("/batches/v1/undo", page, answer_id="77").status_code == 409
    assert anna.post("/batches/v1/undo", page, answer_id="x").status_code == 400


def test_what_models_and_people_wrote_is_text(desk: Desk, url: str) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>&amp;\n  {{ 7 * 7 }}\"'"
    shown = "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;&amp;amp;\n  {{ 7 * 7 }}&#34;&#39;"
    desk.add("anna")
    desk.add("judith", adjudicator=True)
    item = pair(1, response_a=hostile, messages=[{"role": "user", "content": hostile}])
    desk.open(item, guidelines={"helpfulness": hostile})
    anna, judith = Person(url, desk.tokens["anna"]), Person(url, desk.tokens["judith"])
    page = anna.get("/batches/v1").text
    assert page.count(shown) == 3
    anna.post("/batches/v1/flag", page, note=hostile)
    case = judith.get("/adjudicate/1").text
    assert case.count(shown) == 4
    for text in (page, case, judith.get("/adjudicate").text):
        assert "<script>alert" not in text
        assert "<img" not in text


def test_the_language_is_the_browsers_until_it_is_switched(desk: Desk, url: str) -> None:
    for accepted, language in (
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("de,en;q=0.5,ko;q=0.4", "en"),
        ("fr", "en"),
        (";q=x,", "en"),
    ):
        page = Person(url, language=accepted).get("/login").text
        assert f'<html lang="{language}">' in page
        assert TEXTS[language]["token_hint"] in page
    person = Person(url, language="ko")
    assert '<html lang="en">' in person.get("/login?lang=en").text
    assert '<html lang="en">' in person.get("/login").text  # it is kept
    assert '<html lang="en">' in person.get("/login?lang=xx").text


def test_a_disabled_person_is_out_at_once(desk: Desk, url: str) -> None:
    desk.add("anna")
    anna = Person(url, desk.tokens["anna"])
    assert anna.get("/").status_code == 200
    disable_annotator(desk.book, "anna")
    assert anna.get("/").status_code == 303


def test_logging_out_ends_the_session(desk: Desk, url: str) -> None:
    desk.add("anna")
    anna = Person(url, desk.tokens["anna"])
    cookie = anna.client.cookies["halter"]
    assert anna.post("/logout", anna.get("/").text).status_code == 303
    anna.client.cookies.set("halter", cookie)
    assert anna.get("/").status_code == 303


def test_a_session_that_asks_too_often_is_told_to_wait_and_another_is_not(desk: Desk) -> None:
    desk.add("anna", "ben")
    app = create_app(desk.book)
    app.app.state.site.requests = RateLimit(burst=3, seconds=1000)
    with running(app) as url:
        anna, ben = Person(url, desk.tokens["anna"]), Person(url, desk.tokens["ben"])
        assert [anna.get("/").status_code for _ in range(5)] == [200] * 3 + [429] * 2
        assert ben.get("/").status_code == 200


@pytest.mark.slow
def test_an_adjudicator_decides_and_others_may_not_look(desk: Desk, url: str) -> None:
    desk.add("anna", "ben")
    desk.add("judith", adjudicator=True)
    desk.open(pair(1), pair(2), people_per_item=2)
    anna, ben, judith = (Person(url, desk.tokens[name]) for name in ("anna", "ben", "judith"))
    for verdict in ("a:better", "a:better"):
        anna.judge(verdict=verdict)
    for verdict in ("b:better", "b:slightly_better"):
        ben.judge(verdict=verdict)
    for path in ("/adjudicate", "/adjudicate/1"):
        assert anna.get(path).status_code == 403
    assert "(2)" in judith.get("/").text
    page = judith.get("/adjudicate/1").text
    assert "anna" in page
    assert judith.post("/adjudicate/1", page).status_code == 422
    assert judith.post("/adjudicate/1", page, verdict="b:better").status_code == 303
    assert judith.get("/adjudicate/1").status_code == 404
    page = judith.get("/adjudicate/2").text
    assert judith.post("/adjudicate/2", page, drop="1").status_code == 303
    assert TEXTS["en"]["cases_none"] in judith.get("/adjudicate").text
    assert anna.post("/adjudicate/2", anna.get("/").text, verdict="b:better").status_code == 403
    assert batch_of(desk.book, "v1").done == 1


@pytest.mark.parametrize(
    "path", ["/batches/v9", "/batches/..%2f..%2fetc", "/adjudicate/999", "/adjudicate/x", "/static/../app.py"]
)
def test_there_is_nothing_at_other_addresses(desk: Desk, url: str, path: str) -> None:
    desk.add("judith", adjudicator=True)
    assert Person(url, desk.tokens["judith"]).get(path).status_code == 404


@pytest.mark.slow
def test_a_person_writes_a_prompt_judges_the_answers_and_goes_on_with_the_chosen_one(desk: Desk) -> None:
    desk.add("anna")
    desk.open(quota=5, written_prompts=True)
    with serving(desk.book, answerer=ReadyAnswerer()) as url:
        anna = Person(url, desk.tokens["anna"])
        assert TEXTS["en"]["write"] in anna.get("/").text
        page = anna.get("/batches/v1/write").text
        for prompt, problem, status in (
            ("", "prompt", 422),
            ("same", "same", 422),
            ("fail", "answer", 503),
            ("busy", "busy", 503),
            ("slow", "slow", 503),
        ):
            refused = anna.post("/batches/v1/write", page, axis="helpfulness", prompt=prompt)
            assert (refused.status_code, TEXTS["en"][f"problem_{problem}"] in refused.text) == (status, True)
        refused = anna.post("/batches/v1/write", page, axis="helpfulness", prompt="long")
        assert "The dialogue has 300 tokens, and 100 fit" in refused.text
        assert re.search(r"<textarea[^>]*>\nlong</textarea>", refused.text)  # what was written is kept
        assert anna.post("/batches/v1/write", page, axis="helpfulness", prompt="why?").status_code == 303
        page = anna.get("/batches/v1").text
        assert {"0 after 1: why?", "1 after 1: why?"} <= set(re.findall(r"\d after \d: why\?", page))
        chosen = re.findall(r"\d after 1: why\?", page)[0]
        item = re.search(r'name="continue" value="(\d+)"', page)
        assert item is not None
        onward = anna.post("/batches/v1/judge", page, verdict="a:better", **{"continue": item[1]})
        page = anna.get(onward.headers["location"]).text
        assert chosen in page
        assert anna.post("/batches/v1/write", page, prompt="and then?").status_code == 303
        assert "after 3: and then?" in anna.get("/batches/v1").text


def test_without_a_model_there_is_no_page_to_write_prompts(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1), written_prompts=True)
    anna = Person(url, desk.tokens["anna"])
    assert TEXTS["en"]["write"] not in anna.get("/").text
    assert anna.get("/batches/v1/write").status_code == 404


@pytest.mark.slow
def test_static_files_have_their_types(url: str) -> None:
    person = Person(url)
    assert person.get("/static/style.css").headers["content-type"].startswith("text/css")
    assert person.get("/static/icon.svg").headers["content-type"].startswith("image/svg")
    assert "javascript" in person.get("/static/page.js").headers["content-type"]


def evaluate(desk: Desk) -> None:
    """A batch of an evaluation with an ordinary, a borderline and an adversarial prompt."""
    sides = {"policy_version_a": None, "policy_version_b": None, "temperature_milli_a": None}
    items = [pair(1, **sides), pair(2, asks_refusal=True, **sides), pair(3, "safety", **sides)]
    desk.add("anna", "judith", adjudicator=True)
    desk.open(*items, purpose="evaluation", part="V2")


@pytest.mark.conformance("people who could tell which policy answered", equation="web.judging:show_next")
def test_an_evaluation_is_blind_and_asks_who_refuses_where_that_is_a_question(desk: Desk, url: str) -> None:
    evaluate(desk)
    anna = Person(url, desk.tokens["anna"])
    overview = anna.get("/").text
    assert TEXTS["en"]["evaluation"] in overview
    assert "V2" not in overview, "the iteration would tell which policy is judged"
    page = anna.get("/batches/v1").text
    assert TEXTS["en"]["evaluation_hint"] in page
    assert TEXTS["en"]["refusal_question"] not in page
    assert anna.judge()
    page = anna.get("/batches/v1").text
    assert TEXTS["en"]["refusal_question"] in page
    answer = anna.post("/batches/v1/judge", page, verdict="a:better")
    assert answer.status_code == 422
    assert TEXTS["en"]["problem_refusal"] in answer.text
    answer = anna.post("/batches/v1/judge", page, verdict="a:better", refusing="perhaps")
    assert answer.status_code == 422
    assert anna.post("/batches/v1/judge", page, verdict="a:better", refusing="b").status_code == 303
    page = anna.get("/batches/v1").text
    assert TEXTS["en"]["refusal_question"] not in page
    assert anna.judge()
    assert [(one.refusing, one.safety_label) for one in judgements(desk.book, "v1")] == [
        (None, None),
        ("b", None),
        (None, "both_safe"),
    ]


def test_a_form_that_leaves_out_the_question_of_who_refuses_is_refused_by_the_book(desk: Desk, url: str) -> None:
    desk.add("anna")
    desk.open(pair(1, asks_refusal=True), purpose="evaluation")
    anna = Person(url, desk.tokens["anna"])
    page = anna.get("/batches/v1").text.replace('name="asks_refusal"', 'name="asks_nothing"')
    assert anna.post("/batches/v1/judge", page, verdict="a:better").status_code == 422
    assert judgements(desk.book, "v1") == []


def test_an_adjudicator_sees_and_decides_who_refuses(desk: Desk, url: str) -> None:
    desk.add("anna", "ben")
    desk.add("judith", adjudicator=True)
    desk.open(pair(1, asks_refusal=True), pair(2), purpose="evaluation", people_per_item=2)
    for name, refusing in (("anna", "a"), ("ben", "both")):
        person = Person(url, desk.tokens[name])
        page = person.get("/batches/v1").text
        assert person.post("/batches/v1/judge", page, verdict="b:better", refusing=refusing).status_code == 303
    judith = Person(url, desk.tokens["judith"])
    page = judith.get("/adjudicate/1").text
    assert TEXTS["en"]["refusing_both"] in page
    assert judith.post("/adjudicate/1", page, verdict="b:better").status_code == 422
    assert judith.post("/adjudicate/1", page, verdict="b:better", refusing="a").status_code == 303
    close_batch(desk.book, "v1", "enough")
    rows = handed_rows(desk.book, "v1").to_pylist()
    assert [(row["annotator"], row["refusing"], row["decision"]) for row in rows] == [
        ("anna", "a", False),
        ("ben", "both", False),
        ("judith", "a", True),
    ]
    assert {(row["question_id"], row["response_a"]) for row in rows} == {("p1", "answer A of 1")}
