"""The running storer over the embedded broker and a fake or a real store."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import replace
from random import Random

import orjson
import pytest
import structlog
from clocks import ManualClock, StandingWall, settle
from hasty_clock import HastyClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_points import Store
from waiting import patience

from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Message
from fairprice.errors import BrokerUnavailable, SettingsError, StoreUnavailable
from fairprice.messages import PRICE_VALUES, Book, Event, Gap, Price, Status, encode, join
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_STORER, DEAD_LETTERS, PRICES, PRICES_STORER
from storer import app, measurements
from storer.app import Counters
from storer.measurements import Point
from storer.rounds import INTERVAL
from storer.settings import StorerSettings
from storer.stores.port import Rejection
from storer.stores.sqlite import open_sqlite

MS = 1000


def price(number: int, **changes: object) -> Price:
    values = dict.fromkeys(PRICE_VALUES, float(number))
    first = Price("binance", "BTCUSDT", number, number, number * MS, 0, None, "mid", "ok", 1.0, values)
    return replace(first, **changes)


def book(number: int, previous: int | None) -> Book:
    before = None if previous is None else previous * MS
    levels = [["100", str(number)]], [["101", "1"]]
    return Book("binance", "BTCUSDT", number, number, number * MS, before, 0, "a", *levels, None, None)


GAP = Gap("binance", "BTCUSDT", 6, 9, 5 * MS, 9 * MS, "sequence")


def message(*lines: Event | bytes, identity: str = "m") -> Message:
    body = join(line if isinstance(line, bytes) else encode(line) for line in lines)
    return Message(body, "", identity, "test", 1, "binance.BTCUSDT", ("binance.BTCUSDT",))


class FakeStore:
    """Keeps batches; refuses points that `reject` names, fails while `failures` last, writes when `gate` is open."""

    def __init__(self, *, failures: int = 0, reject: Callable[[Point], bool] = lambda _: False) -> None:
        self.batches: list[list[Point]] = []
        self.failures = failures
        self.calls = 0
        self.reject = reject
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        self.calls += 1
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("disk full")
        self.batches.append([each for each in points if not self.reject(each)])
        return [Rejection(index, "out of range") for index, each in enumerate(points) if self.reject(each)]

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass

    @property
    def ids(self) -> list[object]:
        return [each.fields["update_id"] for batch in self.batches for each in batch]


async def eventually(condition: Callable[[], bool]) -> None:
    async with patience():
        while not condition():  # noqa: ASYNC110  nobody tells when a queue is empty
            await asyncio.sleep(0.001)


async def settled(broker: MemoryBroker) -> None:
    await eventually(lambda: not (broker.depths()[BOOKS_STORER] or broker.depths()[PRICES_STORER]))


@asynccontextmanager
async def running(broker, store, *, clock=None, replay=True, stop=None, counters=None, prefetch=300, **options):
    task = asyncio.create_task(
        app.run(
            StorerSettings(**options),
            broker,
            store,
            clock=clock or HastyClock(),
            replay=replay,
            random=Random(1),
            stop=stop or asyncio.Event(),
            counters=counters,
            prefetch=prefetch,
        )
    )
    try:
        yield task
    finally:
        ended = task.done()
        task.cancel()
        with nullcontext() if ended else pytest.raises(asyncio.CancelledError):
            await task


async def dead_letters(broker: MemoryBroker) -> list[Message]:
    count = broker.depths()[DEAD_LETTERS]
    if not count:
        return []
    async with broker.subscribe(DEAD_LETTERS, 1000) as subscription:
        return [delivery.message for delivery in await subscription.receive(1000)]


async def test_prices_gaps_and_sampled_books_reach_the_store():
    broker, store, counters = MemoryBroker(), FakeStore(), Counters()
    async with running(broker, store, counters=counters, store_book_interval="10ms"):
        await broker.publish(BOOKS, message(book(8, None), book(9, 8), book(10, 9), GAP, book(11, 10)))
        await broker.publish(PRICES, message(price(8), price(9)))
        await settled(broker)
    points = [each for batch in store.batches for each in batch]
    assert sorted((each.measurement, each.time // MS) for each in points) == [
        ("fair_price", 8), ("fair_price", 9), ("gap", 5), ("order_book", 8), ("order_book", 10),
    ]  # fmt: skip
    assert set(counters.samples()) == {
        ("storer_rows_total", ("fair_price",), 2),
        ("storer_rows_total", ("order_book",), 2),
        ("storer_rows_total", ("gap",), 1),
        ("storer_batches_total", (PRICES_STORER,), 1),
        ("storer_batches_total", (BOOKS_STORER,), 1),
        ("storer_invalid_lines_total", (), 0),
        ("storer_unknown_lines_total", (), 0),
        ("storer_failures_total", (), 0),
        ("storer_settlement_failures_total", (), 0),
        ("storer_trouble", (BOOKS_STORER,), 0),
        ("storer_trouble", (PRICES_STORER,), 0),
    }


async def test_the_basis_between_venues_is_stored_once_nothing_more_comes():
    broker, clock, counters = MemoryBroker(), ManualClock(), Counters()
    store = Store(clock)
    async with running(broker, store, clock=clock, replay=False, counters=counters):
        await broker.publish(PRICES, message(price(100), price(101, venue="binance-usdm")))
        await settled(broker)
        for _ in range(2):
            await clock.advance(INTERVAL * 1.1)
    (point,) = [point for point in store.points.values() if point.measurement == "basis"]
    assert point.fields == {"basis_bps": pytest.approx(100.0), "against": "binance"}


async def test_the_time_from_event_to_row_is_counted_and_a_gap_has_none():
    broker, counters = MemoryBroker(), Counters()
    async with running(broker, FakeStore(), counters=counters, clock=StandingWall(20 * MS), replay=False):
        await broker.publish(BOOKS, message(book(8, None), GAP))
        await broker.publish(PRICES, message(price(8), price(9)))
        await settled(broker)
    seconds = {labels: value.total for name, labels, value in counters.samples() if name == "storer_latency_seconds"}
    assert seconds == {("fair_price",): pytest.approx(0.023), ("order_book",): 0.012}


async def test_a_stop_lets_everything_that_was_taken_be_stored_and_leaves_the_rest_unseen():
    broker, store, stop = MemoryBroker(), FakeStore(failures=3), asyncio.Event()
    store.gate.clear()
    async with running(broker, store, stop=stop) as task:
        for number in range(3):
            await broker.publish(PRICES, message(price(number), identity=str(number)))
        await eventually(lambda: store.calls == 1)
        for number in range(3, 6):
            await broker.publish(PRICES, message(price(number), identity=str(number)))
        await eventually(lambda: broker.depths()[PRICES_STORER] == 6)
        await settle()
        stop.set()
        await settle()
        await broker.publish(PRICES, message(price(6), identity="6"))
        store.gate.set()
        async with patience():
            await asyncio.wait({task})
    assert store.ids == list(range(6))
    async with broker.subscribe(PRICES_STORER, 10) as subscription:
        (rest,) = await subscription.receive(10)
    assert rest.message.message_id == "6"


async def test_an_interval_of_zero_stores_every_book():
    broker, store = MemoryBroker(), FakeStore()
    async with running(broker, store, store_book_interval="0s"):
        await broker.publish(BOOKS, message(book(8, None), book(9, 8), book(10, 9)))
        await settled(broker)
    assert store.ids == [8, 9, 10]


async def test_bad_and_rejected_lines_go_to_the_dead_letters_once_and_their_neighbours_are_stored():
    broker, counters = MemoryBroker(), Counters()
    store = FakeStore(reject=lambda each: each.fields["update_id"] == 3)
    async with running(broker, store, counters=counters):
        await broker.publish(PRICES, message(price(1), b"{", price(2), price(3), GAP, price(4), identity="mixed"))
        await settled(broker)
    assert store.ids == [1, 2, 4]
    letters = await dead_letters(broker)
    assert {letter.body for letter in letters} == {b"{", encode(price(3)), encode(GAP)}
    assert len(letters) == 3
    assert {letter.headers["origin"] for letter in letters} == {PRICES_STORER}
    assert {letter.headers["origin_message_id"] for letter in letters} == {"mixed"}
    assert "out of range" in {letter.headers["reason"] for letter in letters}
    assert counters.invalid_lines == 3
    assert counters.rows == {"fair_price": 3}


async def test_lines_of_a_later_version_and_what_a_crawler_knows_pass_by():
    broker, store, counters = MemoryBroker(), FakeStore(), Counters()
    status = Status("binance", "BTCUSDT", 1, "a", "BREAK", is_halted=True, problem=None)
    later = b'{"type":"trade","price":1}'
    async with running(broker, store, counters=counters):
        await broker.publish(BOOKS, message(later, encode(status), book(1, None)))
        await broker.publish(PRICES, message(price(1), later))
        await settled(broker)
    assert sorted(each.measurement for batch in store.batches for each in batch) == ["fair_price", "order_book"]
    assert broker.depths()[DEAD_LETTERS] == 0
    assert (counters.unknown_lines, counters.invalid_lines) == (2, 0)


async def test_a_message_of_a_later_version_is_refused_whole_and_by_name():
    broker, store, counters = MemoryBroker(), FakeStore(), Counters()
    later = replace(message(price(1), price(2)), type="prices.v2")
    async with running(broker, store, counters=counters):
        await broker.publish(PRICES, later)
        await broker.publish(PRICES, replace(message(price(3)), type="prices.v1"))
        await settled(broker)
    assert store.ids == [3]
    (letter,) = await dead_letters(broker)
    assert letter.body == later.body
    assert letter.headers["reason"] == "messages of type 'prices.v2' are not read here, only prices.v1"
    assert counters.invalid_lines == 1


async def test_an_older_price_without_a_value_is_stored_without_it():
    broker, store = MemoryBroker(), FakeStore()
    fields = orjson.loads(encode(price(1)))
    del fields["impact_mid"]
    async with running(broker, store):
        await broker.publish(PRICES, message(orjson.dumps(fields)))
        await settled(broker)
    ((point,),) = store.batches
    assert (point.fields["impact_mid"], point.fields["mid"]) == (None, 1.0)


async def test_a_mistake_of_ours_ends_the_storer_instead_of_burying_what_came(monkeypatch):
    def mistaken(_: Price) -> Point:
        raise ValueError("zip() argument 2 is shorter than argument 1")

    monkeypatch.setattr(measurements, "fair_price_point", mistaken)
    broker, stop = MemoryBroker(), asyncio.Event()
    await broker.publish(PRICES, message(price(1)))
    with pytest.raises(ExceptionGroup) as raised:
        await app.run(StorerSettings(), broker, FakeStore(), clock=HastyClock(), random=Random(1), stop=stop)
    assert raised.group_contains(ValueError)
    assert (broker.depths()[PRICES_STORER], broker.depths()[DEAD_LETTERS]) == (1, 0)


async def test_a_price_has_no_place_among_books():
    broker, store = MemoryBroker(), FakeStore()
    async with running(broker, store):
        await broker.publish(BOOKS, message(price(1), GAP))
        await settled(broker)
    assert [letter.body for letter in await dead_letters(broker)] == [encode(price(1))]
    assert [each.measurement for each in store.batches[0]] == ["gap"]


async def test_while_one_write_runs_the_next_batch_collects():
    broker, store = MemoryBroker(), FakeStore()
    store.gate.clear()
    async with running(broker, store):
        await broker.publish(PRICES, message(price(1)))
        await eventually(lambda: store.calls == 1)
        for number in range(2, 8):
            await broker.publish(PRICES, message(price(number)))
        store.gate.set()
        await settled(broker)
    assert [len(batch) for batch in store.batches] == [1, 6]


async def test_the_next_batch_is_translated_before_the_write_ends_and_no_more_than_that_one():
    broker, store = MemoryBroker(), FakeStore()
    store.gate.clear()
    for number in range(12):
        await broker.publish(PRICES, message(price(number)))
    async with running(broker, store, store_batch_rows=4):
        await eventually(lambda: len(broker._queues[PRICES_STORER].ready) == 4)
        await settle()
        assert (store.calls, broker.depths()[PRICES_STORER], len(broker._queues[PRICES_STORER].ready)) == (1, 12, 4)
        store.gate.set()
        await settled(broker)
    assert [len(batch) for batch in store.batches] == [4, 4, 4]
    assert store.ids == list(range(12))


async def test_a_subscription_that_is_lost_during_a_write_brings_everything_again():
    class Losing(MemoryBroker):
        @asynccontextmanager
        async def subscribe(self, queue: str, prefetch: int):
            async with super().subscribe(queue, prefetch) as subscription:
                if queue == PRICES_STORER:
                    self.newest = subscription
                yield subscription

        def lose(self):
            self.newest.close()
            self._queues[PRICES_STORER].notify()

    broker, store = Losing(), FakeStore()
    store.gate.clear()
    for number in range(5):
        await broker.publish(PRICES, message(price(number)))
    async with running(broker, store):
        await eventually(lambda: store.calls == 1)
        broker.lose()
        await eventually(lambda: store.calls == 2)
        store.gate.set()
        await settled(broker)
    assert sorted(set(store.ids)) == list(range(5))
    assert len(store.batches) == 1


async def test_a_batch_is_written_when_it_is_full():
    broker, store = MemoryBroker(), FakeStore()
    for number in range(10):
        await broker.publish(PRICES, message(price(number)))
    async with running(broker, store, clock=ManualClock(), store_batch_rows=4, store_batch_age="1h"):
        await eventually(lambda: len(store.batches) == 2)
        assert [len(batch) for batch in store.batches] == [4, 4]
        assert broker.depths()[PRICES_STORER] == 2


async def test_a_batch_is_written_when_it_is_old():
    broker, store, clock = MemoryBroker(), FakeStore(), ManualClock()
    async with running(broker, store, clock=clock, store_batch_age="100ms"):
        await broker.publish(PRICES, message(price(1)))
        await clock.advance(0.06)
        await broker.publish(PRICES, message(price(2)))
        await clock.advance(0.03)
        assert store.calls == 0
        await clock.advance(0.02)
        await settled(broker)
    assert [len(batch) for batch in store.batches] == [2]


async def test_a_batch_that_can_take_no_more_messages_does_not_wait():
    broker, store = MemoryBroker(), FakeStore()
    for number in range(3):
        await broker.publish(PRICES, message(price(number)))
    async with running(broker, store, clock=ManualClock(), prefetch=3, store_batch_age="1h"):
        await settled(broker)
    assert [len(batch) for batch in store.batches] == [3]


async def test_an_outage_keeps_everything_takes_no_more_and_is_told_once_for_each_queue():
    broker, store, counters = MemoryBroker(), FakeStore(failures=20), Counters()
    with structlog.testing.capture_logs() as logs:
        async with running(broker, store, counters=counters):
            for number in range(5):
                await broker.publish(PRICES, message(price(number)))
            await broker.publish(BOOKS, message(book(1, None)))
            await settled(broker)
    assert sorted(store.ids) == [0, 1, 1, 2, 3, 4]
    assert counters.failures == 20
    for queue in (PRICES_STORER, BOOKS_STORER):
        assert [(each["log_level"], each["event"]) for each in logs if each["queue"] == queue] == [
            ("error", "the store takes nothing; keeping what came and trying again"),
            ("info", "the store works again"),
        ]
    assert sum(each.get("failures", 0) for each in logs) == 20


class RefusesPrices(FakeStore):
    """Takes books while it refuses prices, with a reason of each try's own choice."""

    def __init__(self, *reasons: str) -> None:
        super().__init__()
        self.reasons = list(reasons)

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        if points[0].measurement == "fair_price":
            await self.gate.wait()
            if self.reasons:
                raise StoreUnavailable(self.reasons.pop(0))
        return await super().write(points)


