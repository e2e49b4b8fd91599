"""What is sampled is what is scored and learned, under the chat templates and tokenizers that people bring."""

import json
import random
import re
from datetime import date
from pathlib import Path

import pytest

from models.checkpoint import save_checkpoint
from models.dialogue import Rendered, Renderer
from models.tokenizer import load_tokenizer
from tests.models.chat_families import FAMILIES, GLM_4, renderer_of, with_template, write_family
from tests.models.conftest import CORPUS, little_llama

Messages = list[dict[str, str]]

USER = {"role": "user", "content": "Who keeps the lamp in 2024?"}
ANSWER = {"role": "assistant", "content": "The keeper keeps the lamp.\n\nNobody else may touch it."}
SYSTEM = {"role": "system", "content": "Answer in one line."}
MORE = [{"role": "user", "content": "등대는 <table>?"}, {"role": "assistant", "content": "def f(x):\n    return 2 * x"}]
THOUGHT = {"role": "assistant", "content": "<think>\nWell, the keeper.\n</think>\n\nThe keeper keeps the lamp."}
DIALOGUES: dict[str, Messages] = {
    "one turn": [USER, ANSWER],
    "two turns": [USER, ANSWER, *MORE],
    "system": [SYSTEM, USER, ANSWER, *MORE],
    "thoughts": [USER, THOUGHT, *MORE],
}
# What ends a turn, the template's own first; by hand from what the families publish.
ENDS = {
    "SmolLM2": ("<|im_end|>",),
    "SmolLM3": ("<|im_end|>",),
    "Llama 2": ("</s>",),
    "Llama 3.1": ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"),
    "Llama 3.2": ("<|eot_id|>",),
    "Qwen2.5": ("<|im_end|>", "<|endoftext|>"),
    "Qwen base": ("<|im_end|>", "<|endoftext|>"),
    "Qwen3": ("<|im_end|>", "<|endoftext|>"),
    "Qwen3.5": ("<|im_end|>",),
    "Gemma 3": ("<end_of_turn>", "<eos>"),
    "Phi-3": ("<|end|>", "<|endoftext|>"),
    "Mistral": ("</s>",),
    "OLMo 2": ("<|endoftext|>",),
    "GLM-4": ("<|user|>", "<|endoftext|>", "<|observation|>"),
    "DeepSeek distill": ("<｜end▁of▁sentence｜>",),
    "Cohere": ("<|END_OF_TURN_TOKEN|>",),
    "gpt-oss": ("<|return|>", "<|call|>"),
}
# (family, dialogue) → rows in which its answers are learned, where it is more than one: the template rewrites turns
ROWS = {
    ("Qwen3", "thoughts"): 2,  # thoughts are taken out of earlier turns
    ("Mistral", "system"): 2,  # the system message moves to the last turn
    **{
        (name, dialogue): 2
        for name in ("Qwen3.5", "DeepSeek distill")
        for dialogue in ("two turns", "system", "thoughts")
    },
    **{("gpt-oss", dialogue): 2 for dialogue in ("two turns", "system", "thoughts")},  # another end in the middle
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_family(name, root / re.sub(r"\W", "", name)) for name in FAMILIES}


@pytest.fixture(scope="module")
def renderers(folders: dict[str, Path]) -> dict[str, Renderer]:
    return {name: Renderer(load_tokenizer(folder)) for name, folder in folders.items()}


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def renderer(family: str, renderers: dict[str, Renderer]) -> Renderer:
    return renderers[family]


@pytest.fixture(params=list(DIALOGUES))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def messages(name: str) -> Messages:
    return DIALOGUES[name]


def learned(row: Rendered) -> list[tuple[list[int], list[int]]]:
    """Each run of learned tokens, with all that stands before it."""
    text = "".join("x" if counts else "." for counts in row.loss_mask)
    return [(row.input_ids[: m.start()], row.input_ids[m.start() : m.end()]) for m in re.finditer("x+", text)]


def names(renderer: Renderer, ids: list[int]) -> list[str]:
    return [str(token) for token in renderer.tokenizer.convert_ids_to_tokens(ids)]


@pytest.mark.conformance("what is learned is not what was sampled", equation="models.dialogue:Renderer.prompt")
def test_a_prompt_is_the_ids_of_what_the_template_writes(renderer: Renderer, messages: Messages) -> None:
    """The whole text as one, as servers tokenise it. Thoughts of earlier turns are as the template leaves them."""
    text = renderer.tokenizer.apply_chat_template(
        messages[:-1],
        chat_template=renderer.template.source,
        tokenize=False,
        add_generation_prompt=True,
        date_string="26 Jul 2024",
    )
    assert renderer.prompt(messages[:-1]) == renderer.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.conformance("what is learned is not what was sampled", equation="models.dialogue:Renderer.dialogue")
