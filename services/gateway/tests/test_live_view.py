"""The live view beside the record: what is newest, how old it is, and who is sent it."""

import orjson
import pytest

from fairprice.messages import encode
from gateway.dispute import Top
from gateway.key import Key
from gateway.live import Live, LiveView


def live(ticker_id, event_time=10):
    event = {"type": "live", "ticker_id": ticker_id, "price": 1.5, "bids": [], "asks": []}
    return Live(Key("binance", "BTCUSDT"), ticker_id, event_time, Top(1.4, 1.6), orjson.dumps(event))


def test_the_newest_is_the_one_with_the_highest_id_whoever_brings_it_and_echoes_are_none():
    view = LiveView()
    took = [view.take(live(ticker_id), float(ticker_id)) for ticker_id in (3, 3, 2, 5)]
    assert took == [True, False, False, True]
    assert view.fields(7.5) == {"ticker_id": 5, "price": 1.5, "age_seconds": 2.5}


def test_before_the_first_there_is_nothing():
    assert LiveView().fields(1.0) is None
    assert LiveView().age(1.0) is None


def test_ids_that_begin_anew_are_believed_after_a_while():
    view = LiveView(new_run_after=5.0)
    view.take(live(1000), 0.0)
    assert [view.take(live(ticker_id, 20), float(ticker_id)) for ticker_id in (1, 5, 6)] == [
        False, False, True,
    ]  # fmt: skip
    assert view.fields(6.0)["ticker_id"] == 6


async def test_live_prices_are_sent_at_once_to_those_who_ask(gateway, make):
    await gateway.publish(make.price(1))
    async with gateway.listen("?live=1") as asking, gateway.listen() as other:
        expected = [make.live(1), make.live(1, ahead=9)]
        await gateway.publish(*expected, make.live(1))
        await gateway.publish(make.price(2))
        seen = {}
        for socket in (asking, other):
            frames = seen[socket] = []
            while not frames or frames[-1].get("update_id") != make.price(2).update_id:
                frames.append(orjson.loads(await socket.receive_str()))
    assert [each for each in seen[asking] if each["type"] == "live"] == [
        orjson.loads(encode(each)) for each in expected
    ]
    assert "live" not in {each["type"] for each in seen[other]}


async def test_who_connects_gets_the_newest_live_price_at_once(gateway, make):
    await gateway.publish(make.price(1), make.live(1), make.live(1, ahead=9))
    async with gateway.listen("?live=1") as socket:
        frames = [orjson.loads(await socket.receive_str()) for _ in range(4)]
    assert [each["type"] for each in frames] == ["health", "price", "feed", "live"]
    assert frames[-1] == orjson.loads(encode(make.live(1, ahead=9)))


async def test_prices_carry_the_live_one_beside_that_of_the_record_with_both_ages(gateway, make):
    await gateway.publish(make.price(1))
    await gateway.clock.advance(1.0)
    await gateway.publish(make.live(1, bid=60_000.0))
    await gateway.clock.advance(0.5)
    _, (price,) = await gateway.get("/api/prices")
    assert price["update_id"] == make.price(1).update_id
    assert price["feed"]["age_seconds"] == pytest.approx(1.5)
    assert price["feed"]["live_age_seconds"] == price["live"]["age_seconds"] == pytest.approx(0.5)
    assert (price["live"]["ticker_id"], price["live"]["bid"]) == (make.live(1).ticker_id, 60_000.0)
    assert not {"bids", "asks", "type"} & price["live"].keys()


async def test_without_quotes_there_is_no_live_price(gateway, make):
    await gateway.publish(make.price(1))
    _, price = await gateway.get("/api/prices/BTCUSDT")
    assert price["live"] is None
    assert price["feed"]["live_age_seconds"] is None


async def test_a_live_price_is_no_price_of_the_record(gateway, make):
    await gateway.publish(make.price(1), make.live(1), make.live(2, bid=1.0))
    _, history = await gateway.get("/api/history/BTCUSDT")
    assert history["price"] == [make.price(1).price]
    _, (price,) = await gateway.get("/api/prices")
    assert price["price"] == make.price(1).price


async def test_a_run_that_begins_anew_forgets_the_live_price_too(serving, make):
    async with serving(limits={"new_run_after": 1.0}) as gateway:
        await gateway.publish(make.price(100), make.live(100))
        for step in range(3):
            await gateway.publish(make.price(step))
            await gateway.clock.advance(1.0)
        await gateway.publish(make.live(2))
        _, price = await gateway.get("/api/prices/BTCUSDT")
    assert price["live"]["ticker_id"] == make.live(2).ticker_id


async def test_what_cannot_be_read_is_passed_over(gateway, make):
    good = make.live(3)
    for bad in (
        b"{",
        b'{"type":"live"}',
        encode(make.price(1)),
        encode(good).replace(b'"ticker_id":', b'"x":'),
        encode(good).replace(b'"bid":6', b'"bid":"6').replace(b',"ask":', b'","ask":'),
    ):
        message = gateway.message_of("live", bad)
        gateway.broker.cast("live", message)
    await gateway.publish(good)
    _, (price,) = await gateway.get("/api/prices")
    assert price["live"]["ticker_id"] == good.ticker_id
    assert "price" not in price


async def test_live_prices_of_an_unknown_type_of_message_are_passed_over(gateway, make):
    await gateway.publish(make.live(3), version="v2")
    _, prices = await gateway.get("/api/prices")
    assert prices == []