def troubles(counters: Counters) -> dict[str, float]:
    return {labels[0]: value for name, labels, value in counters.samples() if name == "storer_trouble"}


async def test_the_trouble_of_one_queue_is_not_over_because_the_other_one_is_stored():
    broker, store, counters, clock = MemoryBroker(), RefusesPrices(*["timed out"] * 6), Counters(), ManualClock()
    with structlog.testing.capture_logs() as logs:
        async with running(broker, store, counters=counters, clock=clock):
            await broker.publish(PRICES, message(price(1)))
            for number in range(1, 6):
                await clock.advance(0.02)
                await broker.publish(BOOKS, message(book(number, None)))
                await clock.until(lambda: not broker.depths()[BOOKS_STORER])
                assert counters.problem() == counters.checks()["store"]() == "prices.storer: timed out"
                assert troubles(counters) == {PRICES_STORER: 1, BOOKS_STORER: 0}
            await clock.until(lambda: not broker.depths()[PRICES_STORER])
    assert counters.problem() is None
    assert troubles(counters) == {PRICES_STORER: 0, BOOKS_STORER: 0}
    assert [(each["log_level"], each["queue"], each.get("failures")) for each in logs] == [
        ("error", PRICES_STORER, None),
        ("info", PRICES_STORER, 6),
    ]


