"""`/api/overview`: all symbols side by side, and what they cost before as far as the store tells."""

import asyncio

import pytest
from clocks import ManualClock
from kept_history import KeptHistory, bar
from waiting import patience

from fairprice.errors import StoreUnavailable
from gateway.earlier import DAY, HOUR, LOOK_BACK, POINTS, RETRY, SETTLING, STEP, STILL_TRUE, Earlier
from gateway.key import Key
from gateway.overview import KEPT
from gateway.past import Past
from gateway.stored.port import MINUTE

START = 1_723_075_200_000_000
BTC = Key("binance", "BTCUSDT")


def a_day(*keys):
    """Bars of the day before `START`, each worth its minute."""
    bars = [bar(START - DAY + minute * MINUTE, 1000.0 + minute) for minute in range(DAY // MINUTE)]
    history = KeptHistory(*bars, key=keys[0] if keys else BTC)
    history.bars |= dict.fromkeys(keys[1:], bars)
    return history


async def asked(gateway, path="/api/overview"):
    """Return an answer that is made anew."""
    await gateway.clock.advance(KEPT)
    return (await gateway.get(path))[1]


async def test_a_symbol_is_a_row_of_what_is_known_of_it(serving, make):
    async with serving(history=a_day()) as gateway:
        steps = (0, 300, 600)  # a minute
        await gateway.publish(*(make.price(step, bid=2000.0 + step) for step in steps), make.gap(1), make.depth(600))
        await gateway.publish(make.price(600, venue="binance-usdm", bid=2603.0))
        await asked(gateway)
        found = await asked(gateway)
    btc, futures = found["symbols"]
    assert found["note"] is None
    assert found["time"] == make.price(600).event_time
    assert btc == {
        "venue": "binance", "symbol": "BTCUSDT", "state": "live", "problem": None, "price": 2600.015,
        "spread_bps": 0.0032, "depth": 750.0, "depth_bps": 10.0, "basis_bps": None, "basis_against": None,
        "basis_beyond": False, "age_seconds": 2.0, "gaps": 1, "change_1m_percent": pytest.approx(29.9998, abs=1e-3),
        "change_1h_percent": pytest.approx((2600.015 / (1000 + 1440 - 60) - 1) * 100, abs=1e-4),
        "change_24h_percent": pytest.approx((2600.015 / 1000 - 1) * 100, abs=1e-4),
    }  # fmt: skip
    assert futures["basis_bps"] == pytest.approx(3 / 2600.01 * 1e4, rel=1e-3)
    assert (futures["depth"], futures["depth_bps"], futures["change_1m_percent"]) == (None, None, None)


async def test_before_anything_has_come_there_are_only_names(serving):
    async with serving(expected=[BTC]) as gateway:
        found, lines = await asked(gateway), await asked(gateway, "/api/overview/lines")
    assert (found["time"], found["note"]) == (None, None)
    (row,) = found["symbols"]
    assert {name: value for name, value in row.items() if value} == {**BTC._asdict(), "state": "waiting"}
    assert lines["lines"] == {}


async def test_a_line_has_the_price_of_each_half_hour_of_a_day(serving, make):
    async with serving(history=a_day()) as gateway:
        await gateway.publish(make.price(0), make.price(0, "ETHUSDT"))
        await asked(gateway, "/api/overview/lines")
        found = await asked(gateway, "/api/overview/lines")
    # the newest bars may not be stored yet
    assert found["lines"]["binance/BTCUSDT"] == [None, *(1029.0 + 30 * number for number in range(POINTS - 1))]
    assert found["lines"]["binance/ETHUSDT"] == [None] * POINTS
    assert found["step"] == STEP


async def test_whoever_asks_within_a_second_gets_the_same_answer_and_the_store_is_asked_once(serving, make):
    history = a_day()
    async with serving(history=history) as gateway:
        await gateway.publish(make.price(0))
        answers = await asyncio.gather(*(gateway.get("/api/overview") for _ in range(50)))
        await gateway.publish(make.price(1))
        answers.append(await gateway.get("/api/overview"))
        assert len({str(found) for _, found in answers}) == 1
        await asked(gateway)
        assert (await asked(gateway))["symbols"][0]["price"] == make.price(1).price
    assert len(history.asked) == 2 + POINTS


async def test_nobody_asks_the_store_while_nobody_looks(serving, make):
    history = a_day()
    async with serving(history=history) as gateway:
        await gateway.publish(make.price(0))
        await gateway.clock.advance(3600)
        await gateway.get("/api/prices")
    assert history.asked == []


async def test_a_store_that_is_away_or_slow_leaves_columns_empty_with_a_reason(serving, make):
    history = a_day()
    history.away = StoreUnavailable("InfluxDB at http://db cannot be reached: refused")
    async with serving(history=history) as gateway:
        await gateway.publish(make.price(0), make.price(600))
        await asked(gateway)
        found = await asked(gateway)
        assert found["note"] == "InfluxDB at http://db cannot be reached: refused; live prices are not affected"
        row = found["symbols"][0]
        assert (row["state"], row["change_1h_percent"], row["change_24h_percent"]) == ("live", None, None)
        assert row["change_1m_percent"] is not None
        assert len(history.asked) == 1  # it is let alone for a while
        history.away = None
        history.open.clear()
        await gateway.clock.advance(RETRY)
        await gateway.get("/api/overview")
        await gateway.clock.advance(5)
        assert (await asked(gateway))["note"].startswith("the store did not answer within 5 s")
        history.open.set()
        await gateway.clock.advance(RETRY)
        await asked(gateway)
        found = await asked(gateway)
        assert found["note"] is None
        assert found["symbols"][0]["change_24h_percent"] is not None


async def settled(earlier, now):
    """Ask, and wait for the answers."""
    earlier.refresh(now)
    async with patience():
        await earlier._asking


async def test_as_time_goes_on_only_what_is_new_is_asked_for():
    history = a_day()
    clock = ManualClock()
    past = Past(history, clock)
    earlier = Earlier(past, clock)
    await settled(earlier, START + SETTLING)
    assert len(history.asked) == 2 + POINTS
    del history.asked[:]
    await settled(earlier, START + SETTLING + MINUTE)
    times = [START + SETTLING + MINUTE - ago for ago in (HOUR, DAY)]
    assert history.asked == [("closes", time - LOOK_BACK, time) for time in times]
    del history.asked[:]
    await settled(earlier, START + SETTLING + STEP)
    assert history.asked[2:] == [("closes", START + STEP - LOOK_BACK, START + STEP)]
    assert earlier.line(BTC, START + SETTLING + STEP)[-2:] == [1000.0 + 1439, None]
    assert earlier.line(BTC, START + 3 * DAY) == [None] * POINTS
    assert earlier.closes(HOUR, START + SETTLING + STEP)
    assert not earlier.closes(HOUR, START + SETTLING + STEP + STILL_TRUE + MINUTE)
    await earlier.aclose()
    await past.aclose()


async def test_what_is_asked_is_given_up_at_the_end():
    history = a_day()
    history.open.clear()
    past = Past(history, ManualClock())
    earlier = Earlier(past, ManualClock())
    earlier.refresh(START)
    await history.begun.wait()
    await earlier.aclose()
    assert earlier._asking is None
    await past.aclose()
