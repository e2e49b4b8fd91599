"""Texts that were read in a wrong encoding come back as they were written, pages lose their markup, others stay."""

import pytest

from data_store.corpus.repair import MendEncoding, RepairConfig, StripMarkup

CONFIG = RepairConfig()
WRITTEN = (
    "Der Bär schläft über dem Fluß, während die Möwe kreist.",
    "Le garçon a mangé une crêpe à l’été passé.",
    "강아지가 정원의 오래된 나무 아래에서 자고 있습니다.",
    "犬は庭の古い木の下で寝ています。",
    "Собака спит под старым деревом в саду.",
    "“Quotes” – and a dash — and more…",
)


def mended(text: str) -> str:
    return MendEncoding().change(text, CONFIG)[0]


def stripped(text: str) -> str:
    return StripMarkup().change(text, CONFIG)[0]


@pytest.mark.parametrize("text", WRITTEN)
def test_utf8_that_was_read_as_latin_1_comes_back(text: str) -> None:
    assert mended(text.encode().decode("latin-1")) == text
    assert MendEncoding().change(text.encode().decode("latin-1"), CONFIG)[1] == {"encoding": 1}


@pytest.mark.parametrize("text", [text for text in WRITTEN if "ä" in text or "ç" in text])
def test_utf8_that_was_read_as_windows_1252_comes_back(text: str) -> None:
    assert mended(text.encode().decode("cp1252")) == text


def test_euc_kr_that_was_read_as_latin_1_comes_back() -> None:
    assert mended(WRITTEN[2].encode("cp949").decode("latin-1")) == WRITTEN[2]


@pytest.mark.conformance(
    "mending an encoding changes sound text", equation="data_store.corpus.repair:MendEncoding.change"
)
@pytest.mark.parametrize(
    "text", [*WRITTEN, "ﬁne ligatures, “curly” quotes, ｆｕｌｌ width, 5 K, &amp; and ½", "Ã la carte", "ÃÃÃÃ ¿¿ÀÀÀÀÀ"]
)
def test_sound_text_stays_to_the_letter(text: str) -> None:
    assert MendEncoding().change(text, CONFIG) == (text, {})


def test_a_page_loses_its_tags_scripts_and_entities_and_keeps_its_words() -> None:
    page = (
        "<html><head><title>x</title></head><body><div><p>The keeper &amp; the lamp.</p>&nbsp;"
        "<script>var a = 1 < 2;</script><ul><li>one</li><li>two</li></ul></body></html>"
    )
    assert stripped(page) == "The keeper & the lamp.\none\ntwo"


def test_program_text_of_a_page_keeps_its_spaces_and_the_words_around_it_do_not() -> None:
    page = (
        "<body><p>A  function\n   of one line:</p><pre>def twice(x):\n    return 2 * x\n\n<b>y</b>  = 3</pre>"
        "<p> and   <i>more</i></p></body>"
    )
    assert stripped(page) == "A function\nof one line:\ndef twice(x):\n    return 2 * x\ny  = 3\nand more"


@pytest.mark.parametrize(
    "text",
    [
        "Use a <div> where a <span> would not do, and close it with </div>. That is all that there is to say of blocks "
        "on this page, which is made of words and not of tags, as pages about markup are; readers want to see tags.",
        "List<A> a = new List<B>(); Map<String, List<I>> i; if (a < b && c > d) return;",
        "The entity &amp; means an ampersand, and a browser shows it so.",
    ],
)
def test_a_text_about_markup_and_code_with_angles_stay(text: str) -> None:
    assert StripMarkup().change(text, CONFIG) == (text, {})


def test_both_can_be_left_out() -> None:
    off = RepairConfig(mend_encoding=False, strip_markup=False)
    broken = WRITTEN[0].encode().decode("latin-1")
    assert MendEncoding().change(broken, off) == (broken, {})
    assert StripMarkup().change("<p><b>x</b></p>", off) == ("<p><b>x</b></p>", {})