async def test_failures_are_counted_for_each_outage():
    broker, counters = MemoryBroker(), Counters()
    store = RefusesPrices("refused", "refused")
    with structlog.testing.capture_logs() as logs:
        async with running(broker, store, counters=counters):
            await broker.publish(PRICES, message(price(1)))
            await settled(broker)
            store.reasons += ["refused"] * 3
            await broker.publish(PRICES, message(price(2)))
            await settled(broker)
    assert [each["failures"] for each in logs if each["log_level"] == "info"] == [2, 3]
    assert counters.failures == 5


async def test_each_reason_of_an_outage_is_told_once():
    broker, store, counters = MemoryBroker(), RefusesPrices(*["refused", "wrong token"] * 5), Counters()
    with structlog.testing.capture_logs() as logs:
        async with running(broker, store, counters=counters):
            await broker.publish(PRICES, message(price(1)))
            await settled(broker)
    assert [each.get("error") for each in logs] == ["refused", "wrong token", None]
    assert counters.problem() is None


async def test_a_reason_that_never_repeats_does_not_fill_the_log():
    broker, store = MemoryBroker(), RefusesPrices(*map(str, range(100)))
    with structlog.testing.capture_logs() as logs:
        async with running(broker, store):
            await broker.publish(PRICES, message(price(1)))
            await settled(broker)
    assert len(logs) == 11


