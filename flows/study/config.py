"""A study: variants of one run that differ in a few values, each trained with one or several seeds.

A variant is a run like any other: it has a config, a name, a store and heads of its own.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from data_store.errors import InputError
from data_store.names import slug
from flows.recipe.changed_values import value_of, with_values
from flows.recipe.config import RunConfig, load_config
from flows.recipe.distill_config import RunName
from flows.recipe.invalid import messages
from flows.recipe.plan import Plan, build_plan, seed_up_to_v0
from flows.recipe.yaml_text import read_yaml_file, read_yaml_value
from flows.session import check_fits
from models.config import Config

AS_CONFIGURED = "as configured"
MOST_RUNS = 200
_NAME_LENGTH, _HASH_LENGTH = 48, 6
_INSTEAD = {
    "seed": "; give the number of seeds with `seeds`",
    "v0_seed": "; whether all seeds go on from one V0, `share_v0` says",
}


class StudyConfig(Config):
    """What a study compares. Values are given by the dotted keys of the run's config, and as they would stand in it."""

    name: RunName = Field(description="Names the study; the runs of its variants are called `<name>.<variant>-s<seed>`")
    description: str = Field(default="", description="What the study is for, for people")
    config: Path = Field(description="The run's config file that is varied, from the study file's folder")
    set: dict[str, Any] = Field(default={}, description="Values of every variant: key to value")
    vary: dict[str, tuple[Any, ...]] = Field(
        default={}, description="Values that are tried: key to a list. One key at a time, beside the config as it is"
    )
    cross: bool = Field(default=False, description="Every combination of the values of `vary`, not one key at a time")
    variants: dict[str, dict[str, Any]] = Field(
        default={}, description="Variants of several values each: name to key to value"
    )
    scaling: str | None = Field(
        default=None,
        description="A source of the mix: its held-out loss is plotted against tokens, a line a size of model, in the "
        "place of the policies' figures",
    )
    seeds: int = Field(default=1, ge=1, le=30, description="Runs of each variant: the config's seed and those after it")
    share_v0: bool = Field(
        default=False,
        description="Corpus, tokenizer, pretrained model and V0 are the first seed's in all runs: seeds differ from V1 "
        "on. Much cheaper, and the intervals say nothing of another V0",
    )

    @model_validator(mode="after")
    def _compares_something(self) -> "StudyConfig":
        if not self.vary and not self.variants:
            raise ValueError("nothing is varied: give `vary` or `variants`")
        if self.cross and len(self.vary) < 2:
            raise ValueError("cross combines the values of several keys of `vary`: give two or more, or leave it out")
        for key, values in self.vary.items():
            if not values:
                raise ValueError(f"vary.{key}: no value is given")
        return self


@dataclass(frozen=True)
class Variant:
    """One row of a study. `label`: its values in words; `runs`: its configs, one a seed."""

    label: str
    runs: tuple[RunConfig, ...]


@dataclass(frozen=True)
class Study:
    """A study whose variants have all been looked at: each is a valid run."""

    config: StudyConfig
    base: RunConfig
    variants: tuple[Variant, ...]

    @property
    def runs(self) -> list[tuple[Variant, RunConfig]]:
        """All runs in the order in which they are done: each variant with the first seed, then with the next."""
        return [(variant, variant.runs[n]) for n in range(self.config.seeds) for variant in self.variants]


def is_study(path: Path) -> bool:
    """Whether a YAML file is a study's and not a run's: it names the config that it varies."""
    content = read_yaml_file(path)
    return isinstance(content, dict) and "config" in content