def test_a_dialogue_with_sampled_ids_is_its_prompt_and_these_ids(renderer: Renderer, messages: Messages) -> None:
    rng, vocabulary = random.Random(3), len(renderer.tokenizer)
    prompt = renderer.prompt(messages[:-1])
    for end in ([], *([each] for each in renderer.end_ids)):
        ids = [*rng.choices(range(vocabulary), k=9), *end]
        rendered = renderer.dialogue(messages, ids)
        assert rendered.input_ids == prompt + ids
        assert learned(rendered)[-1] == (prompt, ids)
        assert rendered.message_lengths[-1] == len(ids)
        assert sum(rendered.message_lengths) == len(rendered.input_ids)


@pytest.mark.conformance("what is learned is not what was sampled", equation="models.dialogue:Renderer.dialogue")
def test_a_dialogue_of_text_is_its_prompt_and_the_text_as_it_would_be_sampled(
    renderer: Renderer, messages: Messages
) -> None:
    """No block, channel or blank stands between them that the model does not say; read back, it is the same text."""
    prompt, rendered = renderer.prompt(messages[:-1]), renderer.dialogue(messages)
    (before, said) = learned(rendered)[-1]
    assert (before, before + said) == (prompt, rendered.input_ids)
    assert renderer.response(said) == messages[-1]["content"]
    assert said[-1] == renderer.end_ids[0]
    again = renderer.dialogue(messages, said)
    assert again == rendered


@pytest.mark.conformance("what is learned is not what was sampled", equation="models.dialogue:Renderer.dialogues")
def test_each_answer_is_learned_once_behind_the_prompt_that_it_was_given_to(
    family: str, name: str, renderer: Renderer, messages: Messages
) -> None:
    rows = renderer.dialogues(messages)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    found = [each for row in rows for each in learned(row)]
    expected = [learned(renderer.dialogue(messages[: i + 1]))[-1] for i in answers]
    assert found == expected
    assert [before for before, _ in found] == [renderer.prompt(messages[:i]) for i in answers]
    assert len(rows) == ROWS.get((family, name), 1)
    assert rows[-1].input_ids == renderer.dialogue(messages).input_ids


def test_a_block_that_the_template_writes_of_its_own_is_not_the_models(renderers: dict[str, Renderer]) -> None:
    """Qwen3 writes an empty block of thoughts before an answer without any; sampling never sees it."""
    renderer = renderers["Qwen3"]
    text = str(renderer.tokenizer.apply_chat_template([USER, ANSWER], tokenize=False))
    assert "<think>\n\n</think>" in text
    answer = renderer.text.encode(ANSWER["content"], False)
    assert renderer.dialogue([USER, ANSWER]).input_ids == [*renderer.prompt([USER]), *answer, renderer.end_ids[0]]
    outright = str(renderer.tokenizer.decode(renderer.outright([USER, ANSWER])))
    assert outright.endswith(f"assistant\n<think>\n\n</think>\n\n{ANSWER['content']}<|im_end|>")


def test_sampled_ids_are_the_last_answer_of_the_last_row(renderer: Renderer) -> None:
    ids = [*range(5, 9), renderer.end_ids[-1]]
    rows = renderer.dialogues(DIALOGUES["two turns"], ids)
    assert learned(rows[-1])[-1] == (renderer.prompt(DIALOGUES["two turns"][:-1]), ids)


@pytest.mark.conformance(
    "a turn that ends with another token than eos", equation="models.chat_template:ChatTemplate._turn"
)
def test_a_turn_ends_with_what_the_template_writes_or_the_model_names(family: str, renderer: Renderer) -> None:
    assert tuple(names(renderer, list(renderer.end_ids))) == ENDS[family]


def test_ends_go_with_an_adapters_tokenizer(folders: dict[str, Path], tmp_path: Path) -> None:
    """Its folder has no generation_config.json."""
    load_tokenizer(folders["Llama 3.1"]).save_pretrained(tmp_path)
    assert not (tmp_path / "generation_config.json").exists()
    assert Renderer(load_tokenizer(tmp_path)).end_ids == Renderer(load_tokenizer(folders["Llama 3.1"])).end_ids


@pytest.mark.parametrize("text", ["{", "[2]"])
def test_a_generation_config_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    folder = write_family("GLM-4", tmp_path)
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(ValueError, match=r"generation_config\.json: it is no JSON with keys and values"):
        load_tokenizer(folder)


