"""The running converter over the embedded broker: what goes in, what comes out, what is kept when things fail."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from random import Random

import orjson
import pytest
from clocks import StandingWall
from tables import each_row
from waiting import patience

from converter import app
from converter.app import Counters
from converter.settings import ConverterSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Message
from fairprice.errors import BrokerUnavailable, SettingsError
from fairprice.estimates import ESTIMATES
from fairprice.messages import BOOKS_TYPE, PRICE_VALUES, Audit, Book, Gap, Model, Price, Status, decode, encode, join
from fairprice.topology import BOOKS, BOOKS_CONVERTER, DEAD_LETTERS, PRICES, PRICES_STORER

FIRST = Book("binance", "BTCUSDT", 1, 5, 1_000_000, None, 1_000_001, "a", [["100", "3"]], [["101", "1"]], None, None)
MODEL = Model(0, 2.0, 4.0, 8.0, 1.5, 16.0, 1195, 1190, 1150, 1100)
GAP = Gap("binance", "BTCUSDT", 6, 9, 1_000_000, 2_000_000, "sequence")


def book(number: int, **changes: object) -> Book:
    return replace(FIRST, first_update_id=number, update_id=number, event_time=number * 1000, **changes)


def message(*lines: bytes, identity: str = "m") -> Message:
    return Message(join(lines), BOOKS_TYPE, identity, "crawler", 1, "binance.BTCUSDT", ("binance.BTCUSDT",))


class FlakyBroker(MemoryBroker):
    """Fails the first publishes to each exchange, after having delivered them or before."""

    def __init__(self, failures: int, *, delivered: bool = False) -> None:
        super().__init__()
        self.failures = {PRICES: failures, DEAD_LETTERS: failures}
        self.delivered = delivered
        self.attempts: list[str] = []

    async def publish(self, exchange: str, message: Message) -> None:
        if self.failures.get(exchange):
            self.failures[exchange] -= 1
            self.attempts.append(message.message_id)
            if self.delivered:
                await super().publish(exchange, message)
            raise BrokerUnavailable("no confirmation in time")
        await super().publish(exchange, message)


@asynccontextmanager
async def running(broker, *, clock=None, stop=None, replay=False, counters=None, **settings):
    task = asyncio.create_task(
        app.run(
            ConverterSettings(**settings),
            broker,
            clock=clock or StandingWall(77),
            replay=replay,
            random=Random(1),
            stop=stop or asyncio.Event(),
            counters=counters,
        )
    )
    try:
        yield task
    finally:
        ended = task.done()
        task.cancel()
        with nullcontext() if ended else pytest.raises(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], bool]) -> None:
    async with patience():
        while not condition():  # noqa: ASYNC110  nobody tells when a queue is empty
            await asyncio.sleep(0.001)


async def settled(broker: MemoryBroker) -> None:
    await eventually(lambda: not broker.depths()[BOOKS_CONVERTER])


async def messages(broker: MemoryBroker, queue: str) -> list[Message]:
    found: list[Message] = []
    async with broker.subscribe(queue, 1000) as subscription:
        while broker.depths()[queue] > len(found):
            found += [delivery.message for delivery in await subscription.receive(1000)]
    return found


async def prices(broker: MemoryBroker) -> list[Price]:
    return [event for each in await messages(broker, PRICES_STORER) for event in decode(each.body)]


async def test_lines_of_a_later_version_and_what_a_crawler_knows_pass_by():
    broker, counters = MemoryBroker(), Counters()
    status = Status("binance", "BTCUSDT", 1, "a", "BREAK", is_halted=True, problem=None)
    audit = Audit("binance", "BTCUSDT", 60, "a", 5, 7, tops=3, wrong=0, levels=0, levels_wrong=0)
    async with running(broker, counters=counters):
        others = b'{"type":"trade","price":1}', encode(status), encode(audit)
        await broker.publish(BOOKS, message(*others, encode(book(1))))
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [1]
    assert broker.depths()[DEAD_LETTERS] == 0
    assert (counters.unknown_lines, counters.invalid_lines) == (1, 0)


async def test_two_crawlers_books_are_priced_once_and_all_acknowledged():
    broker, counters = MemoryBroker(), Counters()
    other = [encode(book(number, crawler="b", floor="99")) for number in (2, 3, 4)]
    async with running(broker, counters=counters):
        await broker.publish(BOOKS, message(encode(book(1)), encode(book(2)), other[0]))
        await broker.publish(BOOKS, message(other[1], encode(book(3)), encode(book(4)), other[2]))
        await settled(broker)
        await broker.publish(BOOKS, message(encode(book(1)), *other, encode(book(5))))
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [1, 2, 3, 4, 5]
    assert (counters.copies, counters.prices.total()) == (7, 5)


async def test_a_crawler_that_has_learnt_completes_the_rows_of_one_that_has_not():
    broker, counters = MemoryBroker(), Counters()
    young, old = book(1), book(1, crawler="b", model=MODEL)
    async with running(broker, counters=counters):
        for each in (young, old, young, old):
            await broker.publish(BOOKS, message(encode(each)))
        await settled(broker)
    assert [price.values["forecast_mid"] for price in await prices(broker)] == [None, 102.5]
    assert counters.copies == 2


async def test_whoever_prices_a_book_when_and_how_often_writes_the_same_row():
    rows = []
    for order in ([1, 2, 3], [3, 1, 2, 1]):
        broker = MemoryBroker()
        async with running(broker, replay=True, estimator="forecast_mid"):
            for number in order:
                await broker.publish(BOOKS, message(encode(book(number, model=MODEL))))
            await settled(broker)
        rows.append({price.update_id: price for price in await prices(broker)})
    assert rows[0] == rows[1]
    assert rows[0][1].price == 102.5


async def test_a_run_whose_ids_begin_anew_is_priced_whole():
    broker = MemoryBroker()
    again = [replace(book(number), event_time=9_000_000 + number) for number in (1, 2, 3)]
    async with running(broker):
        await broker.publish(BOOKS, message(*(encode(book(number)) for number in (1, 2, 3))))
        await broker.publish(BOOKS, message(*map(encode, again)))
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [1, 2, 3] * 2


async def test_a_message_of_a_later_version_is_refused_whole_and_by_name():
    broker, counters = MemoryBroker(), Counters()
    later = replace(message(encode(book(1)), encode(book(2))), type="books.v2")
    async with running(broker, counters=counters):
        await broker.publish(BOOKS, later)
        await broker.publish(BOOKS, replace(message(encode(book(3))), type=""))
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [3]
    (letter,) = await messages(broker, DEAD_LETTERS)
    assert letter.body == later.body
    assert letter.headers["reason"] == "messages of type 'books.v2' are not read here, only books.v1"


async def test_every_book_becomes_one_price_and_gaps_pass_by():
    broker, counters = MemoryBroker(), Counters()
    async with running(broker, counters=counters):
        await broker.publish(BOOKS, message(encode(book(1)), encode(GAP), encode(book(2, asks=[]))))
        await broker.publish(BOOKS, message(encode(book(3, venue="binance-usdm"))))
        await settled(broker)
    one, two, _ = await prices(broker)
    assert (one.update_id, one.status, one.price, one.priced_time) == (1, "ok", 100.5, 77)
    assert (two.update_id, two.status, two.price, two.estimator) == (2, "no_asks", None, "curve_mid")
    assert broker.depths()[DEAD_LETTERS] == 0
    assert {sample for sample in counters.samples() if not sample[0].endswith("latency_seconds")} == {
        ("converter_prices_total", ("binance", "ok"), 1),
        ("converter_prices_total", ("binance-usdm", "ok"), 1),
        ("converter_prices_total", ("binance", "no_asks"), 1),
        ("converter_invalid_lines_total", (), 0),
        ("converter_copies_total", (), 0),
        ("converter_unknown_lines_total", (), 0),
        ("converter_invalid_quotes_total", (), 0),
        ("converter_quote_copies_total", (), 0),
    }


async def test_the_time_from_event_to_price_is_counted():
    broker, counters = MemoryBroker(), Counters()
    async with running(broker, counters=counters, clock=StandingWall(5_000)):
        await broker.publish(BOOKS, message(encode(book(1)), encode(book(3))))
        await settled(broker)
    assert counters.latency.total == 0.006
    assert sum(counters.latency.counts) == 2


async def test_a_stop_lets_the_prices_that_were_begun_get_out_and_leaves_the_rest_unseen():
    broker, stop = FlakyBroker(2), asyncio.Event()
    async with running(broker, stop=stop) as task:
        for number in range(1, 5):
            await broker.publish(BOOKS, message(encode(book(number)), identity=str(number)))
        await eventually(lambda: bool(broker.attempts))
        await broker.publish(BOOKS, message(encode(book(5)), identity="5"))
        stop.set()
        async with patience():
            await asyncio.wait({task})
    assert [price.update_id for price in await prices(broker)] == [1, 2, 3, 4]
    async with broker.subscribe(BOOKS_CONVERTER, 10) as subscription:
        (rest,) = await subscription.receive(10)
    assert rest.message.message_id == "5"


async def test_a_replay_has_no_time_of_pricing():
    broker = MemoryBroker()
    async with running(broker, replay=True):
        await broker.publish(BOOKS, message(encode(book(1))))
        await settled(broker)
    (sent,) = await messages(broker, PRICES_STORER)
    (price,) = decode(sent.body)
    assert price.priced_time is None
    assert (sent.type, sent.routing_key, sent.timestamp) == ("prices.v1", "binance.BTCUSDT", 77)


@pytest.mark.parametrize(
    "poison",
    [
        b"{",
        b'{"type":"book"}',
        encode(book(3, bids=[["0", "1"]])),
        encode(book(3, bids=[["9", "1"], ["9.0", "2"]])),
        encode(Price("binance", "BTCUSDT", 1, 1, 1, 1, 1, "mid", "ok", 1.0, dict.fromkeys(
            PRICE_VALUES))),
    ],
)  # fmt: skip
async def test_a_bad_line_goes_to_the_dead_letters_and_its_neighbours_are_priced(poison):
    broker, counters = MemoryBroker(), Counters()
    async with running(broker, counters=counters):
        await broker.publish(BOOKS, message(encode(book(1)), poison, encode(book(2)), identity="bad one"))
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [1, 2]
    (letter,) = await messages(broker, DEAD_LETTERS)
    assert letter.body == poison
    assert letter.headers["reason"]
    assert (letter.headers["origin"], letter.headers["origin_message_id"]) == (BOOKS_CONVERTER, "bad one")
    assert counters.invalid_lines == 1


async def test_what_waited_leaves_in_one_message_of_at_most_a_hundred_lines():
    broker = MemoryBroker()
    for start in range(0, 240, 60):
        await broker.publish(BOOKS, message(*(encode(book(start + i)) for i in range(60))))
    async with running(broker):
        await settled(broker)
    sent = await messages(broker, PRICES_STORER)
    assert [each.body.count(b"\n") + 1 for each in sent] == [100, 100, 40]
    assert [event.update_id for each in sent for event in decode(each.body)] == list(range(240))


async def test_the_same_books_make_the_same_message_id_and_others_another():
    ids = []
    for numbers in ([1, 2], [1, 2], [1, 3]):
        broker = MemoryBroker()
        async with running(broker):
            await broker.publish(BOOKS, message(*(encode(book(number)) for number in numbers)))
            await settled(broker)
        ids += [each.message_id for each in await messages(broker, PRICES_STORER)]
    assert ids[0] == ids[1] != ids[2]


async def test_several_symbols_share_a_message():
    broker = MemoryBroker()
    async with running(broker):
        await broker.publish(BOOKS, message(encode(book(1)), encode(book(2, symbol="ETHUSDT"))))
        await settled(broker)
    (sent,) = await messages(broker, PRICES_STORER)
    assert (sent.routing_key, sent.symbols) == ("batch", ("binance.BTCUSDT", "binance.ETHUSDT"))


@pytest.mark.parametrize("delivered", [False, True])
async def test_an_unconfirmed_publish_is_repeated_under_the_same_id_and_nothing_is_lost(delivered):
    broker = FlakyBroker(2, delivered=delivered)
    async with running(broker):
        await broker.publish(BOOKS, message(encode(book(1)), b"{", encode(book(2))))
        await settled(broker)
    sent = await messages(broker, PRICES_STORER)
    assert {each.message_id for each in sent} == {sent[0].message_id} == {broker.attempts[0]}
    assert len(sent) == (3 if delivered else 1)
    assert [event.update_id for event in decode(sent[0].body)] == [1, 2]
    assert {each.body for each in await messages(broker, DEAD_LETTERS)} == {b"{"}


async def test_cancelling_acknowledges_nothing_that_is_not_published():
    broker = FlakyBroker(10**9)
    async with running(broker):
        await broker.publish(BOOKS, message(encode(book(1))))
        await eventually(lambda: bool(broker.attempts))
    assert broker.depths()[BOOKS_CONVERTER] == 1
    broker.failures.clear()
    async with running(broker):
        await settled(broker)
    assert [price.update_id for price in await prices(broker)] == [1]


async def test_a_lost_subscription_is_made_again():
    class Losing(MemoryBroker):
        lost = 0

        def subscribe(self, queue: str, prefetch: int):
            if queue == BOOKS_CONVERTER and self.lost < 2:
                self.lost += 1
                raise BrokerUnavailable("connection reset")
            return super().subscribe(queue, prefetch)

    broker = Losing()
    async with running(broker):
        await broker.publish(BOOKS, message(encode(book(1))))
        await settled(broker)
    assert len(await prices(broker)) == 1
    assert broker.lost == 2


async def test_settings_reach_the_price():
    broker = MemoryBroker()
    choices = {"depth_bps": "2.5", "impact_notionals": "50", "curve_bps": "60", "forecast_horizon": "5s"}
    async with running(broker, estimator="mid", **choices):
        await broker.publish(BOOKS, message(encode(book(1, model=MODEL))))
        await settled(broker)
    (sent,) = await messages(broker, PRICES_STORER)
    line = orjson.loads(sent.body)
    assert (line["estimator"], line["price"]) == ("mid", 100.5)
    assert line["curve_bps"] == 10_000 / 201
    assert line["forecast_mid"] == 100.5 + 8.0 * 0.5
    assert (line["depth_bid_2_5bps"], line["impact_ask_50"]) == (0.0, 101.0)


def test_the_settings_have_the_documented_defaults():
    settings = ConverterSettings.load({})
    assert (settings.estimator, settings.curve_bps, settings.forecast_horizon) == ("curve_mid", 1, 1.0)
    assert list(map(str, settings.depth_bps)) == ["0.1", "0.5", "1"]
    assert list(map(str, settings.impact_notionals)) == ["10000", "100000"]


@each_row(
    ("variable", "value", "hint"),
    [
        ("FAIRPRICE_ESTIMATOR", "median", f"write one of {', '.join(ESTIMATES)}, not 'median'"),
        ("FAIRPRICE_CURVE_BPS", "0", "greater than 0"),
        ("FAIRPRICE_CURVE_BPS", "1e30", "between 1e-18 and 1e18"),
        ("FAIRPRICE_FORECAST_HORIZON", "10s", "write 500ms, 1s or 5s"),
        ("FAIRPRICE_DEPTH_BPS", "1,-5", "greater than 0"),
        ("FAIRPRICE_DEPTH_BPS", "Infinity", "finite"),
        ("FAIRPRICE_IMPACT_NOTIONALS", ",", "at least 1"),
        ("FAIRPRICE_IMPACT_NOTIONALS", "0.00000000000000001", "at most 16 decimals"),
        ("FAIRPRICE_IMPACT_NOTIONALS", "NaN", "finite"),
        ("FAIRPRICE_IMPACT_NOTIONALS", "1e30", "between 1e-18 and 1e18"),
        ("FAIRPRICE_DEPTH_BPS", "1e-999999999", "between 1e-18 and 1e18"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_write_instead(variable, value, hint):
    with pytest.raises(SettingsError, match=variable) as error:
        ConverterSettings.load({variable: value})
    assert hint in str(error.value)
