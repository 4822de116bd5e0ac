"""`/api/history`: any part of the past, and a sentence for everything that stands in its way."""

import asyncio

import pytest
from clocks import ManualClock
from kept_history import KeptHistory, bar, compared
from structlog.testing import capture_logs

from fairprice.errors import StoreUnavailable
from gateway.key import Key
from gateway.past import AT_ONCE, MOST_WAITING, PATIENCE, Busy, Past
from gateway.period import Period
from gateway.stored.bars import joined
from gateway.stored.port import MINUTE, Bar, StoredGap
from gateway.verdicts import VERDICTS

START = 1_723_075_200_000_000
BTC = Key("binance", "BTCUSDT")
HOUR = f"symbol=BTCUSDT&from={START}&to={START + 60 * MINUTE}&step=1m"


def an_hour(**changes):
    return KeptHistory(*(bar(START + minute * MINUTE, float(minute)) for minute in range(60)), key=BTC, **changes)


async def test_a_period_is_answered_by_column_with_verdicts_and_gaps(serving):
    history = an_hour()
    history.of_compared = [compared(START + minute * MINUTE, wrong=minute == 5) for minute in range(58)]
    gap = StoredGap(START + 10 * MINUTE + 1, START + 11 * MINUTE + 1, 5, 9, "disconnected", 5)
    history.of_gaps = [gap]
    async with serving(history=history) as gateway:
        answer, found = await gateway.get(f"/api/history?{HOUR}")
    assert answer.status == 200
    assert (found["venue"], found["symbol"], found["step"]) == ("binance", "BTCUSDT", MINUTE)
    assert (found["from"], found["to"]) == (START, START + 60 * MINUTE)
    assert found["time"] == [START + minute * MINUTE for minute in range(60)]
    assert [found[name][7] for name in ("open", "high", "low", "close", "spread", "prices")] == [7, 8, 6, 7, 0.5, 10]
    assert {found["verdict"][minute] for minute in (0, 4, 9, 12, 57)} == {"compared"}
    assert [found["verdict"][minute] for minute in (5, 10, 11, 58)] == ["suspect", "hole", "hole", "unverified"]
    assert found["verdict"][59] == "compared"  # of the newest minute the audit is still to come
    assert found["gaps"] == [gap._asdict()]
    assert "note" not in found
    assert history.is_closed


async def test_it_is_there_before_the_first_price_has_come(serving):
    async with serving(history=an_hour()) as gateway:
        for name in ("btcusdt", "binance:BTCUSDT", "Binance/btcusdt"):
            answer, found = await gateway.get(f"/api/history?symbol={name}&from=-10m")
            assert (answer.status, len(found["time"])) == (200, 11)


async def test_prices_that_are_not_kept_any_more_are_shown_as_bars_of_a_minute(serving):
    async with serving(history=an_hour()) as gateway:
        _, found = await gateway.get(f"/api/history?symbol=BTCUSDT&from={START}&to={START + 5 * MINUTE}&step=1s")
        assert (found["step"], len(found["time"])) == (MINUTE, 5)


async def test_where_the_prices_begin_later_the_bars_stand_before_them(serving):
    late = [bar(START + 58 * MINUTE + second * 1_000_000, 58.5) for second in range(10)]
    history = an_hour(ticks=late)
    history.of_compared = [compared(START + minute * MINUTE) for minute in range(50)]
    async with serving(history=history) as gateway:
        _, found = await gateway.get(f"/api/history?symbol=BTCUSDT&from={START}&to={START + 60 * MINUTE}&step=1s")
    assert found["time"] == [*(START + minute * MINUTE for minute in range(58)), *(each.time for each in late)]
    assert found["step"] == 1_000_000
    assert found["verdict"][:50] == ["compared"] * 50


async def test_the_newest_minutes_that_have_no_bar_yet_are_made_of_prices(serving):
    history = an_hour(ticks=[bar(START + 59 * MINUTE, 1.0), bar(START + 60 * MINUTE, 99.0)])
    async with serving(history=history) as gateway:
        _, found = await gateway.get(f"/api/history?symbol=BTCUSDT&from={START}&to={START + 120 * MINUTE}&step=1h")
    assert [time - START for time in found["time"]] == [0, 60 * MINUTE]
    assert (found["close"], found["high"][0], found["prices"][0]) == ([59, 99], 60, 600)
    assert ("ticks", START + 60 * MINUTE, START + 61 * MINUTE, MINUTE) in history.asked


