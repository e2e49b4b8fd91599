"""Shards of drawing and scoring, without Ray between: this process does what its workers would do, by way of a bucket
in memory."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from data_store.content.bucket_objects import BucketObjects
from data_store.content.objects import Objects
from data_store.content.publishing import publish_files
from data_store.errors import InputError
from data_store.records import VersionInfo, now
from models.checkpoint import load_policy, load_reward
from models.config import SamplingConfig
from models.origins import origin_of
from models.shards import parts_of, together
from models.verdicts import verdict_tokens
from tasks.answers import open_renderer
from tasks.engine.code import code_files
from tasks.engine.on_ray.active import active, spread_by
from tasks.engine.on_ray.cluster import Told
from tasks.engine.on_ray.shard_process import WORK, Opened, do_shard
from tasks.engine.on_ray.shards import (
    Drawn,
    Letters,
    Model,
    Place,
    Prompt,
    Result,
    Shard,
    ShardsTold,
    Version,
    check_result,
    most_bytes,
    named,
)
from tasks.engine.on_ray.spread import Spread
from tasks.judging.guidelines import LETTERS
from tasks.sampling import draw, score, verdict_odds
from tests.s3_server import Buckets, keys
from tests.tasks.bench import step_run
from tests.tasks.little_policy import little_policy, llama_prompts, terse_policy, with_reward_model

PLACE, STORE = "s3://llamas/pocket", ("0123abcd", "pocket")
KEY = f"shards/{'0' * 32}/"
MESSAGES = [prompt["messages"] for prompt in llama_prompts(5)]


class Hands:
    """What a cluster of one worker would be. `dies` has the states in which the next attempts end; `late` lets such an
    attempt put its result before it is lost."""

    def __init__(self, home: Path) -> None:
        self.home, self.opened = home, Opened()
        self.dies: list[str] = []
        self.late = False
        self.begun: list[Any] = []
        self.states: dict[str, Told] = {}
        self.code = code_files(WORK)

    def begin(self, name: str, module: str, told: Any, needs: Any, *, stays: bool) -> str:
        self.begun.append(told)
        task, lost = str(len(self.begun)), self.dies.pop(0) if self.dies else ""
        if not lost or self.late:
            loaded = cast(Any, SimpleNamespace(files=lambda _module: self.code))
            do_shard(Place.model_validate(told), loaded, self.opened, self.home)
        answer = {"failed": "", "is_input": False}
        self.states[task] = Told(lost, "the node is gone") if lost else Told("COMPLETED", "", answer)
        return task

    def told(self, task: str) -> Told:
        return self.states[task]

    def wait(self, seconds: float) -> None:
        """Nothing is waited for."""

    def end(self, task: str) -> None:
        """Nothing is at work."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a reward model and a judge beside it, whose letters are not always the same."""
    policy = with_reward_model(terse_policy(tmp_path_factory.mktemp("policy")))
    little_policy(tmp_path_factory.mktemp("judge")).rename(policy.parent / "judge")
    return policy


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    return Hands(tmp_path / "home")


@pytest.fixture
def spread(policy: Path, buckets: Buckets, hands: Hands, tmp_path: Path) -> Spread:
    """Of a step whose policy, reward model and judge are versions of the store."""
    (tmp_path / "tmp").mkdir()
    objects = BucketObjects(tmp_path / "objects", tmp_path / "tmp", buckets(PLACE), STORE)
    objects.claim()
    inputs = {"policy": policy, **{role: policy.parent / role for role in ("reward", "judge")}}
    run = step_run(tmp_path, inputs=inputs)
    versions = {f"version-of-{role}": version_of(objects, folder) for role, folder in inputs.items()}
    told = ShardsTold(
        ray="head:6379", cpus=1, gpus=0, memory=0, attempts=2, objects=PLACE, store=STORE[0], versions=versions
    )
    return Spread(told, buckets(PLACE), cast(Any, hands), run, KEY, code_files("tasks.rejection_sample"))


def version_of(objects: Objects, folder: Path) -> Version:
    published = publish_files(objects, "model", folder, None, consume=False)
    facts = {name: value for name, value in vars(published).items() if name != "new_bytes"}
    return Version.of(VersionInfo(**facts, created_at=now()))


