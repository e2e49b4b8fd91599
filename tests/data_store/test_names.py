import pytest

from data_store.errors import InputError
from data_store.names import AssetName, slug


@pytest.mark.parametrize(
    "text", ["model/policy@V2", "dataset/documents@base", "source/a.b_c-d@external", "model/x@V12"]
)
def test_a_name_reads_back_as_it_was_written(text: str) -> None:
    assert str(AssetName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "policy", "model/policy", "policy@V2", "Model/policy@V2", "model/../x@V2", "model/-x@V2", "model/a b@V2"),
        *("model/policy@v 2", "model/policy@V02", "model/policy@V2@V3", "model/a/b@V2", "model/x'; DROP TABLE run@V2"),
        *("model/policy@V2\n", "model/" + "a" * 65 + "@V2"),
    ],
)
def test_a_broken_name_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        AssetName.parse(text)


def test_the_refusal_shows_the_form() -> None:
    with pytest.raises(InputError, match="for example model/policy@V2"):
        AssetName.parse("policy")
    with pytest.raises(InputError, match="part 'W2'"):
        AssetName("model", "policy", "W2")


def test_a_slug_is_always_a_valid_name() -> None:
    assert slug("My Data (final).jsonl") == "my-data-final-.jsonl"
    assert AssetName("source", slug("__한국어 Set.JSONL"), "external").name == "set.jsonl"
    with pytest.raises(InputError, match="give one"):
        slug("한국어")
