from web.limits import RateLimit


def test_a_burst_is_allowed_and_then_one_more_each_interval_for_each_key_by_itself() -> None:
    now = [0.0]
    limit = RateLimit(burst=2, seconds=10, clock=lambda: now[0])
    assert [limit.allows("anna") for _ in range(3)] == [True, True, False]
    assert limit.allows("ben")
    now[0] = 9.9
    assert not limit.allows("anna")
    now[0] = 10.1
    assert [limit.allows("anna") for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [limit.allows("anna") for _ in range(3)] == [True, True, False]  # never more than the burst


def test_a_look_costs_nothing() -> None:
    limit = RateLimit(burst=1, seconds=10, clock=lambda: 0.0)
    assert [limit.allows("anna", cost=0) for _ in range(3)] == [True] * 3
    assert limit.allows("anna")
    assert not limit.allows("anna", cost=0)


def test_strangers_cannot_fill_the_memory() -> None:
    limit = RateLimit(burst=1, seconds=10, clock=lambda: 0.0)
    for number in range(20_000):
        limit.allows(str(number))
    assert len(limit._left) == 10_000