async def test_a_step_that_ends_hours_after_the_newest_price_has_its_newest_minutes_too(serving):
    history = an_hour(ticks=[bar(START + 60 * MINUTE, 99.0)])
    async with serving(history=history) as gateway:
        _, found = await gateway.get(f"/api/history?symbol=BTCUSDT&from={START}&step=1d")
    assert (found["time"], found["close"]) == ([START], [99])


async def test_only_the_newest_minute_of_all_may_still_be_compared(serving):
    async with serving(history=an_hour()) as gateway:
        asked = f"/api/history?symbol=BTCUSDT&from={START}&to={START + 5 * MINUTE}&step=1m"
        _, found = await gateway.get(asked)
    assert found["verdict"] == ["unverified"] * 5


async def test_what_was_wrong_in_a_minute_shows_also_from_its_middle_on(serving):
    ticks = [bar(START + second * 1_000_000, 1.0) for second in range(0, 120, 10)]
    history = an_hour(ticks=ticks)
    history.of_compared = [compared(START, wrong=True), compared(START + MINUTE)]
    async with serving(history=history) as gateway:
        begin = START + 30 * 1_000_000
        _, found = await gateway.get(f"/api/history?symbol=BTCUSDT&from={begin}&to={START + 2 * MINUTE}&step=10s")
    assert found["verdict"] == ["suspect"] * 3 + ["compared"] * 6


def test_bars_of_both_sources_are_joined_in_one_step():
    one, other = Bar(0, 1.0, 5.0, 0.5, 2.0, 1.0, 10, 2), Bar(2 * MINUTE, 2.0, 9.0, 1.0, 3.0, 4.0, 5, 1)
    assert joined([one], [other], 5 * MINUTE) == [Bar(0, 1.0, 9.0, 0.5, 3.0, 2.0, 15, 3)]
    unknown = other._replace(spread=None)
    assert joined([one], [unknown], 5 * MINUTE)[0].spread == joined([unknown], [one], 5 * MINUTE)[0].spread == 1.0
    assert joined([one], [other], MINUTE) == [one, other]


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("", 400, "name a symbol: symbol=BTCUSDT"),
        ("symbol=DOGE", 404, "nothing is known of 'DOGE'; known symbols: binance/BTCUSDT"),
        ("symbol=kraken:BTCUSDT", 404, "nothing is known of 'kraken/BTCUSDT'"),
        ("symbol=BTCUSDT&form=-1h", 400, "what is form? known are format, from, step, symbol, to"),
        ("symbol=BTCUSDT&format=xls", 400, "format has to be json or csv; got 'xls'"),
        ("symbol=BTCUSDT&from=now", 400, "from is no time: 'now'"),
        ("symbol=BTCUSDT&from=2031-01-01&to=2032-01-01", 400, "begins after the newest price, which is of 2024-08-08T"),
    ],
)
async def test_what_cannot_be_answered_is_told(serving, query, status, told):
    async with serving(history=an_hour()) as gateway:
        answer, problem = await gateway.get(f"/api/history?{query}")
    assert answer.status == status
    assert told in problem["error"]


async def test_a_period_without_prices_says_so(serving):
    async with serving(history=an_hour()) as gateway:
        answer, found = await gateway.get("/api/history?symbol=BTCUSDT&from=2020-01-01&to=2020-01-02&step=1m")
    assert (answer.status, found["time"], found["close"]) == (200, [], [])
    assert found["note"].startswith("the store has no price of binance/BTCUSDT from 2020-01-01T00:00:00Z to 2020-01-02")


async def test_a_store_without_bars_says_that_only_its_newest_prices_are_shown(serving):
    hours = [bar(START + minute * MINUTE, 1.0) for minute in range(180)]
    async with serving(history=KeptHistory(key=BTC, ticks=hours)) as gateway:
        _, short = await gateway.get("/api/history?symbol=BTCUSDT&from=-1h")
        _, long = await gateway.get("/api/history?symbol=BTCUSDT&from=-1d")
    assert "note" not in short
    assert len(long["time"]) == 120
    assert long["note"].startswith("the store has no bars of a minute yet, so only its newest two hours are shown")


