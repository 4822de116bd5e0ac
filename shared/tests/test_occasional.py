"""Log lines about trouble that repeats."""

from clocks import ManualClock

from fairprice.runtime.occasional import Occasional


async def test_the_first_of_a_key_is_due_then_one_a_minute_with_the_number_of_the_others():
    clock = ManualClock()
    occasional = Occasional(clock)
    due = []
    for _ in range(121 * 20):
        due.append(occasional.due("BTCUSDT"))
        await clock.advance(0.05)
    assert [count for count in due if count is not None] == [0, 1199, 1199]


async def test_keys_have_minutes_of_their_own():
    clock = ManualClock()
    occasional = Occasional(clock, interval=10)
    assert occasional.due(("unreadable", "BTCUSDT")) == 0
    await clock.advance(5)
    assert occasional.due(("unreadable", "ETHUSDT")) == 0
    await clock.advance(5)
    assert occasional.due(("unreadable", "ETHUSDT")) is None
    assert occasional.due(("unreadable", "BTCUSDT")) == 0


async def test_a_flood_of_new_keys_is_bounded_too():
    clock = ManualClock()
    occasional = Occasional(clock, capacity=10)
    due = [occasional.due(number) for number in range(1000)]
    assert due == [0] * 11 + [None] * 989
    assert len(occasional._seen) == 11
    await clock.advance(60)
    assert occasional.due("fresh") == 0


async def test_a_moment_before_the_minute_is_over_nothing_is_due():
    clock = ManualClock()
    occasional = Occasional(clock, interval=60)
    assert occasional.due("a") == 0
    await clock.advance(59.9)
    assert occasional.due("a") is None
    await clock.advance(0.1)
    assert occasional.due("a") == 1
