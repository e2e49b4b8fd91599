"""From names of policies to the answerer of the annotation page: which versions, on which base, how they are drawn."""

from collections.abc import Sequence
from pathlib import Path

from data_store.annotation.red_team import RedTeam
from data_store.closest import did_you_mean
from data_store.content.publishing import describe_source
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import Head
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.places import FOUNDATION
from flows.recipe.plan import plan_today
from tasks.fit_context import FitLimitsConfig, fit_context
from tasks.live.live_answers import LiveAnswerer, LiveConfig, LiveModel


def policy_head(store: Store, name: str) -> Head:
    """Where a policy's name points now. Raises InputError for what is no policy, or not made yet."""
    asset = AssetName.parse(name)
    if asset.kind != "model" or not asset.name.startswith("policy"):
        raise InputError(f"{name} is no policy: give one, for example model/policy@V1")
    head = store.head(asset)
    if head is None:
        policies = sorted(str(one) for one in store.heads() if one.kind == "model" and one.name.startswith("policy"))
        near = did_you_mean(name, policies)
        raise InputError(f"there is no {name} yet; there are: {', '.join(policies) or 'none'}{near}")
    return head


def open_answerer(
    config: RunConfig, store: Store, compared: Sequence[str], attacked: Sequence[RedTeam], seconds: float
) -> LiveAnswerer:
    """The answerer for the page, not started yet: `compared` are names of one or two policies, `attacked` the red teams
    whose versions are asked alone; those of red teams that are opened later are loaded when their page is.

    Raises InputError for more than two policies, and for what is no policy.
    """
    if len(compared) > 2:
        raise InputError("--answer takes one or two policies: the two variants whose responses are compared")
    variants = tuple(policy_head(store, name).version_id for name in compared)
    versions = dict.fromkeys((*variants, *(session.spec.policy_version for session in attacked)))
    fitted = plan_today(config, store)[FOUNDATION, fit_context.name].config
    if not isinstance(fitted, FitLimitsConfig):
        raise AssertionError("the plan gives fit_context a config of another step")
    sampling = config.collect.sampling
    return LiveAnswerer(
        [_model(config, store, version) for version in versions],
        LiveConfig(
            variants=variants,
            temperatures=config.collect.temperatures,
            reply_temperature=config.evaluate.temperature,
            max_new_tokens=sampling.max_new_tokens,
            prompt_tokens=min(fitted.prompt_tokens, fitted.max_prompt_tokens or fitted.prompt_tokens),
            seed=config.seed,
            seconds=seconds,
        ),
        lambda version: _model(config, store, version),
    )


def _model(config: RunConfig, store: Store, version: str) -> LiveModel:
    """The version's folder and its base."""
    return LiveModel(version, store.checkout(version), base_of(config, store, version))


def base_of(config: RunConfig, store: Store, version: str) -> Path | None:
    """The base that the run which made an adapter has read; None for a whole model. Raises InputError where the folder
    outside the store holds another one by now."""
    if not (store.checkout(version) / "adapter_config.json").exists():
        return None
    graph = store.lineage(version)
    bases = [edge for root in graph.roots for edge in graph.inputs_of(root) if edge.role == "base"]
    if not bases:
        return None
    if bases[0].asset.kind != "source":
        return store.checkout(bases[0].version_id)
    base = config.base_model
    if base is not None and describe_source("source", base).version_id != bases[0].version_id:
        raise InputError(
            f"base_model: {base} is not what model {version[:12]} was trained on: its answers would be another's. "
            "Put the folder back as it was, or train the model anew"
        )
    return base
