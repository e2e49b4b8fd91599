"""What tells the language of a document, and what is source code: kinds of texts that were taken for another."""

import pytest

from tests.data_store.corpus.test_filtering import reasons


def test_korean_that_glosses_its_words_with_chinese_signs_is_korean_and_chinese_is_not() -> None:
    glossed = "무색 무취(無色無臭)의 맛, 人生之美를 말하는 영화"
    assert reasons([glossed, "无色无味的人生之美，这是一部关于人生的电影"], languages=("ko", "en")) == [
        "kept",
        "other_language",
    ]


@pytest.mark.conformance(
    "a language that the classifier does not know is kept as English",
    equation="data_store.corpus.language:OtherLanguage.rules",
)
def test_eight_words_of_which_no_kept_language_is_likely_are_dropped_and_fewer_are_not() -> None:
    made_up = "Pulo kundo shiva, motsi mavo sumi rathe reta."
    assert len(made_up.split()) == 8
    assert reasons([made_up, " ".join(made_up.split()[:7])]) == ["other_language", "kept"]


def test_a_song_in_another_language_is_known_though_it_says_each_word_twice_and_a_drill_stays() -> None:
    song = "Der kleine Bär geht heute Nacht allein nach Hause, und alle Sterne leuchten ihm den Weg.\n" * 2
    drill = " ".join(["white boss clean door"] * 5)
    assert reasons([song, drill]) == ["other_language", "kept"]
    assert reasons([song], languages=("de",)) == ["kept"]


def test_english_behind_a_long_list_of_names_is_english() -> None:
    people = "Zbigniew Kowalczyk, Jaroslav Novotný, Mojca Zupančič, Krešimir Horvat"
    names = "\n".join(f"Copyright: {year} {people}" for year in range(1990, 2010))
    licence = (
        "Whoever has this program may give it to others as it is, and they may change it for their own use. If you do, "
        "say what you have made of it and when. There is no promise that it will do what you want from it; we are not "
        "to be blamed for what comes of it. All who had a part in it are named above, and you can ask us about more."
    )
    text = f"{names}\n{licence}"
    assert reasons([text], max_phrase_share=1, max_duplicate_stretch_share=1) == ["kept"]


def test_a_function_of_two_lines_is_code_and_two_lines_of_prose_are_not() -> None:
    function = "def area(width, height):\n    return 2 * width * height + pow(width, 2)\n"
    assert reasons([function], languages=("en", "code")) == ["kept"]
    assert reasons([function, "She came home,\nand asked for the keys of the house."], languages=("en",)) == [
        "other_language",
        "kept",
    ]


def test_code_full_of_brackets_is_no_garbage() -> None:
    table = "\n".join(f"    table[{n}][{n}] = table[{n}][0] + table[0][{n}]" for n in range(4))
    assert reasons([f"def fill_in_sums_of(table):\n{table}\n"]) == ["kept"]
