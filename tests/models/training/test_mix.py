"""Which tokens pretraining reads of several sources, by hand and by identities."""

from collections import Counter
from pathlib import Path

import pytest

from models.dialogue import Renderer
from models.training.mix import MixedRows, Schedule, Stream
from models.training.packing import IGNORED, PackedCollator
from models.training.pretrain import pretrain
from models.training.token_files import TokenFile, write_tokens
from tests.models.training.little_runs import LITTLE, QUESTIONS, Recorder, contents, without_the_clock


def files(folder: Path, *sources: list[list[int]]) -> list[TokenFile]:
    documents = ((number, ids) for number, source in enumerate(sources) for ids in source)
    return write_tokens(documents, [folder / str(number) for number in range(len(sources))])


def numbered(documents: int, length: int, first: int = 0) -> list[list[int]]:
    """Documents of ids of which none comes twice."""
    return [list(range(first + n * length, first + (n + 1) * length)) for n in range(documents)]


@pytest.mark.conformance("a source is read more or less than its weight says", equation="models.training.mix:Schedule")
def test_every_stretch_of_rows_holds_the_shares_of_its_phase() -> None:
    schedule = Schedule(10_000, [6, 3, 1], [1, 0, 1], turn=9_000)
    placed = [schedule.place(row) for row in range(10_000)]
    assert schedule.counts() == [Counter(source for source, _ in placed)[n] for n in range(3)]
    for start in range(0, 9_000, 100):
        counts = Counter(source for source, _ in placed[start : start + 100])
        assert all(abs(counts[n] - share) <= 3 for n, share in enumerate((60, 30, 10)))
    last = Counter(source for source, _ in placed[9_000:])
    assert last[1] == 0
    assert abs(last[0] - 500) <= 3
    for n in range(3):
        assert [number for source, number in placed if source == n] == list(range(schedule.counts()[n]))


@pytest.mark.parametrize(
    ("weights", "annealed", "turn"), [([1, 0], [], None), ([1, 1], [1], 3), ([1], [0], 3), ([1], [], 11), ([1], [], -1)]
)
def test_a_schedule_that_cannot_be_is_refused(weights: list[float], annealed: list[float], turn: int | None) -> None:
    with pytest.raises(ValueError, match=r"weights|turns"):
        Schedule(10, weights, annealed, turn)


@pytest.mark.conformance(
    "tokens of a source are read twice in an epoch, or never", equation="models.training.mix:Stream"
)
def test_an_epoch_reads_every_token_once_and_the_next_one_in_another_order(tmp_path: Path) -> None:
    """Seven documents of 11 tokens are 77: a row of 7 ends with each epoch."""
    (tokens,) = files(tmp_path, numbered(7, 11))
    stream = Stream(tokens, 7, seed=3)
    first, second = ([stream.row(n)[0] for n in range(start, start + 11)] for start in (0, 11))
    read = [[token for row in rows for token in row] for rows in (first, second)]
    assert sorted(read[0]) == sorted(read[1]) == list(range(77))
    assert read[0] != read[1]
    documents = [read[0][n : n + 11] for n in range(0, 77, 11)]
    assert all(ids == list(range(ids[0], ids[0] + 11)) for ids in documents), "documents stay whole"


def test_a_row_may_end_one_epoch_and_begin_the_next(tmp_path: Path) -> None:
    (tokens,) = files(tmp_path, numbered(3, 4))
    stream = Stream(tokens, 5, seed=1)
    ids, lengths = stream.row(2)  # tokens 10 to 14 of epochs of 12
    assert (len(ids), sum(lengths), lengths[0]) == (5, 5, 2)
    whole = [token for n in range(12) for token in stream.row(n)[0]]
    assert Counter(whole) == Counter(dict.fromkeys(range(12), 5)), "60 tokens are five epochs"


@pytest.mark.conformance("resume quietly does nothing, or skips data", equation="models.training.mix:MixedRows")
def test_a_row_is_the_same_whatever_was_read_before(tmp_path: Path) -> None:
    tokens = files(tmp_path, numbered(9, 5), numbered(4, 13, first=1000))

    def rows() -> MixedRows:
        again = [TokenFile(tmp_path / str(n)) for n in range(2)]
        return MixedRows(Schedule(40, [2, 1]), [Stream(each, 6, seed) for seed, each in enumerate(again)])

    straight = list(map(rows().__getitem__, range(40)))
    mixed = rows()
    assert [mixed[n] for n in (39, 0, 17)] == [straight[n] for n in (39, 0, 17)]
    assert rows()[23] == straight[23]
    assert len(tokens) == 2


def test_the_first_token_of_each_piece_is_not_predicted_and_positions_begin_anew(tmp_path: Path) -> None:
    (tokens,) = files(tmp_path, [[5, 6, 7], [8, 9]])
    row = MixedRows(Schedule(1, [1]), [Stream(tokens, 5, 0)])[0]
    starts = {0, row["seq_lengths"][0]}
    assert [place for place, label in enumerate(row["labels"]) if label == IGNORED] == sorted(starts)
    batch = PackedCollator(0)([row])
    assert batch["position_ids"].tolist() == [[*range(row["seq_lengths"][0]), *range(row["seq_lengths"][1])]]


def test_tokens_that_were_cut_off_while_they_were_written_are_written_again(tmp_path: Path) -> None:
    files(tmp_path, [[1, 2]], [[3]])
    (tmp_path / "1" / "bounds.npy").unlink()
    again = files(tmp_path, [[4, 5, 6]], [[7]])
    assert [each.read(0, 0, each.total) for each in again] == [[4, 5, 6], [7]]
    assert files(tmp_path, [[9]], [[9]])[0].total == 3, "what is complete is taken as it is"
    (tmp_path / "0" / "ids.bin").write_bytes(b"\0" * 8)
    with pytest.raises(ValueError, match="2 tokens where 3 were written"):
        TokenFile(tmp_path / "0")


@pytest.mark.slow
def test_a_mix_is_trained_on_in_its_order_and_goes_on_to_the_bit(renderer: Renderer, tmp_path: Path) -> None:
    from models.config import PretrainConfig

    documents = [list(ids) for ids in renderer.documents([" ".join(QUESTIONS)] * 3)]
    told = Recorder()

    def run(name: str, **changes: float) -> dict[str, float]:
        tokens = files(tmp_path / "tokens", documents, documents[:1])
        mix = MixedRows(Schedule(4 * 4, [2, 1]), [Stream(each, 32, 5) for each in tokens])
        values = {"learning_rate": 1e-2, "batch_size": 4, "max_steps": 4, "warmup_steps": 0, "sequence_length": 32}
        config = PretrainConfig(**{**values, **changes})
        folder = tmp_path / name
        place = {"out": folder / "out", "work": folder / "work"}
        return pretrain((), renderer, LITTLE, config, **place, seed=3, reporter=told, mix=mix)

    whole = run("straight")
    assert whole["trained_tokens"] == 16 * 32
    run("kept", checkpoint_seconds=1e-9)
    kept = tmp_path / "kept" / "work"
    assert contents(tmp_path / "kept" / "out") == contents(tmp_path / "straight" / "out")
    assert list(kept.glob("checkpoint-*")), "there is a checkpoint to go on from"
    assert without_the_clock(run("kept")) == without_the_clock(whole)
    assert told.lines[-1] == "pretrain: resumed from step 3"
    assert contents(tmp_path / "kept" / "out") == contents(tmp_path / "straight" / "out")