def answers(policy: Path, shards: int) -> list[Any]:
    """What the policy says, what the reward model thinks of it, and which letter the judge would say next."""
    config = SamplingConfig(max_new_tokens=6, batch_size=4, shards=shards)
    renderer = open_renderer(policy)
    drawn = draw(load_policy(policy), renderer, MESSAGES, config, temperatures=(0.7, 1.2), seed=3)
    dialogues = [(said, each) for said, both in zip(MESSAGES, drawn, strict=True) for each in both]
    scored = score([load_reward(policy.parent / "reward")], renderer, dialogues, config)
    rows, tokens = [renderer.prompt(said) for said in MESSAGES], verdict_tokens(renderer, LETTERS)
    return [drawn, scored, verdict_odds(load_policy(policy.parent / "judge"), rows, tokens, renderer.pad_id, config)]


@pytest.mark.slow
@pytest.mark.conformance("where shards are done changes what a step makes", equation="models.shards:parts_of")
@pytest.mark.parametrize("shards", [1, 3, 9])
def test_what_shards_elsewhere_give_is_what_shards_here_give(
    policy: Path, spread: Spread, hands: Hands, shards: int
) -> None:
    here = answers(policy, shards)
    with spread_by(spread):
        there = answers(policy, shards)
    assert there == here
    assert active() is None
    assert len(hands.begun) == spread.measured()["shards"] == spread.measured()["shards/attempts"] > 1


@pytest.mark.conformance("a lost shard costs the whole step", equation="tasks.engine.on_ray.spread:Spread._results")
@pytest.mark.parametrize("late", [False, True])
def test_a_lost_shard_is_done_again_alone_and_one_that_ran_twice_has_one_result(
    policy: Path, spread: Spread, hands: Hands, late: bool, buckets: Buckets
) -> None:
    here = answers(policy, 3)
    hands.dies, hands.late = ["", "CRASHED"], late
    with spread_by(spread):
        assert answers(policy, 3) == here
    again = [place["key"] for place in hands.begun if [each["key"] for each in hands.begun].count(place["key"]) > 1]
    assert again == [hands.begun[1]["key"]] * 2
    assert spread.measured()["shards/attempts"] == len(hands.begun) - (0 if late else 1)
    assert sum(key.endswith("/result") for key in keys(buckets(PLACE))) == spread.measured()["shards"]


def test_a_shard_that_is_lost_as_often_as_it_may_be_sent_ends_the_step(
    policy: Path, spread: Spread, hands: Hands
) -> None:
    hands.dies = ["CRASHED", "CRASHED"]
    with spread_by(spread), pytest.raises(RuntimeError, match="drawing, shard 1 of 1: crashed: the node is gone"):
        answers(policy, 1)
    assert len(hands.begun) == 2


def test_a_step_that_is_started_again_takes_up_the_shards_that_are_finished(
    policy: Path, spread: Spread, hands: Hands
) -> None:
    with spread_by(spread):
        first = answers(policy, 3)
        sent = len(hands.begun)
        assert answers(policy, 3) == first
    assert len(hands.begun) == sent


@pytest.mark.conformance(
    "a worker is believed what it says that it drew", equation="tasks.engine.on_ray.shards:check_result"
)
def test_a_result_that_cannot_be_is_refused_and_taken_away(
    policy: Path, spread: Spread, hands: Hands, buckets: Buckets
) -> None:
    with spread_by(spread):
        first = answers(policy, 3)
        (bad, *_) = (key for key in keys(buckets(PLACE)) if key.endswith("/result"))
        buckets(PLACE).delete([bad])
        buckets(PLACE).create(bad, b'{"scores": [[NaN]]}')
        with pytest.raises(RuntimeError, match="is not what was asked for"):
            answers(policy, 3)
        assert answers(policy, 3) == first


def test_other_code_where_a_shard_is_done_is_refused_by_name(policy: Path, spread: Spread, hands: Hands) -> None:
    hands.code = {**hands.code, "models/generation.py": "0" * 64}
    told = r"other code on .*: models/generation\.py: install the same"
    with spread_by(spread), pytest.raises(InputError, match=told):
        answers(policy, 2)


def test_a_model_that_is_trained_or_was_changed_here_is_no_version_that_others_can_open(
    policy: Path, spread: Spread
) -> None:
    opened = load_policy(policy)
    assert spread.models([opened]) is not None
    assert origin_of(load_policy(policy, trainable=True)) is None
    assert spread.models([opened, load_policy(policy, trainable=True)]) is None
    assert spread.models([load_policy(policy, opened)]) is None


def test_parts_are_those_of_one_machine_and_come_together_in_order() -> None:
    assert parts_of(list("abcdefg"), 3) == [list("adg"), list("be"), list("cf")]
    assert parts_of(list("ab"), 5) == [["a"], ["b"]]
    for shards in range(1, 9):
        assert together(parts_of(list("abcdefg"), shards), 7) == list("abcdefg")