def test_without_generation_config_the_models_config_names_the_ends(tmp_path: Path) -> None:
    folder = write_family("GLM-4", tmp_path)
    found = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **found}))
    renderer = Renderer(load_tokenizer(folder))
    assert tuple(names(renderer, list(renderer.end_ids))) == ENDS["GLM-4"]


def test_a_template_that_writes_no_end_has_the_end_of_sequence(tmp_path: Path) -> None:
    renderer = renderer_of("OLMo 2", tmp_path)
    bare = with_template(renderer.tokenizer, GLM_4.replace("[gMASK]<sop>", ""))
    assert names(bare, bare.dialogue([USER, ANSWER]).input_ids[-1:]) == ["<|endoftext|>"]
    bare.tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no token behind an answer, and the tokenizer has no eos_token"):
        Renderer(bare.tokenizer)


@pytest.mark.conformance(
    "ordinary added tokens taken for the format", equation="models.chat_template:ChatTemplate._role_marks"
)
def test_special_tokens_and_marks_of_roles_are_the_format_and_nothing_else(family: str, renderer: Renderer) -> None:
    marks = {"<｜User｜>", "<｜Assistant｜>"} if family == "DeepSeek distill" else set()
    assert set(names(renderer, sorted(renderer.formatting_ids))) == {*FAMILIES[family].special, *marks}


@pytest.mark.conformance(
    "ordinary added tokens taken for the format", equation="models.chat_template:ChatTemplate._role_marks"
)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_text_is_never_format_and_ordinary_added_tokens_stay_in_it(family: str, renderer: Renderer, role: str) -> None:
    """Every token of the family as people may type it, runs of line ends and digits included."""
    typed = " ".join(("a", *FAMILIES[family].special, *FAMILIES[family].ordinary, "2024 b"))
    messages = [{**m, "content": typed} if m["role"] == role else m for m in (SYSTEM, USER, ANSWER)]
    harmless, found = renderer.dialogue([SYSTEM, USER, ANSWER]), renderer.dialogue(messages)
    formats = [[token for token in each.input_ids if token in renderer.formatting_ids] for each in (harmless, found)]
    assert formats[0] == formats[1]
    for token in set(FAMILIES[family].ordinary) - {"<｜User｜>", "<｜Assistant｜>"}:
        number = renderer.tokenizer.convert_tokens_to_ids(token)
        assert found.input_ids.count(number) > harmless.input_ids.count(number) - 1
        assert number in found.input_ids
    assert "".join(typed.split()) in "".join(str(renderer.tokenizer.decode(found.input_ids)).split())


def test_a_prompt_that_opens_a_block_is_not_opened_twice(renderers: dict[str, Renderer]) -> None:
    for name in ("Qwen3.5", "DeepSeek distill"):
        rendered = renderers[name].dialogue([USER, THOUGHT])
        assert names(renderers[name], rendered.input_ids).count("<think>") == 1
        assert names(renderers[name], rendered.input_ids).count("</think>") == 1


def test_thoughts_are_learned_where_they_were_said_and_read_as_the_template_leaves_them(
    renderers: dict[str, Renderer],
) -> None:
    first, second = renderers["Qwen3"].dialogues(DIALOGUES["thoughts"])
    thought = renderers["Qwen3"].tokenizer.convert_tokens_to_ids("</think>")
    assert [row.input_ids.count(thought) for row in (first, second)] == [1, 0]
    assert sum(first.loss_mask) > 0
    assert len(learned(second)) == 1


def test_a_switch_in_the_system_message_is_seen_and_taken_out(renderers: dict[str, Renderer]) -> None:
    off = [{"role": "system", "content": "Be brief. /no_think"}, USER]
    prompt = str(renderers["SmolLM3"].tokenizer.decode(renderers["SmolLM3"].prompt(off)))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "Be brief.<|im_end|>" in prompt
    assert "<think>" not in str(renderers["SmolLM3"].tokenizer.decode(renderers["SmolLM3"].prompt([SYSTEM, USER])))


def test_the_text_of_an_answer_is_what_is_said_behind_the_channel(renderers: dict[str, Renderer]) -> None:
    renderer = renderers["gpt-oss"]
    said = "<|channel|>analysis<|message|>Well.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>"
    ids = renderer.tokenizer(said, add_special_tokens=False)["input_ids"]
    assert renderer.response(ids) == "Yes."
    assert renderer.response(ids[: ids.index(renderer.tokenizer.convert_tokens_to_ids("<|end|>"))]) == "Well."


