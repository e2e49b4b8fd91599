"""Where a row of the recipe stands, and the words in which the recipe says what is read there.

Each word gives, for a place, what a step reads: `last("model/policy")` in V3 is the policy of V2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from data_store.incoming.intakes import Intake
from data_store.names import AssetName
from flows.recipe.config import RunConfig
from tasks.engine.reading import Incoming
from tasks.engine.step import Step
from tasks.file_roles import PAIRS
from tasks.incoming.adopted import Adopted
from tasks.incoming.asked import Asked
from tasks.incoming.attacked import Attacked
from tasks.incoming.files import File
from tasks.incoming.judged import Judged
from tasks.incoming.stored import Asset
from tasks.judging.endpoint import EndpointConfig
from tasks.judging.judge import Judging, Need
from tasks.judging.people import PeopleConfig
from tasks.judging.registry import judges_of, model_of

FOUNDATION = "base"
FIRST = "V0"


@dataclass(frozen=True)
class Place:
    """A part of a run: the foundation, V0 or the iteration V`number`. `intakes`: what the foundation and the appended
    iterations took in."""

    config: RunConfig
    part: str
    number: int
    intakes: Mapping[str, Intake]

    @property
    def is_appended(self) -> bool:
        """Whether the iteration was appended to those of the config."""
        return self.number > self.config.iterations

    @property
    def final_stage(self) -> str:
        """What follows fine-tuning here: from the config's last iteration on its final stage, so that what was made is
        never undone by what is appended."""
        return self.config.final_stage if 0 < self.number >= self.config.iterations else "none"

    @property
    def judging(self) -> Judging:
        """Who is to judge the pairs here."""
        return self.config.collect.judging(self.config.annotator)


Reads = Callable[[Place], tuple[Incoming, ...]]
Condition = Callable[[Place], bool]
Makes = Mapping[str, str]


def always(_at: Place) -> bool:
    """In every such part."""
    return True


@dataclass(frozen=True)
class Row:
    """One step of the recipe: its config, what it reads and what its outputs are called, by role; the parts in which it
    is. Its seed is derived from its own name, or from that of `seed_of`. `after` are steps that must have ended well
    before this one is worth its time. `processes`: on how many of its machine it works, where that decides nothing of
    the result; None leaves it to the step."""

    step: Step
    config: Callable[[Place], BaseModel]
    reads: Mapping[str, Reads]
    makes: Makes | Callable[[Place], Makes]
    when: Condition = always
    seed_of: Step | None = None
    after: tuple[Step, ...] = ()
    processes: Callable[[Place], int | None] = lambda _at: None


def section(name: str) -> Callable[[Place], BaseModel]:
    """A section of the config, whole."""

    def of(at: Place) -> BaseModel:
        found: BaseModel = getattr(at.config, name)
        return found

    return of


def only(names: type[BaseModel], of: BaseModel) -> dict[str, Any]:
    """The values of `of` that the config class `names` has, too."""
    return {name: getattr(of, name) for name in names.model_fields}


def where(condition: Condition, reads: Reads) -> Reads:
    """Read only where the condition holds."""
    return lambda at: reads(at) if condition(at) else ()


def here(asset: str) -> Reads:
    """`kind/name` of this part."""
    return lambda at: _assets(asset, at.part)


def last(asset: str, by: int = 1) -> Reads:
    """`kind/name` of the iteration before, or of an earlier one; V0 is the first."""
    return lambda at: _assets(asset, f"V{max(at.number - by, 0)}")


def first(asset: str) -> Reads:
    """`kind/name` of V0."""
    return lambda _at: _assets(asset, FIRST)


def base(asset: str) -> Reads:
    """`kind/name` of the foundation."""
    return lambda _at: _assets(asset, FOUNDATION)


def earlier(asset: str) -> Reads:
    """`kind/name` of all iterations before this one."""
    return lambda at: _assets(asset, *(f"V{n}" for n in range(1, at.number)))


def before(asset: str) -> Reads:
    """`kind/name` of the iteration before this one; nothing in the first."""
    return lambda at: _assets(asset, f"V{at.number - 1}") if at.number > 1 else ()


def so_far(asset: str) -> Reads:
    """`kind/name` of all iterations up to this one."""
    return lambda at: _assets(asset, *(f"V{n}" for n in range(1, at.number + 1)))


def data_files(role: str) -> Reads:
    """The files of a role of `data`: those of the config, or what the part took in."""

    def of(at: Place) -> tuple[Incoming, ...]:
        given = at.config.data.files()
        if at.part in at.intakes:
            kept = {} if at.number else {each: paths for each, paths in given.items() if each not in PAIRS}
            given = {**kept, **at.intakes[at.part].paths()}
        return tuple(File(path) for path in given.get(role, ()))

    return of


def given_base(at: Place) -> tuple[Incoming, ...]:
    """The folder of a base model, where one is given."""
    folder = at.config.base_model
    return () if folder is None else (File(folder),)


def the_base(at: Place) -> tuple[Incoming, ...]:
    """The model that everything begins with: trained here, or a folder."""
    return _assets("model/base", FOUNDATION) if at.config.trains_base else given_base(at)


def under_adapters(at: Place) -> tuple[Incoming, ...]:
    """The same where adapters stand on it."""
    return () if at.config.lora is None else the_base(at)


def given_tokenizer(at: Place) -> tuple[Incoming, ...]:
    """The folder of a tokenizer for a model from nothing, where one is given."""
    folder = at.config.tokenizer.folder
    return () if folder is None else (File(folder),)


def the_tokenizer(at: Place) -> tuple[Incoming, ...]:
    """The tokenizer that was trained here, one that was given, the base model's, or that with the pieces that were
    added to it."""
    if at.config.extend_tokenizer is not None:
        return _assets("tokenizer/tokenizer", FOUNDATION)
    return given_base(at) or given_tokenizer(at) or _assets("tokenizer/tokenizer", FOUNDATION)


def the_prompts(at: Place) -> tuple[Incoming, ...]:
    """The prompts of an iteration: those of the foundation, with those of red teams where they are asked for."""
    return _assets("dataset/prompts", FOUNDATION if at.config.collect.red_team is None else at.part)


def attacks(at: Place) -> tuple[Incoming, ...]:
    """What red teams found in the policies of all earlier parts."""
    return tuple(Attacked(f"V{n}") for n in range(at.number))


def for_judges(role: str) -> Reads:
    """What collect_preferences reads under a role for those who judge."""

    def of(at: Place) -> tuple[Incoming, ...]:
        given = [each.reads(at.judging) for each in judges_of(at.judging)]
        needs = dict.fromkeys(reads[role] for reads in given if role in reads)
        return tuple(_needed(need, at) for need in needs)

    return of


def for_model(role: str) -> Reads:
    """What judge_pairs reads under a role for the model that judges."""

    def of(at: Place) -> tuple[Incoming, ...]:
        model = model_of(at.judging)
        needs = {} if model is None else model.needs(at.judging)
        return (_needed(needs[role], at),) if role in needs else ()

    return of


def _needed(need: Need, at: Place) -> Incoming:
    """What a judge needs, as something that is read here."""
    pairs = AssetName("dataset", "pairs", at.part)
    match need:
        case str():
            return _assets(need, at.part)[0]
        case Path():
            return File(need)
        case EndpointConfig():
            return Asked(pairs, need, at.judging.shares)
        case PeopleConfig():
            return Judged(pairs, need)
    raise TypeError(f"nobody knows how to come by {need!r}")


def picks(at: Place) -> tuple[Incoming, ...]:
    """The best candidates of this iteration; with distillation those of another run."""
    name, distill = AssetName("dataset", "picks", at.part), at.config.distill
    return (Asset(name),) if distill is None else (Adopted(distill.run, name),)


def imported_pairs(at: Place) -> tuple[Incoming, ...]:
    """The judged pairs of files that an iteration takes from: those of the foundation, or its own."""
    return here("dataset/fitted-preferences")(at) if at.is_appended else base("dataset/preferences")(at)


def _assets(asset: str, *parts: str) -> tuple[Incoming, ...]:
    kind, _, name = asset.partition("/")
    return tuple(Asset(AssetName(kind, name, part)) for part in parts)
