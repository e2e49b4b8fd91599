"""Five roles on one base are, but for memory, five models of their own."""

import copy
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from models.algorithms.ppo import masked_mean
from models.checkpoint import backbone, load_policy, load_reward, scalar_head
from models.config import LoraConfig
from models.roles import Roles, open_roles
from models.scoring import lay_out, response_logprobs, score_rows, token_values
from tests.models.conftest import stirred

LORA = LoraConfig(rank=4, alpha=8)
PROMPTS = [[1, 4, 20, 21, 22, 5], [1, 4, 30, 5], [1, 4, 2, 40, 2, 41, 42, 5]]
RESPONSES = [[50, 51, 2], [60, 61, 62, 63, 64, 2], [70, 2]]
IDS, ATTENTION, MASK = lay_out(PROMPTS, RESPONSES, 3)
REWARDS = ("value", "safety", "helpfulness")


@pytest.fixture
def adapters(heads: str, adapter_folders: dict[str, Path]) -> Path:
    """The folder of the adapters on `policy_folder`."""
    return adapter_folders[heads]


def on_one_base(adapters: Path, base: Path) -> Roles:
    folders = {name: adapters / name for name in ("policy", "safety", "helpfulness")}
    return open_roles(**folders, base=base, lora=LORA)


def on_five_bases(adapters: Path, base: Path) -> Roles:
    """The same adapters, each on a base that was loaded for it."""
    return Roles(
        policy=load_policy(adapters / "policy", base, trainable=True),
        reference=load_policy(adapters / "policy", base),
        value=load_reward(adapters / "helpfulness", base, trainable=True),
        safety=load_reward(adapters / "safety", base),
        helpfulness=load_reward(adapters / "helpfulness", base),
    )


@pytest.fixture
def roles(adapters: Path, policy_folder: Path) -> Roles:
    return on_one_base(adapters, policy_folder)


def logits(model: nn.Module) -> torch.Tensor:
    return response_logprobs(model, IDS, ATTENTION, MASK.shape[1], 1.3)[1]


def hidden(model: nn.Module) -> torch.Tensor:
    found: torch.Tensor = backbone(model)(input_ids=IDS, attention_mask=ATTENTION, use_cache=False).last_hidden_state
    return found


def outputs(roles: Roles) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = {name: logits(getattr(roles, name)) for name in ("policy", "reference")}
        return found | {name: token_values(getattr(roles, name), IDS, ATTENTION) for name in REWARDS}


def base_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The transformer's weights without adapters, by their names in the base model."""
    return {
        name.replace(".base_layer", ""): parameter
        for name, parameter in backbone(model).named_parameters()
        if "lora_" not in name
    }


def file_bytes(folder: Path, name: str) -> int:
    return sum(weight.numel() * weight.element_size() for weight in load_file(folder / name).values())


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_every_role_reads_the_very_weights_of_one_base(roles: Roles, policy_folder: Path) -> None:
    plain = base_weights(load_policy(policy_folder))
    first = base_weights(roles.policy)
    assert first.keys() == plain.keys()
    for model in roles.models:
        for name, weight in base_weights(model).items():
            assert weight is first[name]
            assert torch.equal(weight, plain[name])


def test_moving_the_roles_keeps_one_base(roles: Roles) -> None:
    """To float64 here: modules replace the data of a parameter, not the parameter, as they do between devices."""
    before = roles.weight_bytes()
    for model in roles.models:
        model.to(torch.float64)
    assert roles.weight_bytes() == 2 * before
    first = base_weights(roles.policy)
    for model in roles.models:
        assert all(weight is first[name] for name, weight in base_weights(model).items())


def test_one_base_five_adapters_and_three_heads_are_all_that_is_in_memory(
    roles: Roles, adapters: Path, policy_folder: Path
) -> None:
    base = file_bytes(policy_folder, "model.safetensors")
    policy, safety, helpfulness = (
        file_bytes(adapters / name, "adapter_model.safetensors") for name in ("policy", "safety", "helpfulness")
    )
    unused_heads = 3 * 32 * 4  # peft keeps the head of the base beside the adapter's: 32 float32 weights
    expected = base + 2 * policy + safety + 2 * helpfulness + unused_heads
    assert roles.weight_bytes() == expected
    five = on_five_bases(adapters, policy_folder)
    output_layer = 420 * 32 * 4  # which reward models that are loaded by themselves do not have
    assert five.weight_bytes() == expected + 4 * base - 3 * output_layer


