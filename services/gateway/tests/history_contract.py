"""What every history answers from the same rows; a test class takes it over and gives the fixture `kept`.

`kept.put(measurement, time, venue, symbol, **fields)` collects rows, `await kept.store()` keeps them, and
`kept.history` reads.
"""

from gateway.key import Key
from gateway.stored.port import MINUTE, Bar, Compared, StoredGap

START = 1_723_075_200_000_000
"""A full hour of 2024."""

SECOND = 1_000_000
BTC, ETH = Key("binance", "BTCUSDT"), Key("binance-usdm", "ETHUSDT")
ROUND = 'o\'clock "quoted"'


def put_price(kept, second, value, key=BTC, *, spread=0.5, status="ok"):
    fields = {"price": value, "spread": spread, "status": status, "update_id": round(second * 10)}
    kept.put("fair_price", START + round(second * SECOND), *key, **fields)


def put_bar(kept, minute, key=BTC, **changes):
    fields = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "spread": 0.5, "count": 10.0} | changes
    kept.put("fair_price_1m", START + minute * MINUTE, *key, **fields)


def put_gap(kept, second, length, key=BTC, *, open_ids=3, reason="sequence"):
    ids = {"from_update_id": 5, "to_update_id": 9}
    time = START + second * SECOND
    kept.put("gap", time, *key, **ids, duration_ms=length * 1000.0, reason=reason, open_ids=open_ids)


class HistoryContract:
    async def test_nothing_is_an_answer(self, kept):
        put_price(kept, 1, 10.0, ETH)
        await kept.store()
        history = kept.history
        period = BTC, START, START + 60 * MINUTE
        assert await history.ticks(*period, SECOND) == []
        assert await history.minutes(*period, MINUTE) == []
        assert await history.compared(*period, MINUTE) == []
        assert await history.gaps(*period) == []
        assert await history.newest(BTC) is None
        assert await history.newest_minute(BTC, START) is None

    async def test_the_symbols_and_their_newest_prices_are_found(self, kept):
        for second in (5, 9, 7):
            put_price(kept, second, 10.0)
        put_price(kept, 3, 10.0, ETH)
        put_price(kept, 4, 10.0, Key("binance", ROUND))
        await kept.store()
        assert await kept.history.keys() == [BTC, Key("binance", ROUND), ETH]
        assert await kept.history.newest(BTC) == START + 9 * SECOND
        assert await kept.history.newest(Key("binance", ROUND)) == START + 4 * SECOND

    async def test_prices_make_bars_and_a_step_without_prices_none(self, kept):
        for second, value, spread in ((0, 10.0, 1.0), (1, 12.0, 2.0), (2, 9.0, 3.0), (4.5, 11.0, 4.0), (20, 13.0, 5.0)):
            put_price(kept, second, value, spread=spread)
        put_price(kept, 3, 99.0, ETH)
        await kept.store()
        assert await kept.history.ticks(BTC, START, START + 20 * SECOND, 5 * SECOND) == [
            Bar(START, 10.0, 12.0, 9.0, 11.0, 2.5, 4)
        ]
        found = await kept.history.ticks(BTC, START + SECOND, START + 21 * SECOND, SECOND)
        assert [(bar.time - START, bar.close) for bar in found] == [
            (1 * SECOND, 12.0), (2 * SECOND, 9.0), (4 * SECOND, 11.0), (20 * SECOND, 13.0)
        ]  # fmt: skip

    async def test_prices_that_mean_nothing_are_in_no_bar(self, kept):
        put_price(kept, 1, 10.0)
        put_price(kept, 2, None, status="crossed")
        put_price(kept, 3, 99.0, status="beyond_reach")
        put_price(kept, 4, 11.0, status="locked")
        await kept.store()
        assert await kept.history.ticks(BTC, START, START + MINUTE, 10 * SECOND) == [
            Bar(START, 10.0, 11.0, 10.0, 11.0, 0.5, 2)
        ]

    async def test_stored_bars_are_read_and_thinned(self, kept):
        put_bar(kept, 0, open=1.0, high=5.0, low=0.5, close=2.0, spread=1.0, count=10.0)
        put_bar(kept, 1, open=2.0, high=3.0, low=0.25, close=2.5, spread=3.0, count=5.0)
        put_bar(kept, 7, close=7.0)
        put_bar(kept, 1, close=99.0, key=ETH)
        await kept.store()
        period = BTC, START, START + 10 * MINUTE
        found = await kept.history.minutes(*period, 5 * MINUTE)
        assert found == [
            Bar(START, 1.0, 5.0, 0.25, 2.5, 2.0, 15, 2),
            Bar(START + 5 * MINUTE, 1.0, 2.0, 0.5, 7.0, 0.5, 10, 1),
        ]
        assert [type(bar.prices) for bar in found] == [int, int]
        assert [bar.close for bar in await kept.history.minutes(*period, MINUTE)] == [2.0, 2.5, 7.0]
        assert await kept.history.newest_minute(BTC, START + 7 * MINUTE) == START + MINUTE

    async def test_the_newest_close_of_each_symbol_in_a_period_is_found(self, kept):
        for minute, close in ((0, 1.5), (3, 3.5), (4, 4.5), (9, 9.5)):
            put_bar(kept, minute, close=close)
        put_bar(kept, 2, close=7.0, key=ETH)
        put_bar(kept, 20, key=Key("binance", ROUND))
        await kept.store()
        assert await kept.history.closes(START + MINUTE, START + 5 * MINUTE) == {BTC: 4.5, ETH: 7.0}
        assert await kept.history.closes(START - MINUTE, START) == {}

    async def test_what_was_compared_is_counted(self, kept):
        kept.put("audit", START, *BTC, tops=50.0)
        kept.put("audit", START + MINUTE, *BTC, tops=50.0, wrong=2.0)
        kept.put("audit", START + 2 * MINUTE, *BTC, levels=9.0, from_update_id=1)
        kept.put("audit", START + 6 * MINUTE, *BTC, tops=1.0)
        await kept.store()
        found = await kept.history.compared(BTC, START, START + 10 * MINUTE, 5 * MINUTE)
        assert found == [Compared(START, 2, 2), Compared(START + 5 * MINUTE, 1, 0)]

    async def test_a_count_that_was_never_stored_is_zero(self, kept):
        kept.put("audit", START, *BTC, tops=50.0)
        await kept.store()
        assert await kept.history.compared(BTC, START, START + MINUTE, MINUTE) == [Compared(START, 1, 0)]

    async def test_open_gaps_that_reach_into_the_period_are_told(self, kept):
        put_gap(kept, 0, 5, reason="long ago")
        put_gap(kept, 10, 100, reason="reaches in")
        put_gap(kept, 70, 1, reason="inside")
        put_gap(kept, 72, 1, reason="filled", open_ids=0)
        put_gap(kept, 73, 1, ETH, reason="another's")
        put_gap(kept, 200, 1, reason="later")
        await kept.store()
        found = await kept.history.gaps(BTC, START + MINUTE, START + 2 * MINUTE)
        assert [gap.reason for gap in found] == ["reaches in", "inside"]
        assert found[1] == StoredGap(START + 70 * SECOND, START + 71 * SECOND, 5, 9, "inside", 3)
