"""Plain text as ids, for the tokenizers that people bring."""

from pathlib import Path

import pytest

from models.dialogue import Renderer
from models.tokenizer import load_tokenizer
from tests.models.chat_families import FAMILIES, renderer_of, write_family

MARKS = {"<｜User｜>", "<｜Assistant｜>"}  # DeepSeek's tokenizer does not call them special


@pytest.mark.conformance(
    "ordinary added tokens taken for the format", equation="models.text_encoder:TextEncoder.encode_all"
)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_control_tokens_are_letters_in_a_text_and_ordinary_added_tokens_are_themselves(
    family: str, tmp_path: Path
) -> None:
    renderer = renderer_of(family, tmp_path)
    ordinary = [token for token in FAMILIES[family].ordinary if token not in MARKS]
    marks = [token for token in FAMILIES[family].ordinary if token in MARKS]
    for name in (*FAMILIES[family].special, *marks):
        (ids,) = renderer.text.encode_all([name])
        assert len(ids) > 1
        assert str(renderer.tokenizer.decode(ids)).strip() == name
    for name in ordinary:
        number = renderer.tokenizer.convert_tokens_to_ids(name)
        assert renderer.text.encode(f"a{name}b", False).count(number) == 1  # type: ignore[arg-type]
        assert number not in renderer.formatting_ids


def test_the_tokenizer_that_goes_into_checkpoints_stays_as_it_came(tmp_path: Path) -> None:
    """Marks of roles are kept out of text by a copy."""
    tokenizer = load_tokenizer(write_family("DeepSeek distill", tmp_path))
    before = tokenizer.backend_tokenizer.to_str()
    Renderer(tokenizer)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_tokenizer_that_makes_a_control_token_of_ordinary_text_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_family("Qwen3", tmp_path))
    tokenizer.pad_token = "a"
    with pytest.raises(ValueError, match="makes a control token of text"):
        Renderer(tokenizer)


def test_a_first_blank_is_not_put_into_the_middle_of_a_line(tmp_path: Path) -> None:
    """`[/INST] lamp` read as one has one blank, and so have prompt and answer, which are read apart."""
    with_blank, without = (renderer_of(name, tmp_path / name) for name in ("Llama 2", "Gemma 3"))
    for renderer, first in ((with_blank, "▁ke"), (without, "ke")):
        pieces = [
            "".join(map(str, renderer.tokenizer.convert_ids_to_tokens(list(renderer.text.encode("keeps", goes_on)))))
            for goes_on in (False, renderer.text.goes_on(behind_control=False))
        ]
        assert pieces == [f"{first}eps", "keeps"]
