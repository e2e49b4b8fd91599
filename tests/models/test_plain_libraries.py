"""What we save says the same in plain transformers and peft as here, whatever the base pads with."""

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint
from models.dialogue import Renderer
from models.scoring import score_rows
from models.tokenizer import load_tokenizer
from tests.models.conftest import little_llama, stirred
from tests.models.test_checkpoint import LORA
from tests.models.test_tokenizer import TEXTS, encode

DIALOGUES = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in (
        ("Who keeps the lamp?", "The keeper keeps the lamp."),
        ("Who?", "I cannot help with that. I can help you to write a letter, a list or a short story instead."),
        ("When does the ferry leave?", "At dawn."),
        ("?", "2"),
    )
]


@pytest.fixture(params=["pad apart", "pad is the end", "no pad, unk", "no pad, Llama 3", "nothing but the end"])
def base(request: pytest.FixtureRequest, tokenizer_folder: Path, llama3_folder: Path, tmp_path: Path) -> Path:
    """A base model as somebody else has published it."""
    folder = tmp_path / "base"
    source = llama3_folder if "Llama 3" in request.param else tokenizer_folder
    shutil.copytree(source, folder)
    renderer = Renderer(load_tokenizer(folder))
    model = little_llama(renderer, 2)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    if request.param != "pad apart":
        config.pop("pad_token", None)
    if request.param == "pad is the end":
        config["pad_token"] = config["eos_token"]
    if request.param == "nothing but the end":
        _without_specials(folder, config)
    file.write_text(json.dumps(config))
    model.config.pad_token_id = {"pad apart": renderer.pad_id, "pad is the end": renderer.end_ids[0]}.get(request.param)
    model.save_pretrained(folder)
    return folder


def _without_specials(folder: Path, config: dict[str, object]) -> None:
    """All control tokens but the end are ordinary words of the vocabulary."""
    for name in ("unk_token", "bos_token", "additional_special_tokens", "extra_special_tokens"):
        config.pop(name, None)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] == config["eos_token"]]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer.model").unlink()
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    template = "{%- for m in messages -%}{{- m['role'] + m['content'] + eos_token -}}{%- endfor -%}"
    (folder / "chat_template.jinja").write_text(template)


@pytest.mark.conformance(
    "the reward is read at the wrong token when pad = eos", equation="models.checkpoint:save_checkpoint"
)
@pytest.mark.parametrize("way", ["whole", "adapter"])
def test_a_reward_model_scores_alike_here_and_in_plain_libraries_alone_and_in_padded_batches(
    base: Path, way: str, tmp_path: Path
) -> None:
    renderer, saved = Renderer(load_tokenizer(base)), tmp_path / "reward"
    lora = LORA if way == "adapter" else None
    save_checkpoint(stirred(reward_from_policy(base, base, lora=lora, seed=1)), renderer.tokenizer, saved)
    rows = [renderer.dialogue(messages).input_ids for messages in DIALOGUES]
    assert all(row[-1] == renderer.end_ids[0] for row in rows)
    ours = torch.tensor(score_rows(load_reward(saved, base), rows, renderer.pad_id, 8))
    assert ours.std() > 0.1
    tokenizer = AutoTokenizer.from_pretrained(saved)
    if way == "whole":
        plain = AutoModelForSequenceClassification.from_pretrained(saved)
    else:  # the base's own config cannot know of the padding
        plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, pad_token_id=_padding(tokenizer))
        plain = PeftModel.from_pretrained(plain, saved)
    plain.eval()
    with torch.no_grad():
        alone = torch.cat([plain(input_ids=torch.tensor([row])).logits[0] for row in rows])
        torch.testing.assert_close(alone, ours, atol=1e-5, rtol=1e-5)
        for side in ("right", "left"):
            tokenizer.padding_side = side
            batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
            if _padding(tokenizer) is None:
                with pytest.raises(ValueError, match="no padding token"):  # refused, and not read wrong
                    plain(**batch)
                continue
            assert (batch["attention_mask"] == 0).any()
            torch.testing.assert_close(plain(**batch).logits[:, 0], ours, atol=1e-4, rtol=1e-4)