def test_each_role_gives_what_a_model_of_its_own_gives_to_the_bit(
    roles: Roles, adapters: Path, policy_folder: Path
) -> None:
    five = on_five_bases(adapters, policy_folder)
    theirs = outputs(five)
    for name, found in outputs(roles).items():
        assert torch.equal(found, theirs[name]), name
    assert not torch.allclose(theirs["safety"], theirs["helpfulness"], atol=0.01)
    rows = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    rows += [PROMPTS[0] + [90, 91]]  # shares a prompt: read as a prefix tree
    for name in REWARDS:
        assert score_rows(getattr(roles, name), rows, 3, 8) == score_rows(getattr(five, name), rows, 3, 8)


@pytest.mark.conformance("reference drifts", equation="models.roles:open_roles")
def test_adapters_off_give_the_plain_base_to_the_bit_also_after_training(roles: Roles, policy_folder: Path) -> None:
    for model in roles.trained.values():
        stirred(model, 3)
    plain = load_policy(policy_folder)
    with torch.no_grad():
        for model in roles.models:
            assert isinstance(model, PeftModel)
            assert not torch.allclose(hidden(model), hidden(plain), atol=0.01)
            with model.disable_adapter():
                assert torch.equal(hidden(model), hidden(plain))
        assert isinstance(roles.policy, PeftModel)
        with roles.policy.disable_adapter():
            assert torch.equal(logits(roles.policy), logits(plain))


@pytest.mark.conformance("reference drifts", equation="models.roles:open_roles")
def test_the_reference_stays_the_policy_as_it_was_at_the_start_which_is_not_the_base(
    roles: Roles, adapters: Path, policy_folder: Path
) -> None:
    start = outputs(roles)
    assert torch.equal(start["reference"], start["policy"])
    stirred(roles.policy, 3)
    stirred(roles.value, 4)
    moved = outputs(roles)
    for name in ("policy", "value"):
        assert not torch.allclose(moved[name], start[name], atol=0.01)
    for name in ("reference", "safety", "helpfulness"):
        assert torch.equal(moved[name], start[name])
    with torch.no_grad():
        assert torch.equal(moved["reference"], logits(load_policy(adapters / "policy", policy_folder)))
        assert not torch.allclose(moved["reference"], logits(load_policy(policy_folder)), atol=0.01)


@pytest.mark.parametrize("role", ["policy", *REWARDS])
def test_a_merged_adapter_equals_the_unmerged_one(roles: Roles, role: str) -> None:
    model = getattr(roles, role)
    merged = copy.deepcopy(model).merge_and_unload()  # a copy with weights of its own: merging changes the base
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    with torch.no_grad():
        torch.testing.assert_close(hidden(merged), hidden(model), atol=1e-5, rtol=1e-5)
        if role == "policy":
            torch.testing.assert_close(logits(merged), logits(model), atol=1e-5, rtol=1e-5)
        else:
            torch.testing.assert_close(
                token_values(merged, IDS, ATTENTION), token_values(model, IDS, ATTENTION), atol=1e-5, rtol=1e-5
            )


def test_only_the_adapters_of_policy_and_value_and_the_values_head_can_learn(roles: Roles) -> None:
    trainable = {
        role: {name for name, parameter in getattr(roles, role).named_parameters() if parameter.requires_grad}
        for role in ("policy", "reference", *REWARDS)
    }
    assert trainable["reference"] == trainable["safety"] == trainable["helpfulness"] == set()
    assert len(trainable["policy"]) == 2 * 7 * 2  # A and B of seven layers in two blocks
    assert all("lora_" in name for name in trainable["policy"])
    assert {name for name in trainable["value"] if "lora_" not in name} == {
        "base_model.model.score.modules_to_save.default.weight"
    }
    assert scalar_head(roles.value).weight.requires_grad
    addresses = [
        {parameter.data_ptr() for parameter in model.parameters() if parameter.requires_grad}
        for model in roles.trained.values()
    ]
    assert not addresses[0] & addresses[1]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["as it is", "gradient checkpointing"])