@pytest.mark.parametrize("name", ["Llama 3.2", "SmolLM3", "gpt-oss"])
def test_a_template_that_asks_the_clock_is_told_one_date_that_goes_with_the_checkpoint(
    name: str, folders: dict[str, Path], renderers: dict[str, Renderer], tmp_path: Path
) -> None:
    def prompt(renderer: Renderer) -> str:
        return str(renderer.tokenizer.decode(renderer.prompt([USER])))

    assert re.search("26 Jul(y)? 2024|2024-07-26", prompt(renderers[name]))
    other = Renderer(load_tokenizer(folders[name]), date(2025, 3, 9))
    assert re.search("09 Mar(ch)? 2025|2025-03-09", prompt(other))
    save_checkpoint(little_llama(other, kv_heads=2), other.tokenizer, tmp_path)
    again = Renderer(load_tokenizer(tmp_path))
    assert prompt(again) == prompt(other)
    assert again.identity == other.identity != renderers[name].identity


def test_a_date_in_a_format_that_is_not_written_there_is_refused(tmp_path: Path) -> None:
    renderer = renderer_of("OLMo 2", tmp_path)
    with pytest.raises(ValueError, match="makes the format of the date itself"):
        with_template(renderer.tokenizer, "{{ strftime_now('%Y' + '-%m') }}" + str(renderer.tokenizer.chat_template))


def test_without_an_end_of_sequence_the_templates_end_ends_and_pads(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_family("Qwen2.5", tmp_path))
    tokenizer.eos_token = tokenizer.pad_token = None
    renderer = Renderer(tokenizer)
    assert names(renderer, [renderer.pad_id, renderer.end_ids[0]]) == ["<|im_end|>", "<|im_end|>"]


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path: Path) -> None:
    content = json.loads((write_family("OLMo 2", tmp_path) / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**content, "added_tokens": []}))
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    bare = {key: value for key, value in config.items() if key not in ("eos_token", "bos_token")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(bare))
    with pytest.raises(ValueError, match="no special token: nothing could end a turn"):
        Renderer(load_tokenizer(tmp_path))


def test_roles_that_a_template_refuses_are_named(renderers: dict[str, Renderer]) -> None:
    for name in ("Llama 2", "Mistral", "Gemma 3"):
        with pytest.raises(ValueError, match=r"refuses a dialogue of the roles user, user: .*must alternate"):
            renderers[name].prompt([USER, USER])


def test_a_template_that_leaves_out_a_message_is_refused(tmp_path: Path) -> None:
    renderer = renderer_of("OLMo 2", tmp_path)
    deaf = with_template(renderer.tokenizer, "{%- set messages = messages[-1:] -%}" + GLM_4.replace("[gMASK]<sop>", ""))
    with pytest.raises(ValueError, match=r"leaves out message 1 of the roles system, user"):
        deaf.prompt([SYSTEM, USER])


def test_tokenizers_that_render_alike_have_one_identity(
    family: str, folders: dict[str, Path], renderer: Renderer, tmp_path: Path
) -> None:
    """A checkpoint's is the base's, whatever was padded or cut with it."""
    tokenizer = load_tokenizer(folders[family])
    tokenizer.pad_token = FAMILIES[family].special[-1]
    tokenizer(["a", "a b c d"], padding=True, truncation=True, max_length=3)
    tokenizer.save_pretrained(tmp_path)
    assert Renderer(load_tokenizer(tmp_path)).identity == renderer.identity


def test_what_decides_ids_decides_the_identity(renderers: dict[str, Renderer], folders: dict[str, Path]) -> None:
    assert len({renderer.identity for renderer in renderers.values()}) == len(renderers)
    tokenizer = load_tokenizer(folders["Qwen3"])
    tokenizer.add_tokens(["zz"])
    assert Renderer(tokenizer).identity != renderers["Qwen3"].identity
    assert with_template(load_tokenizer(folders["Qwen3"]), GLM_4).identity != renderers["Qwen3"].identity


@pytest.mark.parametrize("text", ["안녕하세요 여러분", "lamp 안녕", "🎉🎉", "a\ufffd안"])
def test_of_text_that_is_cut_anywhere_every_whole_character_is_kept(renderer: Renderer, text: str) -> None:
    """Bytes of SentencePiece, and byte-level vocabularies."""
    ids = list(renderer.text.encode(text, False))
    assert renderer.response(ids) == text
    read = [renderer.response(ids[:end]) for end in range(len(ids) + 1)]
    assert all(text.startswith(each) for each in read)
    assert set(read) >= {text[:end].strip() for end in range(len(text) + 1)} - partial(text, CORPUS)


def partial(text: str, corpus: tuple[str, ...]) -> set[str]:
    """Beginnings that need not come up: pieces of several characters pass over them."""
    return {text[:end].strip() for end in range(len(text)) if any(text[end - 1 : end + 1] in line for line in corpus)}
