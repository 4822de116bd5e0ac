import asyncio
import gzip

import orjson
import pytest
from clocks import ManualClock
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs
from waiting import patience

from fairprice.errors import BrokerUnavailable, StartupError
from fairprice.estimates import ESTIMATES
from fairprice.messages import encode
from gateway.app import run
from gateway.settings import GatewaySettings
from gateway.states import State


async def test_the_feed_tells_when_there_will_be_forecasts_by_the_crawler_that_has_them_first(gateway, make):
    await gateway.publish(make.price(1))
    _, price = await gateway.get("/api/prices/BTCUSDT")
    assert price["feed"]["model_time"] is None
    await gateway.publish(
        make.status(model_time=90), make.status(crawler="b", model_time=70), make.status(crawler="c", model_time=None)
    )
    _, price = await gateway.get("/api/prices/BTCUSDT")
    assert price["feed"]["model_time"] == 70
    async with gateway.listen("?symbols=BTCUSDT") as socket:
        await gateway.publish(make.status(), make.status(crawler="b"))
        await gateway.beat()
        frames = []
        while not any(frame["type"] == "feed" and frame["model_time"] is None for frame in frames):
            frames.append(orjson.loads(await socket.receive_str()))
        assert [frame["model_time"] for frame in frames if frame["type"] == "feed"] == [70, None]


async def test_prices_carry_the_event_and_the_state_of_the_feed(gateway, make):
    await gateway.publish(make.price(1), make.price(2, "ETHUSDT"), make.gap(0))
    await gateway.clock.advance(1.5)
    answer, (first, second) = await gateway.get("/api/prices")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    feed = first.pop("feed")
    assert first == {
        **orjson.loads(encode(make.price(1))),
        "basis_bps": None,
        "basis_against": None,
        "basis_beyond": False,
        "live": None,
    }
    assert second["symbol"] == "ETHUSDT"
    assert (feed["state"], feed["age_seconds"], feed["gaps"]) == ("live", 1.5, 1)
    assert feed["last_gap"]["reason"] == "disconnected"


async def test_one_price_is_found_in_upper_and_lower_case_and_with_its_venue(gateway, make):
    await gateway.publish(make.price(1), make.price(2))
    for path in ("/api/prices/BTCUSDT", "/api/prices/btcusdt", "/api/prices/Binance/btcusdt"):
        _, price = await gateway.get(path)
        assert price["update_id"] == make.price(2).update_id


@pytest.mark.parametrize("path", ["prices", "history", "book", "depth", "coverage"])
async def test_an_unknown_symbol_is_answered_with_the_known_ones(gateway, make, path):
    await gateway.publish(make.price(1), make.price(1, "ETHUSDT"))
    answer, problem = await gateway.get(f"/api/{path}/DOGE")
    assert answer.status == 404
    assert answer.content_type == "application/json"
    assert "'DOGE'" in problem["error"]
    assert "binance/BTCUSDT, binance/ETHUSDT" in problem["error"]


@pytest.mark.parametrize("path", ["prices", "history", "book", "depth", "coverage"])
async def test_a_name_that_several_venues_have_is_answered_with_the_choices(gateway, make, path):
    for venue in ("binance-usdm", "binance"):
        await gateway.publish(make.price(1, venue=venue), make.book(1, venue=venue), make.depth(1, venue=venue))
    answer, problem = await gateway.get(f"/api/{path}/btcusdt")
    assert answer.status == 409
    assert problem["error"] == "several venues have 'btcusdt', name one: binance/BTCUSDT, binance-usdm/BTCUSDT"
    answer, found = await gateway.get(f"/api/{path}/binance-usdm/btcusdt")
    assert (answer.status, found["venue"], found["symbol"]) == (200, "binance-usdm", "BTCUSDT")
    answer, _ = await gateway.get(f"/api/{path}/kraken/btcusdt")
    assert answer.status == 404


async def test_spot_and_futures_are_listed_with_the_basis(gateway, make):
    await gateway.publish(make.price(1, venue="binance-usdm", bid=60_029.99), make.price(1, bid=59_999.99))
    _, (futures, spot) = await gateway.get("/api/prices")
    assert (futures["venue"], futures["basis_against"]) == ("binance-usdm", "binance")
    assert futures["basis_bps"] == pytest.approx(5.0)
    assert (spot["venue"], spot["basis_bps"], spot["basis_against"]) == ("binance", None, None)


async def test_what_states_and_statuses_mean_is_told(gateway, make):
    _, about = await gateway.get("/api")
    assert set(about["states"]) == set(State)
    assert about["trusted"] == ["locked", "ok"]
    assert "crossed" in about["statuses"]
    assert list(about["estimators"]) == list(ESTIMATES)
    assert "/api/prices" in about["paths"]