async def test_the_wait_that_the_store_asks_for_is_kept():
    class Busy(FakeStore):
        async def write(self, points: Sequence[Point]) -> list[Rejection]:
            self.calls += 1
            if self.calls <= 2:
                raise StoreUnavailable("overloaded", retry_after=[30, None][self.calls - 1])
            return await super().write(points)

    broker, store, clock = MemoryBroker(), Busy(), HastyClock()
    async with running(broker, store, clock=clock):
        await broker.publish(PRICES, message(price(1)))
        await settled(broker)
    first, second = (seconds for seconds in clock.sleeps if seconds > 0)
    assert 30 < first < 31
    assert second < 1


async def test_during_an_outage_no_more_than_the_prefetch_is_taken():
    broker, store = MemoryBroker(), FakeStore(failures=10**9)
    async with running(broker, store, prefetch=3):
        for number in range(10):
            await broker.publish(PRICES, message(price(number)))
        await eventually(lambda: store.calls > 20)
        assert len(broker._queues[PRICES_STORER].ready) >= 7
        store.failures = 0
        await settled(broker)
    assert store.ids == list(range(10))


async def test_cancelling_acknowledges_nothing_that_is_not_stored():
    broker, store = MemoryBroker(), FakeStore()
    store.gate.clear()
    async with running(broker, store):
        await broker.publish(PRICES, message(price(1)))
        await broker.publish(BOOKS, message(book(1, None)))
        await eventually(lambda: store.calls == 2)
    assert (broker.depths()[PRICES_STORER], broker.depths()[BOOKS_STORER]) == (1, 1)
    store.gate.set()
    async with running(broker, store):
        await settled(broker)
    assert sorted(each.measurement for batch in store.batches for each in batch) == ["fair_price", "order_book"]


