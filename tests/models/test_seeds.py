"""Seeds of seeds."""

from itertools import product

from models.seeds import derive_seed


def test_seeds_differ_by_run_seed_part_and_step_and_fit_every_generator() -> None:
    named = list(product((0, 1, 2), ("V0", "V1", "V10"), ("sft", "ppo")))
    seeds = {derive_seed(*names) for names in named}
    assert len(seeds) == len(named)
    assert all(0 <= seed < 2**62 for seed in seeds)


def test_names_do_not_run_into_one_another() -> None:
    assert derive_seed(1, "V11", "sft") != derive_seed(11, "V1", "sft") != derive_seed(1, "sft", "V1")


def test_a_seed_depends_on_nothing_but_its_names() -> None:
    # worked by hand: the first 8 bytes of sha256("0/V1/ppo"), without their last two bits
    assert derive_seed(0, "V1", "ppo") == 0xDB08DC5461375F5F >> 2


def test_what_adding_up_would_bring_together_stays_apart() -> None:
    """One step's seed and another's, a thousand further, or a shard's and the next turn's."""
    close = [
        derive_seed(seed, kind, number) for seed, kind, number in product((7, 1007), ("turn", "shard"), range(100))
    ]
    assert len(set(close)) == len(close)
    assert derive_seed(7, "turn", 1) != derive_seed(8, "turn", 0)
