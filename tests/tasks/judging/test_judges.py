"""How the answers of a language model in both orders become one judgement."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_store.reading.bad_rows import RefusedRowError
from data_store.rows import RATINGS
from tasks.judging.endpoint import EndpointConfig, from_answers, is_safe
from tasks.judging.folder import _questions as folder_questions
from tasks.judging.folder import from_log_odds
from tasks.judging.guidelines import comparison, safety_by_letter, safety_by_word
from tasks.judging.lm import LMConfig
from tasks.judging.registry import LMJudgeConfig
from tasks.judging.shares import SharesConfig
from tasks.judging.verdicts import ModelVerdict, safety_label

DROP, KEEP = LMConfig(), LMConfig(disagreement="negligibly_better")
PAIR = {"response_a": "one", "response_b": "two"}
SWAPPED = {"response_a": "two", "response_b": "one"}
ANSWERS = [f"{letter} {rating}" for letter in "AB" for rating in RATINGS]


def mirrored(verdict: ModelVerdict | None) -> ModelVerdict | None:
    return verdict and ModelVerdict({"a": "b", "b": "a"}[verdict.chosen], verdict.rating, verdict.agreed)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (5.0, -3.5, ModelVerdict("a", "significantly_better", True)),  # mean 4.25
        (1.0, -3.5, ModelVerdict("a", "better", True)),  # 2.25
        (-0.5, 0.75, ModelVerdict("b", "slightly_better", True)),  # 0.625
        (-0.25, 0.5, ModelVerdict("b", "negligibly_better", True)),  # 0.375
        (3.0, 2.0, None),  # A is liked in both orders: that is the letter, not the response
        (-1.0, -4.0, None),
        (0.0, 0.0, None),
    ],
)
def test_a_folder_judges_by_the_mean_of_both_orders_where_they_agree(
    first: float, second: float, verdict: ModelVerdict | None
) -> None:
    assert from_log_odds(first, second, DROP) == verdict


def test_a_disagreement_is_kept_as_unsure_where_the_config_says_so() -> None:
    assert from_log_odds(3.0, 2.0, KEEP) == ModelVerdict("a", "negligibly_better", False)
    assert from_log_odds(-4.0, -1.0, KEEP) == ModelVerdict("b", "negligibly_better", False)
    assert from_log_odds(1.0, 1.0, KEEP) is None  # nothing tells them apart


@given(st.floats(-9, 9), st.floats(-9, 9), st.sampled_from([DROP, KEEP]))
def test_swapping_the_responses_mirrors_the_judgement_of_a_folder(
    first: float, second: float, config: LMConfig
) -> None:
    assert from_log_odds(second, first, config) == mirrored(from_log_odds(first, second, config))


@given(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS), st.sampled_from([DROP, KEEP]))
def test_swapping_the_responses_mirrors_the_judgement_of_an_endpoint(first: str, second: str, config: LMConfig) -> None:
    there, back = from_answers(PAIR, first, second, config), from_answers(SWAPPED, second, first, config)
    assert back == mirrored(there)


def test_of_two_ratings_the_weaker_counts() -> None:
    agreed = from_answers(PAIR, "B significantly_better", " A slightly_better\n", DROP)
    assert agreed == ModelVerdict("b", "slightly_better", True)
    assert from_answers(PAIR, "A better", "A better", DROP) is None


@pytest.mark.parametrize("answer", ["", "A", "C better", "A much_better", "a better", "A better.", "I say A better"])
def test_an_answer_that_is_not_as_asked_is_refused(answer: str) -> None:
    with pytest.raises(RefusedRowError, match="answer_not_as_asked"):
        from_answers(PAIR, "A better", answer, DROP)


def test_safety_words_and_labels() -> None:
    assert [is_safe("safe"), is_safe(" unsafe\n")] == [True, False]
    with pytest.raises(RefusedRowError, match="answer_not_as_asked"):
        is_safe("Safe, I think")
    assert safety_label("a", {"a": True, "b": True}) == "both_safe"
    assert safety_label("a", {"a": False, "b": False}) == "both_unsafe"
    assert safety_label("b", {"a": False, "b": True}) == "chosen_safe_other_unsafe"
    with pytest.raises(RefusedRowError, match="chosen_unsafe_other_safe"):
        safety_label("a", {"a": False, "b": True})


def test_the_prompts_hold_what_is_judged_and_the_order_it_is_shown_in() -> None:
    messages = [{"role": "user", "content": "Who keeps the lamp?"}]
    x, y = ("x", True), ("y", True)
    asked = comparison("safety", messages, ("The keeper.", True), ("Nobody.", True), rated=True)
    assert asked.index("User: Who keeps the lamp?") < asked.index("[Response A]\nThe keeper.")
    assert asked.index("The keeper.") < asked.index("[Response B]\nNobody.")
    assert all(rating in asked for rating in RATINGS)
    assert "which response is safer" in asked
    assert "helps the user more" in comparison("helpfulness", messages, x, y, rated=False)
    assert "A means safe, B means unsafe" in safety_by_letter(messages, x, "A")
    assert "B means safe, A means unsafe" in safety_by_letter(messages, x, "B")
    assert safety_by_word(messages, x).endswith("safe or unsafe.")


def test_models_that_judge_are_told_of_a_response_that_was_cut_off_and_of_no_other() -> None:
    messages = [{"role": "user", "content": "Who keeps the lamp?"}]
    cut, whole = ("The keeper is", False), ("The keeper.", True)
    mark = "cut off at the length limit"
    asked = comparison("helpfulness", messages, cut, whole, rated=True)
    assert f"[Response A, {mark}]\nThe keeper is\n[End of Response A]\n\n[Response B]\nThe keeper." in asked
    for question in (lambda one: safety_by_letter(messages, one, "A"), lambda one: safety_by_word(messages, one)):
        assert f"[Response, {mark}]\nThe keeper is\n" in question(cut)
        assert mark not in question(whole)
    pair = {
        "axis": "safety", "messages": messages, "response_a": "The keeper is", "response_b": "The keeper.",
        "finished_a": False, "finished_b": True,
    }  # fmt: skip
    told = {name: mark in text for name, text in EndpointConfig.questions(pair).items()}
    assert told == {"a_first": True, "b_first": True, "safety_a": True, "safety_b": False}
    told = {name: mark in text for name, text in folder_questions(pair).items()}
    assert {name for name, is_told in told.items() if not is_told} == {"safety_b_A", "safety_b_B"}
    assert len(told) == 6
    assert "[Response B, cut" in EndpointConfig.questions(pair)["b_first"]


def test_shares_deal_every_pair_to_one_source_and_do_not_go_by_their_order() -> None:
    ids = [f"pair-{number}" for number in range(40)]
    shares = SharesConfig(simulated=0.25, lm=0.75)
    simulated, lm = shares.pairs_of("simulated", ids), shares.pairs_of("lm", ids)
    assert (len(simulated), len(lm), simulated & lm, simulated | lm) == (10, 30, set(), set(ids))
    assert shares.pairs_of("lm", ids[::-1]) == lm
    assert SharesConfig(simulated=1).pairs_of("simulated", ids) == set(ids)
    with pytest.raises(ValueError, match=r"must add up to 1, not to 0\.9"):
        SharesConfig(simulated=0.4, lm=0.5)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({}, "give folder or endpoint, one of them"),
        ({"folder": "x", "endpoint": {"url": "http://localhost", "model": "m"}}, "give folder or endpoint"),
        ({"endpoint": {"url": "localhost:8000", "model": "m"}}, "write it like https://"),
        ({"endpoint": {"url": "https://me:secret@host/v1", "model": "m"}}, "no user, password, query"),
        ({"endpoint": {"url": "https://host/v1?key=secret", "model": "m"}}, "no user, password, query"),
        ({"endpoint": {"url": "https://host/v1", "model": "m", "key": "secret"}}, "Extra inputs are not permitted"),
    ],
)
def test_a_judge_that_is_none_or_two_or_holds_a_secret_is_refused(judge: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LMJudgeConfig.model_validate(judge)


def test_patience_and_the_name_of_the_key_decide_no_answer() -> None:
    config = EndpointConfig(url="http://host/v1/", model="m")
    patient = config.model_copy(update={"retries": 9, "key_variable": "KEY", "concurrency": 9, "timeout_seconds": 9.0})
    assert patient.asks == config.asks
    assert len({each.asks for each in (config, EndpointConfig(url="http://host/v1", model="n"))}) == 2
    assert LMJudgeConfig(endpoint=config).annotator == "lm:m"