def shard(**changed: Any) -> Shard:
    version = Version(
        version_id="0" * 64,
        kind="model",
        row_kind=None,
        set_hash="1",
        schema_hash="2",
        n_rows=None,
        bytes=3,
        parent=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        objects=(),
    )
    model = Model(version=version, base=None, is_reward=False, dtype="float32")
    whole = {
        "models": (model,),
        "sampling": SamplingConfig(max_new_tokens=3),
        "pad_id": 0,
        "end_ids": (2,),
        "prompts": (Prompt(ids=(5, 6), temperatures=(0.7, 1.0), seed=9),),
        "code": {"models/generation.py": "1" * 64},
    }
    return Shard.model_validate({**whole, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"prompts": (Prompt(ids=(5, 7), temperatures=(0.7, 1.0), seed=9),)},
        {"prompts": (Prompt(ids=(5, 6), temperatures=(0.7, 1.1), seed=9),)},
        {"prompts": (Prompt(ids=(5, 6), temperatures=(0.7, 1.0), seed=10),)},
        {"sampling": SamplingConfig(max_new_tokens=4)},
        {"code": {"models/generation.py": "2" * 64}},
        {"end_ids": (2, 3)},
        {"verdict": Letters(before=(), ids=(3, 4))},
        {"models": ()},
    ],
)
def test_the_name_of_a_shard_hangs_on_all_that_decides_its_result(changed: Any) -> None:
    def name(of: Shard) -> str:
        return named(of.model_dump_json().encode())

    assert name(shard()) == name(shard())
    assert name(shard(**changed)) != name(shard())


def drawn(ids: tuple[int, ...], finished: bool = True, logprobs: tuple[float, ...] | None = None) -> dict[str, Any]:
    return {"ids": ids, "logprobs": (-0.5,) * len(ids) if logprobs is None else logprobs, "finished": finished}


GOOD = drawn((7, 2))


@pytest.mark.parametrize(
    "responses",
    [
        [[GOOD]],
        [[GOOD, GOOD], [GOOD, GOOD]],
        [[GOOD, drawn((400, 2))]],
        [[GOOD, drawn((7, -1))]],
        [[GOOD, drawn((7, 8, 9, 2))]],
        [[GOOD, drawn((7,), finished=False)]],
        [[GOOD, drawn((7, 8, 9), finished=True)]],
        [[GOOD, drawn((7, 2), finished=False)]],
        [[GOOD, drawn((2, 7, 2))]],
        [[GOOD, drawn(())]],
        [[GOOD, drawn((7, 2), logprobs=(-0.5,))]],
        [[GOOD, drawn((7, 2), logprobs=(-0.5, 0.5))]],
        [[GOOD, drawn((7, 2), logprobs=(-0.5, float("nan")))]],
        [[GOOD, {**GOOD, "more": 1}]],
    ],
)
@pytest.mark.conformance(
    "a worker is believed what it says that it drew", equation="tasks.engine.on_ray.shards:check_result"
)
def test_responses_that_cannot_have_come_of_a_shard_are_refused(responses: Any) -> None:
    check_result(shard(), Result.model_validate({"responses": [[GOOD, drawn((7, 8, 9), finished=False)]]}), 400, 128)
    with pytest.raises((ValueError, ValidationError)):
        check_result(shard(), Result.model_validate({"responses": responses}), 400, 128)


@pytest.mark.parametrize("scores", [[], [[0.5, 0.5]], [[float("inf")]], [[0.5], [0.5]], [["high"]]])
def test_scores_that_cannot_have_come_of_a_shard_are_refused(scores: Any) -> None:
    for verdict in (None, Letters(before=(9,), ids=(3, 4))):
        scoring = shard(prompts=(), rows=((5, 6, 7),), verdict=verdict)
        check_result(scoring, Result.model_validate({"scores": [[0.5]]}), 400, 128)
        with pytest.raises((ValueError, ValidationError)):
            check_result(scoring, Result.model_validate({"scores": scores}), 400, 128)


def test_the_longest_result_that_can_be_is_read() -> None:
    """Whatever a response of so many tokens holds: ids of seven digits, log-probabilities of all theirs."""
    token, logprob = 9_999_999, -0.12345678901234567
    whole = Drawn(ids=(token,) * 3, logprobs=(logprob,) * 3, finished=False)
    assert len(Result(responses=((whole, whole),)).model_dump_json()) < most_bytes(shard(), 128) - (1 << 15)
    assert len(f"{token},{logprob},") < 64