def test_backward_gives_each_role_its_own_gradients_whatever_the_others_read_in_between(
    roles: Roles, adapters: Path, policy_folder: Path, checkpointing: bool
) -> None:
    """All forwards first, then the backwards: gradient checkpointing runs the forward of a role again after the others
    were used."""

    def losses(of: Roles) -> tuple[torch.Tensor, torch.Tensor]:
        logprobs, _ = response_logprobs(of.policy, IDS, ATTENTION, MASK.shape[1], 1.3)
        values = token_values(of.value, IDS, ATTENTION)[:, -MASK.shape[1] :]
        return -masked_mean(logprobs, MASK), masked_mean(values.square(), MASK)

    if checkpointing:
        for model in roles.trained.values():
            assert isinstance(model, PeftModel)
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    policy_loss, value_loss = losses(roles)
    outputs(roles)
    policy_loss.backward()
    assert set(gradients(roles.policy)) == {name for name, p in roles.policy.named_parameters() if p.requires_grad}
    assert gradients(roles.value) == {}
    outputs(roles)
    value_loss.backward()

    five = on_five_bases(adapters, policy_folder)
    for loss in losses(five):
        loss.backward()
    for role in ("policy", "reference", *REWARDS):
        ours, theirs = gradients(getattr(roles, role)), gradients(getattr(five, role))
        assert ours.keys() == theirs.keys()
        assert bool(ours) == (role in roles.trained)
        for name, gradient in theirs.items():
            assert gradient.abs().max() > 0
            assert torch.equal(ours[name], gradient), name


@pytest.mark.conformance("dropout in rollout or reference", equation="models.roles:open_roles")
def test_no_role_drops_in_training_or_evaluation_mode_where_the_base_asks_for_dropout(
    adapters: Path, dropping_policy: Path
) -> None:
    roles = on_one_base(adapters, dropping_policy)
    assert [model.training for model in roles.models] == [True, False, True, False, False]
    first = outputs(roles)
    for model in roles.models:
        model.train(not model.training)
    second = outputs(roles)
    for name, found in first.items():
        assert torch.equal(found, second[name]), name


def test_the_mode_of_one_role_leaves_the_others_as_they_are(roles: Roles) -> None:
    roles.policy.eval()
    assert [model.training for model in roles.models] == [False, False, True, False, False]
    assert not any(module.training for module in backbone(roles.policy).modules())
    assert all(module.training for module in backbone(roles.value).modules())


def test_without_lora_every_role_has_weights_of_its_own(policy_folder: Path, reward_folder: Path) -> None:
    roles = open_roles(policy=policy_folder, safety=reward_folder, helpfulness=reward_folder, base=None, lora=None)
    addresses = [parameter.data_ptr() for model in roles.models for parameter in model.parameters()]
    assert len(set(addresses)) == len(addresses)
    policy, reward = (file_bytes(folder, "model.safetensors") for folder in (policy_folder, reward_folder))
    assert roles.weight_bytes() == 2 * policy + 3 * reward
    for role, model in zip(("policy", "reference", *REWARDS), roles.models, strict=True):
        assert all(parameter.requires_grad == (role in roles.trained) for parameter in model.parameters())
    with torch.no_grad():
        assert torch.equal(logits(roles.policy), logits(load_policy(policy_folder)))


def test_whole_models_where_adapters_are_asked_for_are_refused_by_name(
    gqa_policy: Path, reward_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    folder = adapter_folders["gqa"]
    given = {name: folder / name for name in ("policy", "safety", "helpfulness")}
    for name, whole in (("policy", gqa_policy), ("safety", reward_folders["gqa"]), ("helpfulness", gqa_policy)):
        with pytest.raises(ValueError, match=f"the {name}.* is no adapter"):
            open_roles(**{**given, name: whole}, base=gqa_policy, lora=LORA)
    with pytest.raises(ValueError, match="need their base model"):
        open_roles(**given, base=None, lora=LORA)
    with pytest.raises(ValueError, match="needs its base model"):
        open_roles(**given, base=None, lora=None)