async def test_coverage_tells_the_verdict_on_each_hour_and_since_when_it_was_looked_at(gateway, make):
    _, before = await gateway.get("/api")
    assert before["verdicts"]["unverified"] == "not verified"
    await gateway.publish(make.price(1), make.price(2))
    _, found = await gateway.get("/api/coverage/BTCUSDT")
    assert found == {
        "venue": "binance", "symbol": "BTCUSDT", "since": make.price(1).event_time,
        "hours": [
            {"time": make.price(0).event_time, "verdict": "unverified", "minutes_with_books": 1, "minutes_compared": 0}
        ],
    }  # fmt: skip
    await gateway.publish(make.audit(0))
    _, found = await gateway.get("/api/coverage/binance/btcusdt")
    assert [hour["verdict"] for hour in found["hours"]] == ["verified"]
    await gateway.publish(make.gap(2))
    _, found = await gateway.get("/api/coverage/BTCUSDT")
    assert [hour["verdict"] for hour in found["hours"]] == ["hole"]
    await gateway.publish(make.audit(0, wrong=1))
    _, found = await gateway.get("/api/coverage/BTCUSDT")
    assert [hour["verdict"] for hour in found["hours"]] == ["suspect"]


async def test_a_halt_is_shown_and_does_not_make_the_gateway_unready(gateway, make):
    await gateway.publish(make.price(1), make.status("BREAK", problem="no feed while the exchange pauses"))
    await gateway.clock.advance(20)
    _, price = await gateway.get("/api/prices/BTCUSDT")
    feed = price["feed"]
    assert (feed["state"], feed["exchange_status"]) == ("halted", "BREAK")
    assert feed["problem"] == "no feed while the exchange pauses"
    answer, _ = await gateway.get("/readyz")
    assert answer.status == 200


async def test_a_symbol_that_was_silent_for_too_long_is_gone(serving, make):
    async with serving(limits={"forgotten_after": 10}) as gateway:
        await gateway.publish(make.price(1), make.price(1, "ETHUSDT"))
        await gateway.clock.advance(6)
        await gateway.publish(make.price(2))
        await gateway.clock.advance(6)
        _, prices = await gateway.get("/api/prices")
        assert [price["symbol"] for price in prices] == ["BTCUSDT"]
        async with gateway.http.get(f"{gateway.url}/metrics") as answer:
            assert "ETHUSDT" not in await answer.text()


async def test_messages_of_an_unknown_type_are_passed_over_and_told_once(gateway, make):
    with capture_logs() as logs:
        for _ in range(3):
            await gateway.publish(make.price(1), make.book(1), version="v9")
        await gateway.publish(make.price(1, "ETHUSDT"))
    _, prices = await gateway.get("/api/prices")
    assert [price["symbol"] for price in prices] == ["ETHUSDT"]
    told = [entry["type"] for entry in logs if entry["log_level"] == "warning"]
    assert sorted(told) == ["books.v9", "prices.v9"]


async def test_history_comes_in_columns_with_the_gaps_of_its_window(gateway, make):
    steps = [*range(600), *range(900, 1500)]
    await gateway.publish(*(make.price(step) for step in steps), make.gap(2), make.gap(600, steps=300))
    _, whole = await gateway.get("/api/history/btcusdt?minutes=2.5")
    assert whole["time"] == [make.price(step).event_time for step in steps]
    assert whole["price"][0] == make.price(0).price
    assert whole["bid"][-1] == make.price(1499).values["bid"]
    assert set(whole["status"]) == {"ok"}
    assert len(whole["gaps"]) == 2
    _, last = await gateway.get("/api/history/BTCUSDT?minutes=1")
    assert last["time"][0] == make.price(900).event_time
    assert [gap["from_update_id"] for gap in last["gaps"]] == [make.gap(600).from_update_id]


@pytest.mark.parametrize("minutes", ["x", "0", "-1", "nan", "inf", "1e999"])
async def test_minutes_that_are_no_span_of_time_are_refused(gateway, make, minutes):
    await gateway.publish(make.price(1))
    answer, problem = await gateway.get(f"/api/history/BTCUSDT?minutes={minutes}")
    assert answer.status == 400
    assert "minutes must be" in problem["error"]


async def test_the_book_is_the_newest_event_on_the_wire(gateway, make):
    await gateway.publish(make.price(1))
    answer, problem = await gateway.get("/api/book/BTCUSDT")
    assert (answer.status, problem["error"]) == (404, "no order book of binance/BTCUSDT has arrived yet")
    await gateway.publish(make.book(1), make.book(2))
    _, book = await gateway.get("/api/book/BTCUSDT")
    assert book == orjson.loads(encode(make.book(2)))