async def test_a_dead_letter_that_is_not_confirmed_holds_the_acknowledgement():
    class Deaf(MemoryBroker):
        attempts = 0

        async def publish(self, exchange: str, message: Message) -> None:
            if exchange == DEAD_LETTERS:
                self.attempts += 1
                raise BrokerUnavailable("no confirmation")
            await super().publish(exchange, message)

    broker, store = Deaf(), FakeStore()
    async with running(broker, store):
        await broker.publish(PRICES, message(price(1), b"{"))
        await eventually(lambda: broker.attempts > 0)
    assert broker.depths()[PRICES_STORER] == 1


async def test_a_lost_subscription_is_made_again():
    class Losing(MemoryBroker):
        lost = 0

        def subscribe(self, queue: str, prefetch: int):
            if self.lost < 4:
                self.lost += 1
                raise BrokerUnavailable("connection reset")
            return super().subscribe(queue, prefetch)

    broker, store = Losing(), FakeStore()
    async with running(broker, store):
        await broker.publish(PRICES, message(price(1)))
        await settled(broker)
    assert store.ids == [1]


async def test_a_database_that_another_holds_is_told_until_it_is_free(tmp_path):
    broker, counters, path = MemoryBroker(), Counters(), tmp_path / "fairprice.db"
    store = await open_sqlite(path, patience=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with running(broker, store, counters=counters):
            await broker.publish(PRICES, message(price(1)))
            await eventually(lambda: counters.failures > 2)
            assert counters.checks()["store"]() == f"prices.storer: {path}: database is locked"
            assert troubles(counters) == {PRICES_STORER: 1, BOOKS_STORER: 0}
            other.execute("ROLLBACK")
            await settled(broker)
            assert counters.checks()["store"]() is None
    await store.close()


async def test_a_database_that_is_deleted_while_running_keeps_what_comes_after(tmp_path):
    broker, counters, path = MemoryBroker(), Counters(), tmp_path / "fairprice.db"
    store = await open_sqlite(path)
    async with running(broker, store, counters=counters):
        for number in range(6):
            if number == 3:
                path.unlink()
            await broker.publish(PRICES, message(price(number)))
            await settled(broker)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT update_id FROM fair_price").fetchall() == [(3,), (4,), (5,)]
    assert (counters.failures, counters.problem()) == (0, None)


EVENTS = [
    *(price(number) for number in range(12)),
    price(50, event_time=3 * MS),  # two prices of the same instant: the later update stays
    *(book(number, number - 1) for number in range(1, 12)),
    GAP,
    replace(GAP, to_update_id=20, to_time=20 * MS),
]


async def stored(path, messages: list[tuple[str, Message]], replicas: int) -> dict[str, list[tuple[object, ...]]]:
    broker = MemoryBroker(capacity=10_000)
    store = await open_sqlite(path)
    for exchange, each in messages:
        await broker.publish(exchange, each)
    async with asyncio.TaskGroup() as group:
        options = StorerSettings(store_book_interval="3ms", store_batch_rows=5, book_levels=1)
        tasks = [
            group.create_task(
                app.run(
                    options, broker, store, clock=SystemClock(), replay=True, random=Random(r), stop=asyncio.Event()
                )
            )
            for r in range(replicas)
        ]
        await settled(broker)
        for task in tasks:
            task.cancel()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY venue, symbol, time").fetchall()
            for table in ("fair_price", "order_book", "gap")
        }