def load_study(path: Path) -> StudyConfig:
    """Read a study file. Raises InputError that names file, key and what to do."""
    content = read_yaml_file(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold keys and values, such as `config: ../smoke.yaml`")
    study = _checked(content, str(path))
    return study.model_copy(update={"config": (path.parent / study.config).resolve()})


def study_of(path: Path, vary: Iterable[str], seeds: int, *, share_v0: bool = False, cross: bool) -> StudyConfig:
    """The study of a run's config file and of `KEY=VALUE,VALUE …` as a person writes them. Raises InputError."""
    values: dict[str, tuple[Any, ...]] = {}
    for text in vary:
        key, equals, given = text.partition("=")
        if not equals or not key or not given.strip():
            raise InputError(f"--vary {text}: write KEY=VALUE,VALUE, for example reward.margins=none,small,large")
        if key in values:
            raise InputError(f"--vary {text}: {key} is given twice; give its values in one --vary")
        values[key] = tuple(read_yaml_value(f"[{given}]", f"--vary {text}"))
    content = {"name": load_config(path).name, "config": path.absolute(), "vary": values, "seeds": seeds}
    return _checked({**content, "share_v0": share_v0, "cross": cross}, "--vary")


def _checked(content: Mapping[str, Any], where: str) -> StudyConfig:
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        raise InputError("\n".join(messages(error, where, StudyConfig))) from None


def open_study(config: StudyConfig) -> Study:
    """The runs of all variants, each checked as a run is before it starts. Raises InputError that names the value that
    does not fit, before anything is computed."""
    base = load_config(config.config)
    base = _with(base, config.set, "set", config.config.parent)
    if base.schedule.take_in != "nothing":
        raise InputError(
            f"{config.config}: with schedule.take_in: {base.schedule.take_in} the runs would grow while they are "
            "compared; set schedule.take_in: nothing"
        )
    names = [] if base.mix is None else [source.name for source in base.mix.sources]
    if config.scaling is not None and config.scaling not in names:
        raise InputError(
            f"{config.name}: scaling: the run's mix has no {config.scaling!r}; it has "
            f"{', '.join(names) or 'no sources: give a mix'}"
        )
    given = list(_variants(config))
    if len(given) * config.seeds > MOST_RUNS:
        raise InputError(
            f"{config.name}: {len(given)} variants of {config.seeds} seeds are {len(given) * config.seeds} runs, and a "
            f"study has at most {MOST_RUNS}: vary less"
        )
    found: list[Variant] = []
    alike: dict[str, str] = {}
    for label, values in given:
        varied = _with(base, values, label, config.config.parent)
        same = varied.model_dump_json()
        if same in alike:
            if label in config.variants or alike[same] in config.variants or config.cross:
                raise InputError(f"{config.name}: {alike[same]!r} and {label!r} are the same run; leave one out")
            continue  # the value that the config has
        alike[same] = label
        if config.share_v0:
            varied = varied.model_copy(update={"v0_seed": seed_up_to_v0(base)})
        runs = [_named(config.name, label, varied, base.seed + n) for n in range(config.seeds)]
        found.append(Variant(_told(label, config, base), tuple(runs)))
    if len(found) < 2:
        raise InputError(f"{config.name}: only {found[0].label!r} is left to compare; give another value")
    _check_plans(config, found)
    return Study(config, base, tuple(found))


def _with(base: RunConfig, values: Mapping[str, Any], label: str, folder: Path) -> RunConfig:
    for key in values:
        if key in ("name", "seed", "v0_seed", "description") or key.split(".")[0] in (
            "schedule",
            "notify",
            "retention",
        ):
            hint = _INSTEAD.get(key, "")
            raise InputError(f"{label}: {key} is no value to compare{hint}")
    return with_values(base, values, label, folder)


def _variants(config: StudyConfig) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(label, values) in their order. One key at a time the config as it is comes first, to compare with."""
    if config.cross:
        for values in itertools.product(*config.vary.values()):
            together = dict(zip(config.vary, values, strict=True))
            yield ", ".join(f"{key}={_shown(value)}" for key, value in together.items()), together
    elif config.vary:
        yield AS_CONFIGURED, {}
        for key, values in config.vary.items():
            for value in values:
                yield f"{key}={_shown(value)}", {key: value}
    yield from config.variants.items()


def _told(label: str, config: StudyConfig, base: RunConfig) -> str:
    """The label for people: of the config as it is with the values that are varied."""
    if label != AS_CONFIGURED:
        return label
    return f"{label}: {', '.join(f'{key}={_shown(_configured(base, key))}' for key in config.vary)}"


def _configured(config: RunConfig, key: str) -> Any:
    content = to_jsonable_python(value_of(config, key))
    return "given" if isinstance(content, dict) else content


def _shown(value: Any) -> str:
    """A value as a config file has it, in one line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _named(study: str, label: str, config: RunConfig, seed: int) -> RunConfig:
    """The variant's config under the name of its run. The name is made of the study's and of the values alone, so that
    the same study goes on in the same stores."""
    plain, ending = label.replace("=", "-").replace(" ", "-"), f"-s{seed}"
    room = _NAME_LENGTH - len(study) - 1 - len(ending)
    if room < _HASH_LENGTH + 2:
        raise InputError(f"the study's name {study!r} leaves no room for its variants' names: give a shorter one")
    short = slug(plain)
    if short != plain or len(short) > room:
        digest = hashlib.sha256(label.encode()).hexdigest()[:_HASH_LENGTH]
        short = f"{short[: room - _HASH_LENGTH - 1].rstrip('-._')}-{digest}"
    return config.model_copy(update={"name": f"{study}.{short}{ending}", "seed": seed})


def _check_plans(config: StudyConfig, variants: Iterable[Variant]) -> None:
    """Raises InputError for a value of `vary` that no step reads, and for what `check_fits` refuses."""
    recipes: dict[str, str] = {}
    for variant in variants:
        run = variant.runs[0]
        plan = build_plan(run)
        check_fits(run, plan)
        recipe = recipe_of(plan)
        if recipe in recipes:
            raise InputError(
                f"{config.name}: no step of this run reads what differs between {recipes[recipe]!r} and "
                f"{variant.label!r}; look the key up in docs/reference-config.md"
            )
        recipes[recipe] = variant.label


def recipe_of(plan: Plan) -> str:
    """All that decides the result of a plan, as one text."""
    return repr(
        [
            (key, call.recipe(), [(role, list(map(str, read))) for role, read in call.inputs.items()])
            for key, call in plan.items()
        ]
    )


def own_steps(plans: Iterable[Plan]) -> list[int]:
    """How many steps of each plan no plan before it has: a step is the same where it has the same config and seed and
    reads the same, all the way back. What the content of a result decides is not foreseen."""
    seen: set[str] = set()
    counts = []
    for plan in plans:
        made: dict[str, str] = {}
        new = 0
        for call in plan.values():
            reads = [(role, [made.get(str(each), str(each)) for each in given]) for role, given in call.inputs.items()]
            mark = hashlib.sha256(repr((call.recipe(), reads)).encode()).hexdigest()
            made |= {str(asset): f"{asset} {mark}" for asset in call.outputs.values()}
            new += mark not in seen
            seen.add(mark)
        counts.append(new)
    return counts