async def test_the_depth_is_the_newest_event_on_the_wire(gateway, make):
    await gateway.publish(make.price(1))
    answer, name = await gateway.get("/api/depth/BTCUSDT")
    assert (answer.status, name) == (200, {"venue": "binance", "symbol": "BTCUSDT"})
    await gateway.publish(make.depth(1), make.depth(2, quantity=7.5))
    _, depth = await gateway.get("/api/depth/BTCUSDT")
    assert depth == orjson.loads(encode(make.depth(2, quantity=7.5)))


async def test_an_expected_symbol_is_listed_before_its_first_price(serving):
    async with serving(expected=[("binance", "BTCUSDT")]) as gateway:
        _, prices = await gateway.get("/api/prices")
        assert [(price["venue"], price["symbol"], price["feed"]["state"]) for price in prices] == [
            ("binance", "BTCUSDT", "waiting")
        ]


async def test_readiness_tells_which_symbol_is_late(serving, make):
    async with serving(expected=[("binance", "ETHUSDT")]) as gateway:
        await gateway.publish(make.price(1))
        await gateway.clock.advance(7)
        answer, ready = await gateway.get("/readyz")
        assert answer.status == 503
        expected = "binance/ETHUSDT: waiting for the first price; binance/BTCUSDT: no price for 7.0 s, limit 5 s"
        assert ready["problems"]["prices"] == expected
        await gateway.publish(make.price(2), make.price(1, "ETHUSDT"))
        answer, _ = await gateway.get("/readyz")
        assert answer.status == 200


async def test_metrics_tell_age_and_listeners(gateway, make):
    await gateway.publish(make.price(1))
    await gateway.clock.advance(2)
    async with gateway.listen(), gateway.http.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    assert 'fairprice_gateway_price_age_seconds{symbol="BTCUSDT",venue="binance"} 2.0' in text
    assert "fairprice_gateway_clients 1.0" in text


async def test_a_registry_and_checks_of_the_whole_process_are_shown_too(serving):
    registry = CollectorRegistry()
    Gauge("neighbour", "A metric of another service", registry=registry).set(7)
    async with serving(registry=registry, checks={"neighbour": lambda: "is asleep"}) as gateway:
        async with gateway.http.get(f"{gateway.url}/metrics") as answer:
            assert "neighbour 7.0" in await answer.text()
        _, ready = await gateway.get("/readyz")
        assert ready["problems"]["neighbour"] == "is asleep"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/api/prices", 405)])
async def test_what_is_not_there_is_told_in_json(gateway, method, path, status):
    async with gateway.http.request(method, gateway.url + path) as answer:
        assert answer.status == status
        assert set(await answer.json()) == {"error"}


@pytest.mark.parametrize("path", ["/", "/api/prices", "/static/page.js", "/nothing"])
async def test_every_answer_confines_the_browser_to_this_origin(gateway, path):
    async with gateway.http.get(gateway.url + path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_charts_script_is_compressed_and_not_sent_twice(gateway):
    url = f"{gateway.url}/static/uplot/uPlot.iife.min.js"
    async with gateway.http.get(url, headers={"Accept-Encoding": "identity"}) as answer:
        plain = await answer.read()
        assert b"uPlot" in plain[:200]
    async with gateway.http.get(url, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as answer:
        packed = await answer.read()
        assert len(packed) < len(plain) / 2
        assert gzip.decompress(packed) == plain
        tag = answer.headers["ETag"]
    async with gateway.http.get(url, headers={"If-None-Match": tag, "Accept-Encoding": "gzip"}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_a_port_in_use_says_what_to_do(serving, gateway):
    port = int(gateway.url.rpartition(":")[2])
    with pytest.raises(StartupError, match="FAIRPRICE_HTTP_PORT"):
        async with serving(http_port=port):
            pass


async def test_a_broker_that_breaks_is_watched_again(make):
    class Breaking:
        taps = 0
        enough = asyncio.Event()

        def tap(self, exchange, capacity):
            self.taps += 1
            if self.taps >= 6:
                self.enough.set()
            raise BrokerUnavailable("gone")

    broker = Breaking()
    served = asyncio.Event()
    task = asyncio.create_task(
        run(
            GatewaySettings(http_port=0),
            broker,
            clock=ManualClock(0),
            stop=asyncio.Event(),
            registry=CollectorRegistry(),
            checks={},
            on_serving=lambda _: served.set(),
            back_off=lambda: iter([0.0] * 1000),
        )
    )
    async with patience():
        await served.wait()
        await broker.enough.wait()
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