def _padding(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What a saved tokenizer pads with, unless that is the end."""
    pad: int = tokenizer.pad_token_id
    return None if pad == tokenizer.eos_token_id else pad


@pytest.mark.parametrize("way", ["whole", "adapter"])
def test_a_policy_has_equal_logits_in_plain_libraries_and_ends_where_it_ends_here(
    base: Path, way: str, tmp_path: Path
) -> None:
    renderer, saved = Renderer(load_tokenizer(base)), tmp_path / "policy"
    ours = stirred(load_policy(base, lora=LORA if way == "adapter" else None, trainable=True)).eval()
    save_checkpoint(ours, renderer.tokenizer, saved)
    plain = AutoModelForCausalLM.from_pretrained(saved if way == "whole" else base)
    if way == "adapter":
        plain = PeftModel.from_pretrained(plain, saved)
    ids = torch.tensor([renderer.dialogue(DIALOGUES[0]).input_ids])
    with torch.no_grad():
        assert torch.equal(plain.eval()(input_ids=ids).logits, ours(input_ids=ids).logits)
    if way == "whole":
        assert plain.config.eos_token_id == plain.generation_config.eos_token_id == renderer.end_ids[0]
        assert plain.config.pad_token_id != renderer.end_ids[0]


def test_ids_of_text_and_embeddings_stay_whatever_pads(base: Path, tmp_path: Path) -> None:
    published = AutoTokenizer.from_pretrained(base)
    renderer = Renderer(load_tokenizer(base))
    save_checkpoint(load_policy(base), renderer.tokenizer, tmp_path / "policy")
    saved = load_tokenizer(tmp_path / "policy")
    assert len(saved) == len(published)
    for text in TEXTS.values():
        assert encode(saved, text) == encode(published, text)
    assert saved.pad_token_id == renderer.pad_id
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    assert model.get_input_embeddings().num_embeddings == len(published)


@pytest.mark.parametrize(("given", "wanted"), [(None, [9]), (2, [9, 2]), (9, [9]), ([2, 9, 7], [9, 2, 7])], ids=str)
def test_the_tokenizers_end_comes_first_among_the_ends_that_the_base_knows(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, given: int | list[int] | None, wanted: list[int]
) -> None:
    tokenizer = load_tokenizer(gqa_policy)
    tokenizer.eos_token = str(tokenizer.convert_ids_to_tokens(9))
    model = load_policy(gqa_policy)
    model.generation_config.eos_token_id = given
    save_checkpoint(model, tokenizer, tmp_path)
    found = GenerationConfig.from_pretrained(tmp_path).eos_token_id
    assert ([found] if isinstance(found, int) else found) == wanted


def test_sentencepieces_file_goes_along_from_checkpoint_to_checkpoint(
    tokenizer_folder: Path, gqa_policy: Path, tmp_path: Path
) -> None:
    (original,) = tokenizer_folder.glob("tokenizer.model")
    for name, source in (("first", gqa_policy), ("second", tmp_path / "first")):
        save_checkpoint(load_policy(gqa_policy), load_tokenizer(source), tmp_path / name)
    copy = tmp_path / "second" / "tokenizer.model"
    assert copy.read_bytes() == original.read_bytes()
    sentences = sentencepiece.SentencePieceProcessor(model_file=str(copy))
    for text in TEXTS.values():
        assert sentences.encode(text) == encode(load_tokenizer(tmp_path / "second"), text)


def test_padding_is_what_each_family_keeps_free(tokenizer_folder: Path, llama3_folder: Path, tmp_path: Path) -> None:
    for number, (source, added, wanted) in enumerate(
        (
            (tokenizer_folder, (), "<unk>"),
            (llama3_folder, ("<|reserved_special_token_0|>", "<|finetune_right_pad_id|>"), "<|finetune_right_pad_id|>"),
            (llama3_folder, ("<|python_tag|>", "<|reserved_special_token_0|>"), "<|reserved_special_token_0|>"),
            (llama3_folder, (), "<|end_of_text|>"),  # which its template does not write
        )
    ):
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if added:
            tokenizer.add_special_tokens({"additional_special_tokens": list(added)})
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.save_pretrained(folder)
        assert load_tokenizer(folder).pad_token == wanted