@pytest.mark.parametrize(
    ("period", "told"),
    [
        (f"from={START + MINUTE}&to={START}", "from (2024-08-08T00:01:00Z) has to be before to (2024-08-08T00:00:00Z)"),
        (f"from={START}&to={START}", "has to be before"),
        ("from=-20y", "'20y'"),
        ("from=-900d&step=1m", "that is more than 5000 steps; ask for a shorter period or a step of at least"),
        ("from=-3h&step=1s", "a period of more than 2 hours needs a step of at least 1m"),
        ("from=9999999999999999999", "from is not between 1970 and 2100"),
    ],
)
async def test_a_period_that_is_none_is_told_as_json_and_as_csv(serving, period, told):
    async with serving(history=an_hour()) as gateway:
        for form in ("json", "csv"):
            answer, problem = await gateway.get(f"/api/history?symbol=BTCUSDT&{period}&format={form}")
            assert (answer.status, told in problem["error"]) == (400, True)


async def test_of_many_known_symbols_some_are_told(serving, make):
    async with serving(history=an_hour()) as gateway:
        await gateway.publish(*(make.price(1, f"COIN{number}") for number in range(300)))
        for path in ("/api/history?symbol=DOGE", "/api/prices/DOGE"):
            _, problem = await gateway.get(path)
            assert len(problem["error"]) < 500
            assert "more, see /api/prices" in problem["error"]


async def test_several_venues_are_told_to_choose_from(serving):
    history = an_hour()
    history.bars[Key("binance-usdm", "BTCUSDT")] = []
    async with serving(history=history) as gateway:
        answer, problem = await gateway.get("/api/history?symbol=BTCUSDT")
    assert answer.status == 409
    assert "several venues have 'BTCUSDT', name one: binance/BTCUSDT, binance-usdm/BTCUSDT" in problem["error"]


async def test_a_symbol_that_was_never_stored_says_so(serving):
    async with serving(history=KeptHistory(), expected=[BTC]) as gateway:
        answer, found = await gateway.get("/api/history?symbol=BTCUSDT")
    assert (answer.status, found["time"]) == (200, [])
    assert found["note"] == "the store has no price of binance/BTCUSDT yet"


async def test_a_store_that_is_away_costs_the_past_only(serving, make):
    history = an_hour()
    history.away = StoreUnavailable("InfluxDB at http://db cannot be reached: refused")
    async with serving(history=history) as gateway:
        await gateway.publish(make.price(1))
        with capture_logs() as logged:
            for _ in range(3):
                answer, problem = await gateway.get("/api/history?symbol=BTCUSDT")
        assert [each["error"] for each in logged] == ["InfluxDB at http://db cannot be reached: refused"]
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        told = "InfluxDB at http://db cannot be reached: refused; live prices are not affected"
        assert problem["error"] == told
        answer, recent = await gateway.get("/api/history/BTCUSDT?minutes=5")
        assert (answer.status, len(recent["time"])) == (200, 1)
        history.away = None
        answer, _ = await gateway.get(f"/api/history?{HOUR}")
        assert answer.status == 200


async def test_a_store_that_is_slow_is_given_up(serving):
    history = an_hour()
    history.open.clear()
    async with serving(history=history) as gateway:
        asking = asyncio.create_task(gateway.get(f"/api/history?{HOUR}"))
        await history.begun.wait()
        await gateway.clock.advance(PATIENCE)
        answer, problem = await asking
        assert answer.status == 504
        assert "did not answer within 5 s" in problem["error"]
        history.open.set()
        answer, _ = await gateway.get(f"/api/history?{HOUR}")
        assert answer.status == 200


async def test_a_thousand_tabs_ask_once():
    history = an_hour()
    past = Past(history, ManualClock())
    period = Period(START, START + 60 * MINUTE, MINUTE, START + 59 * MINUTE)
    history.open.clear()
    asking = [asyncio.create_task(past.answer(BTC, period)) for _ in range(1000)]
    await history.begun.wait()
    history.open.set()
    answers = await asyncio.gather(*asking)
    assert all(answer is answers[0] for answer in answers)
    assert history.asked == [("minutes", *period[:3])]
    await past.aclose()


