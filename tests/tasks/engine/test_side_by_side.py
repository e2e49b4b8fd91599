"""Long texts beside each other: all of them in view, and none of them markup."""

from tasks.engine.side_by_side import fits, side_by_side

WIDE = 98


def test_both_answers_stand_beside_each_other_under_their_prompt() -> None:
    rows = [{"prompt": "what is it?", "V2": "a " * 40, "SFT": "it is\nthis", "rating": "better"}]
    lines = side_by_side(rows).splitlines()
    assert lines[0] == "```text"
    assert lines[1].startswith("--- 1 --- rating: better ---")
    assert lines[2] == "| prompt: what is it?"
    names, under, first, second = lines[4:8]
    assert names.split("|")[1:] == [" V2" + " " * 45, " SFT"]
    assert set(under) == set("|- ")
    assert [part.strip() for part in first.split("|")] == ["", ("a " * 24).strip(), "it is"]
    assert [part.strip() for part in second.split("|")] == ["", ("a " * 16).strip(), "this"]
    assert lines[-1] == "```"
    assert all(len(line) <= WIDE for line in lines)


def test_what_a_model_wrote_cannot_leave_the_block() -> None:
    written = "```\n</code><img src=x onerror=alert(1)>\n# heading\n```text\r~~~\u2028```\x1b[2J"
    text = side_by_side([{"prompt": written, "a": written, "b": written}])
    inside = text.splitlines()[1:-1]
    assert len(text.split("\n")) == len(inside) + 2, "no other kind of line break is left"
    assert all(line == "" or line[0] in "|-" for line in inside)
    assert "\x1b" not in text


def test_wide_characters_take_two_places_and_long_words_are_cut() -> None:
    lines = side_by_side([{"prompt": "p", "a": "한" * 60, "b": "x" * 60}]).splitlines()
    body = [line.split("|")[1:] for line in lines if line.startswith("| ") and ("한" in line or "x" in line)]
    assert [(left.count("한"), right.count("x")) for left, right in body] == [(23, 47), (23, 13), (14, 0)]


def test_an_endless_answer_is_cut_and_said_to_be() -> None:
    lines = side_by_side([{"prompt": "p", "a": "word " * 100_000, "b": "\n" * 1000}]).splitlines()
    assert len(lines) < 60
    assert lines[-3].count("… and more") == 2


def test_a_table_that_a_page_does_not_hold_whole_is_known() -> None:
    assert fits([{"metric": "kl", "value": "0.51", "judge": "simulated:little-world"}])
    assert not fits([{"prompt": "x" * 80, "a": "y" * 60}])
    assert not fits([{"prompt": "one\ntwo"}])