ONCE: dict[str, list[tuple[object, ...]]] = {}
"""The rows of all messages in order, the same for every example."""


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(len(EVENTS))), st.lists(st.integers(0, len(EVENTS) - 1), max_size=10), st.integers(1, 3))
def test_shuffled_and_repeated_messages_and_replicas_make_the_same_rows(tmp_path_factory, order, again, replicas):
    def sent(numbers: Sequence[int]) -> list[tuple[str, Message]]:
        return [(PRICES if isinstance(EVENTS[n], Price) else BOOKS, message(EVENTS[n])) for n in numbers]

    folder = tmp_path_factory.mktemp("rows")
    if not ONCE:
        ONCE.update(asyncio.run(stored(folder / "once.db", sent(range(len(EVENTS))), 1)))
    mixed = asyncio.run(stored(folder / "mixed.db", sent([*order, *again]), replicas))
    assert mixed == ONCE
    assert len(ONCE["fair_price"]) == 12
    assert [row[0] // MS for row in ONCE["order_book"]] == [3, 6, 9]
    assert sorted(row[4] for row in ONCE["gap"]) == [GAP.to_update_id, 20], "each claim has a row"


def test_the_settings_have_the_documented_defaults():
    defaults = StorerSettings.load({})
    assert (defaults.store_book_interval, defaults.book_levels) == (1.0, 20)
    assert (defaults.store_batch_rows, defaults.store_batch_age) == (5000, 0.0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FAIRPRICE_STORE_BOOK_INTERVAL", "1"),
        ("FAIRPRICE_STORE_BATCH_ROWS", "0"),
        ("FAIRPRICE_STORE_BATCH_AGE", "-1s"),
        ("FAIRPRICE_BOOK_LEVELS", "0"),
    ],
)
def test_a_wrong_setting_is_named(variable, value):
    with pytest.raises(SettingsError, match=variable):
        StorerSettings.load({variable: value})