async def test_only_few_different_questions_wait_and_the_others_are_told():
    history = an_hour()
    history.open.clear()
    past = Past(history, ManualClock())
    asking = [asyncio.create_task(past.newest(Key("a", str(number)))) for number in range(MOST_WAITING)]
    await history.begun.wait()
    with pytest.raises(Busy):
        await past.newest(BTC)
    assert len(history.asked) == AT_ONCE
    await past.aclose()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*asking, return_exceptions=True)
    )
    assert history.is_closed


async def test_who_is_one_too_many_is_asked_to_come_again(serving, monkeypatch):
    monkeypatch.setattr("gateway.past.MOST_WAITING", 0)
    async with serving(history=an_hour()) as gateway:
        answer, problem = await gateway.get(f"/api/history?{HOUR}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "as many ask for the past as may" in problem["error"]


async def test_csv_can_be_taken_away(serving):
    history = an_hour()
    history.of_compared = [compared(START + minute * MINUTE) for minute in range(60)]
    history.of_gaps = [StoredGap(START + 1, START + MINUTE - 1, 5, 9, "disconnected", 5)] * 2
    async with (
        serving(history=history) as gateway,
        gateway.http.get(f"{gateway.url}/api/history?{HOUR}&format=csv") as answer,
    ):
        text = await answer.text()
        assert answer.content_type == "text/csv"
        disposition = 'attachment; filename="binance-BTCUSDT-2024-08-08T000000Z.csv"'
        assert answer.headers["Content-Disposition"] == disposition
    first, *rows = text.splitlines()
    assert first == "venue,symbol,time,open,high,low,close,spread,prices,minutes,verdict,gaps"
    assert rows[0] == f"binance,BTCUSDT,{START},0.0,1.0,-1.0,0.0,0.5,10,1,hole,disconnected"
    assert rows[1] == f"binance,BTCUSDT,{START + MINUTE},1.0,2.0,0.0,1.0,0.5,10,1,compared,"
    assert len(rows) == 60


async def test_bars_of_a_minute_before_finer_ones_have_the_reasons_of_the_gaps_in_their_minute(serving):
    late = [bar(START + 58 * MINUTE + second * 1_000_000, 58.5) for second in range(10)]
    history = an_hour(ticks=late)
    history.of_gaps = [
        StoredGap(START + 10 * MINUTE + 30_000_000, START + 10 * MINUTE + 31_000_000, 5, 9, "sequence", 5)
    ]
    query = f"symbol=BTCUSDT&from={START}&to={START + 60 * MINUTE}&step=1s"
    async with serving(history=history) as gateway:
        _, found = await gateway.get(f"/api/history?{query}")
        async with gateway.http.get(f"{gateway.url}/api/history?{query}&format=csv") as answer:
            rows = (await answer.text()).splitlines()[1:]
    assert [row for row in rows if "hole" in row] == [row for row in rows if "sequence" in row] == [rows[10]]
    assert (found["verdict"][10], found["reasons"][10], found["reasons"][11]) == ("hole", "sequence", "")


async def test_when_one_of_the_questions_fails_the_others_are_given_up():
    class Failing(KeptHistory):
        async def gaps(self, _key, _start, _stop):
            await self.begun.wait()
            raise StoreUnavailable("gone")

        async def minutes(self, *question):
            try:
                return await super().minutes(*question)
            except asyncio.CancelledError:
                given_up.append(question)
                raise

    given_up = []
    history = Failing(key=BTC)
    history.open.clear()
    past = Past(history, ManualClock())
    with pytest.raises(StoreUnavailable, match="gone"):
        await past.answer(BTC, Period(START, START + 60 * MINUTE, MINUTE, START))
    assert given_up == [(BTC, START, START + 60 * MINUTE, MINUTE)]
    await past.aclose()


async def test_what_a_bar_s_verdict_means_is_told(gateway):
    _, about = await gateway.get("/api")
    assert about["bar_verdicts"] == VERDICTS
