from string import Formatter

from data_store.rows import AXES, RATINGS, REFUSALS, ROLES, SAFETY_LABELS
from web.texts import LANGUAGES, TEXTS


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_every_language_has_every_text_with_the_same_fields() -> None:
    assert set(TEXTS) == set(LANGUAGES)
    for language, texts in TEXTS.items():
        assert set(texts) == set(TEXTS["en"]), language
        for key, text in texts.items():
            assert fields(text) == fields(TEXTS["en"][key]), (language, key)
            assert text.strip() == text != "", (language, key)


def test_every_word_of_the_rows_has_a_text() -> None:
    wanted = {*RATINGS, *SAFETY_LABELS, *(f"axis_{axis}" for axis in AXES), *(f"role_{role}" for role in ROLES)}
    wanted |= {f"{kind}_{axis}" for kind in ("guide", "question") for axis in AXES}
    wanted |= {f"refusing_{word}" for word in REFUSALS}
    assert wanted <= set(TEXTS["en"])


def test_korean_is_korean() -> None:
    same = [key for key, text in TEXTS["ko"].items() if not any("가" <= letter <= "힣" for letter in text)]
    assert same == []
