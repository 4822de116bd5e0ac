"""The outbox over a broker whose answers are scripted: when events leave, together with which, and what is reported."""

import asyncio
import os
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from random import Random

import orjson
import pytest
import structlog
from clocks import ManualClock
from waiting import patience, soon

from fairprice.broker.outbox import MIB, Outbox, Sent
from fairprice.broker.port import Message
from fairprice.errors import BrokerUnavailable, ExchangeUnavailable
from fairprice.messages import (
    BOOKS_TYPE,
    MAX_BYTES,
    MAX_LINES,
    Audit,
    Book,
    Depth,
    Gap,
    Status,
    decode,
    encode,
    lines,
)
from fairprice.runtime.backoff import delays

FIRST = Book("binance", "BTCUSDT", 1, 1, 1000, None, 1001, "a", [["100", "3"]], [["101", "1"]], None, None)

SIZE = len(encode(FIRST))
"""Bytes of the line of a book whose ids have one digit."""


def books(*update_ids: int, symbol: str = "BTCUSDT") -> list[Book]:
    return [replace(FIRST, symbol=symbol, first_update_id=number, update_id=number) for number in update_ids]


def book_of(size: int, update_id: int) -> Book:
    """Make a book whose line has exactly so many bytes."""
    book = replace(FIRST, update_id=update_id)
    levels, digits = divmod(size - len(encode(book)), len(',["1","1"]'))
    return replace(book, bids=[*[["1", "1"]] * levels, ["100", "3" + "3" * digits]])


@dataclass
class Attempt:
    exchange: str
    message: Message
    answer: asyncio.Future[None]

    @property
    def update_ids(self) -> list[int]:
        return [event.update_id for event in decode(self.message.body)]

    def confirm(self) -> None:
        self.answer.set_result(None)

    def fail(self, error: type[Exception] = BrokerUnavailable) -> None:
        self.answer.set_exception(error("scripted"))


class ScriptedBroker:
    """Leaves every publish open until the test answers it."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    async def publish(self, exchange: str, message: Message) -> None:
        attempt = Attempt(exchange, message, asyncio.get_running_loop().create_future())
        self.attempts.append(attempt)
        await attempt.answer

    @property
    def open(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.answer.done()]


async def turns() -> None:
    """Let everybody go on who can without waiting for time or the broker."""
    for _ in range(20):
        await asyncio.sleep(0)


class Scene:
    def __init__(
        self, *, window: int = 1, enough: int = 1, capacity_bytes: int = MIB, back_off=lambda: repeat(0.0)
    ) -> None:
        self.broker = ScriptedBroker()
        self.clock = ManualClock(123_456_789)
        self.confirmed: list[int] = []
        self.outbox = Outbox(
            self.broker,
            "books",
            BOOKS_TYPE,
            "crawler/test",
            confirmed=lambda events: self.confirmed.extend(event.update_id for event in events),
            clock=self.clock,
            back_off=back_off,
            window=window,
            enough=enough,
            capacity_bytes=capacity_bytes,
        )

    def put(self, *events) -> None:
        for event in events:
            self.outbox.put(event)

    async def confirm_all(self) -> None:
        while self.broker.open:
            self.broker.open[0].confirm()
            await turns()


@asynccontextmanager
async def running(**options):
    scene = Scene(**options)
    task = asyncio.create_task(scene.outbox.run())
    await turns()
    try:
        yield scene
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_idle_outbox_sends_at_once():
    async with running() as scene:
        (book,) = books(1)
        scene.put(book)
        await turns()
        (attempt,) = scene.broker.attempts
        assert attempt.exchange == "books"
        assert attempt.message.body == encode(book)


async def test_events_that_were_put_before_it_runs_leave_when_it_does():
    scene = Scene()
    scene.put(*books(1, 2))
    task = asyncio.create_task(scene.outbox.run())
    await turns()
    assert [attempt.update_ids for attempt in scene.broker.attempts] == [[1, 2]]
    task.cancel()
    await asyncio.wait({task})


async def test_while_the_window_is_full_events_collect_and_leave_together():
    async with running() as scene:
        scene.put(*books(0))
        await turns()
        scene.put(*books(*range(1, 251)))
        await turns()
        assert len(scene.broker.attempts) == 1
        await scene.confirm_all()
        sent = [attempt.update_ids for attempt in scene.broker.attempts]
        assert [len(batch) for batch in sent] == [1, MAX_LINES, MAX_LINES, 50]
        assert list(chain.from_iterable(sent)) == list(range(251))


async def test_while_a_message_is_unconfirmed_events_collect_until_they_are_enough_for_another():
    async with running(window=2, enough=3) as scene:
        for number in range(3):
            scene.put(*books(number))
            await turns()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0]]
        scene.put(*books(3, 4))
        await turns()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0], [1, 2, 3, 4]]


async def test_what_has_collected_leaves_as_soon_as_nothing_is_unconfirmed():
    async with running(window=2, enough=3) as scene:
        for number in range(3):
            scene.put(*books(number))
            await turns()
        scene.broker.attempts[0].confirm()
        await turns()
        assert [attempt.update_ids for attempt in scene.broker.open] == [[1, 2]]
        await scene.confirm_all()
        assert (scene.confirmed, len(scene.outbox)) == ([0, 1, 2], 0)


async def test_a_batch_is_cut_before_it_exceeds_its_bytes():
    third = MAX_BYTES // 3
    async with running() as scene:
        scene.put(*books(0))
        await turns()
        scene.put(*(book_of(third - 1, number) for number in range(1, 8)))
        await scene.confirm_all()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0], [1, 2, 3], [4, 5, 6], [7]]
        assert all(len(attempt.message.body) <= MAX_BYTES for attempt in scene.broker.attempts)


async def test_one_byte_more_goes_into_the_next_batch():
    async with running() as scene:
        scene.put(*books(0))
        await turns()
        scene.put(book_of(MAX_BYTES // 2 - 1, 1), book_of(MAX_BYTES // 2 - 1, 2))
        scene.put(book_of(MAX_BYTES // 2 - 1, 3), book_of(MAX_BYTES // 2, 4))
        await scene.confirm_all()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0], [1, 2], [3], [4]]


async def test_an_event_larger_than_a_batch_goes_alone():
    async with running() as scene:
        scene.put(*books(0))
        await turns()
        scene.put(*books(1), book_of(MAX_BYTES + 1000, 2), *books(3, 4))
        await scene.confirm_all()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0], [1], [2], [3, 4]]


async def test_no_more_messages_are_unconfirmed_than_the_window_allows():
    async with running(window=3) as scene:
        for number in range(6):
            scene.put(*books(number))
            await turns()
        assert [attempt.update_ids for attempt in scene.broker.attempts] == [[0], [1], [2]]
        scene.broker.attempts[1].confirm()
        await turns()
        assert [attempt.update_ids for attempt in scene.broker.open] == [[0], [2], [3, 4, 5]]


async def test_confirmations_are_reported_in_the_order_of_put():
    async with running(window=3) as scene:
        for number in range(3):
            scene.put(*books(number))
            await turns()
        seen = []
        for position in (2, 1, 0):
            scene.broker.attempts[position].confirm()
            await turns()
            seen.append(list(scene.confirmed))
        assert seen == [[], [], [0, 1, 2]]
        assert len(scene.outbox) == 0


async def test_nothing_is_reported_before_the_broker_confirmed_it():
    async with running() as scene:
        scene.put(*books(1))
        await turns()
        assert (scene.confirmed, len(scene.outbox)) == ([], 1)
        scene.broker.attempts[0].confirm()
        await turns()
        assert (scene.confirmed, len(scene.outbox)) == ([1], 0)


async def test_an_outage_is_told_once_however_many_messages_are_under_way():
    with structlog.testing.capture_logs() as logs:
        async with running(window=4) as scene:
            for number in range(1, 5):
                scene.put(*books(number))
                await turns()
            for _ in range(3):
                for attempt in scene.broker.open:
                    attempt.fail(BrokerUnavailable)
                await turns()
            await scene.confirm_all()
            assert scene.confirmed == [1, 2, 3, 4]
    assert [line["event"] for line in logs] == ["publish unconfirmed, repeating it", "publish confirmed again"]
    assert logs[-1]["failures"] == 12


@pytest.mark.parametrize("error", [BrokerUnavailable, ExchangeUnavailable])
async def test_an_unconfirmed_publish_is_repeated_unchanged_until_it_is_confirmed(error):
    async with running() as scene:
        scene.put(*books(1))
        for failures in range(5):
            await turns()
            assert (len(scene.broker.attempts), scene.confirmed) == (failures + 1, [])
            scene.broker.attempts[-1].fail(error)
        await turns()
        scene.broker.attempts[-1].confirm()
        await turns()
        assert scene.confirmed == [1]
        assert all(attempt.message == scene.broker.attempts[0].message for attempt in scene.broker.attempts)


async def test_each_repetition_waits_for_the_next_delay_of_a_series_of_its_own():
    taken: list[tuple[int, float]] = []
    series = 0

    def back_off():
        nonlocal series
        series += 1
        mine = series
        for delay in (0.05, 0.0):
            taken.append((mine, delay))
            yield delay

    async with running(back_off=back_off) as scene:
        for number in (1, 2):
            scene.put(*books(number))
            await turns()
            scene.broker.open[0].fail()
            await scene.clock.advance(0.049)
            assert not scene.broker.open
            await scene.clock.advance(0.001)
            scene.broker.attempts[-1].fail()
            await turns()
            await scene.confirm_all()
        assert taken == [(1, 0.05), (1, 0.0), (2, 0.05), (2, 0.0)]


async def test_a_failed_publish_holds_back_the_reports_behind_it_but_not_the_publishes():
    async with running(window=2, back_off=lambda: repeat(0.2)) as scene:
        for number in range(2):
            scene.put(*books(number))
            await turns()
        scene.broker.attempts[0].fail()
        scene.broker.attempts[1].confirm()
        await turns()
        scene.put(*books(2))
        await turns()
        assert [attempt.update_ids for attempt in scene.broker.open] == [[2]]
        await scene.confirm_all()
        assert scene.confirmed == []
        await scene.clock.advance(0.2)
        await scene.confirm_all()
        assert scene.confirmed == [0, 1, 2]


async def test_a_series_of_delays_that_ends_never_passes_for_a_confirmation():
    scene = Scene(back_off=lambda: iter([0.0]))
    task = asyncio.create_task(scene.outbox.run())
    scene.put(*books(1))
    await turns()
    scene.broker.attempts[0].fail()
    await turns()
    scene.broker.attempts[1].fail()
    with pytest.raises(ExceptionGroup):
        await soon(task)
    assert scene.confirmed == []


async def test_an_error_that_is_not_transient_ends_the_outbox():
    scene = Scene()
    task = asyncio.create_task(scene.outbox.run())
    scene.put(*books(1))
    await turns()
    scene.broker.attempts[0].fail(KeyError)
    with pytest.raises(ExceptionGroup) as raised:
        await task
    assert raised.group_contains(KeyError)
    assert scene.confirmed == []


async def test_whoever_puts_too_much_waits_for_room():
    async with running(capacity_bytes=3 * SIZE) as scene:
        scene.put(*books(0))
        await turns()
        scene.put(*books(1, 2))
        assert not scene.outbox.is_full
        await soon(scene.outbox.room())
        scene.put(*books(3))
        assert scene.outbox.is_full
        waiting = [asyncio.create_task(scene.outbox.room()) for _ in range(2)]
        await turns()
        assert not any(task.done() for task in waiting)
        scene.broker.attempts[0].confirm()
        await turns()
        assert all(task.done() for task in waiting)
        assert not scene.outbox.is_full


async def test_room_is_there_as_soon_as_a_batch_has_left_even_if_the_broker_never_answers():
    async with running(capacity_bytes=3 * SIZE) as scene:
        scene.put(*books(1, 2, 3))
        assert scene.outbox.is_full
        async with patience():
            await scene.outbox.room()
        assert not scene.outbox.is_full


async def test_draining_waits_for_the_last_confirmation():
    async with running() as scene:
        await soon(scene.outbox.drain())
        scene.put(*books(1))
        await turns()
        scene.put(*books(2))
        draining = asyncio.create_task(scene.outbox.drain())
        scene.broker.attempts[0].confirm()
        await turns()
        assert not draining.done()
        scene.broker.attempts[1].confirm()
        await soon(draining)
        assert scene.confirmed == [1, 2]


async def test_cancelling_ends_every_publish_and_reports_none_of_them():
    async with running(window=2) as scene:
        for number in range(4):
            scene.put(*books(number))
            await turns()
    assert all(attempt.answer.cancelled() for attempt in scene.broker.attempts)
    assert scene.confirmed == []
    assert len(scene.outbox) == 4


async def test_nothing_is_lost_or_reordered_whatever_the_broker_does():
    random = Random(3)
    accepted: set[int] = set()

    class MoodyBroker:
        """Answers late, out of order and often with an error, before or after having accepted the message."""

        async def publish(self, exchange: str, message: Message) -> None:
            await asyncio.sleep(random.random() * 0.003)
            mood = random.random()
            if mood > 0.3:
                accepted.update(event.update_id for event in decode(message.body))
            if mood < 0.6:
                raise BrokerUnavailable("moody")

    reported: list[int] = []
    outbox = Outbox(
        MoodyBroker(), "books", BOOKS_TYPE, "a", clock=ManualClock(1), back_off=lambda: repeat(0.0),
        capacity_bytes=50 * SIZE, confirmed=lambda events: reported.extend(event.update_id for event in events),
    )  # fmt: skip
    task = asyncio.create_task(outbox.run())
    for book in books(*range(2000)):
        await outbox.room()
        outbox.put(book)
        assert accepted.issuperset(reported[-1:])
    await soon(outbox.drain())
    assert reported == list(range(2000))
    assert accepted == set(range(2000))
    task.cancel()
    await asyncio.wait({task})


async def test_a_message_tells_what_is_in_it():
    async with running() as scene:
        (book,) = books(7)
        scene.put(book)
        await turns()
        message = scene.broker.attempts[0].message
    assert (message.type, message.app_id, message.timestamp) == ("books.v1", "crawler/test", 123_456_789)
    assert (message.routing_key, message.symbols) == ("binance.BTCUSDT", ("binance.BTCUSDT",))
    assert message.message_id == "books.v1/binance.BTCUSDT:7/binance.BTCUSDT:7/1"


async def sent(events, *, crawler="a", timestamp=1) -> Message:
    """Return the one message in which these events leave."""
    broker = ScriptedBroker()
    outbox = Outbox(
        broker, "books", BOOKS_TYPE, crawler, confirmed=len, clock=ManualClock(timestamp), back_off=lambda: repeat(0.0)
    )
    for event in events:
        outbox.put(event)
    task = asyncio.create_task(outbox.run())
    await turns()
    task.cancel()
    await asyncio.wait({task})
    (attempt,) = broker.attempts
    return attempt.message


async def test_a_message_of_several_symbols_names_each_once_and_is_routed_as_a_batch():
    message = await sent([*books(1), *books(1, 2, symbol="ETHUSDT"), *books(2)])
    assert message.routing_key == "batch"
    assert message.symbols == ("binance.BTCUSDT", "binance.ETHUSDT")


async def test_the_id_of_a_message_is_made_from_the_exchanges_data_alone():
    events = books(1, 2, 3)
    elsewhere = [replace(event, crawler="b", received_time=9) for event in events]
    assert (await sent(events)).message_id == (await sent(elsewhere, crawler="b", timestamp=2)).message_id


async def test_messages_of_different_events_have_different_ids():
    gap = Gap("binance", "BTCUSDT", 1, 2, 3, 4, "disconnect")
    batches = (books(1), books(2), books(1, 2), books(1, 2, 3), books(1, 3), books(1, symbol="ETHUSDT"), [gap])
    ids = [(await sent(batch)).message_id for batch in batches]
    assert len(set(ids)) == len(batches)


async def test_what_is_confirmed_is_told_by_name_identity_and_time():
    told: list[Sent] = []
    broker = ScriptedBroker()
    outbox = Outbox(
        broker, "books", BOOKS_TYPE, "a", confirmed=told.extend, clock=ManualClock(), back_off=lambda: repeat(0.0)
    )
    gap = Gap("binance", "ETHUSDT", 10, 20, 100, 200, "disconnected")
    status = Status("binance-usdm", "BTCUSDT", 300, "a", "BREAK", is_halted=True, problem=None)
    audit = Audit("binance", "BTCUSDT", 60, "a", 5, 7, tops=3, wrong=0, levels=0, levels_wrong=0)
    task = asyncio.create_task(outbox.run())
    depth = Depth("binance", "BTCUSDT", 7, 1000, "a", {})
    for event in (*books(7), gap, status, audit, depth):
        outbox.put(event)
    await turns()
    broker.attempts[0].confirm()
    await turns()
    task.cancel()
    await asyncio.wait({task})
    assert told == [
        Sent(Book, "binance", "BTCUSDT", 7, 7, 1000),
        Sent(Gap, "binance", "ETHUSDT", 10, 20, 200),
        Sent(Status, "binance-usdm", "BTCUSDT", 0, 0, 300),
        Sent(Audit, "binance", "BTCUSDT", 5, 7, 60),
        Sent(Depth, "binance", "BTCUSDT", 7, 7, 1000),
    ]
    names = [
        "binance.BTCUSDT:7",
        "binance.ETHUSDT:gap:10-20",
        "binance-usdm.BTCUSDT:status:300",
        "binance.BTCUSDT:audit:60",
        "binance.BTCUSDT:depth:7",
    ]
    assert [each.identity for each in told] == names


async def test_an_event_is_written_down_when_it_is_put():
    async with running() as scene:
        book = replace(FIRST)
        scene.put(book)
        book.update_id = 99
        await turns()
        assert scene.broker.attempts[0].update_ids == [1]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class RestartingBroker:
    """Away for so many seconds, then there again and quick."""

    def __init__(self, clock: ManualClock, away: float) -> None:
        self.clock = clock
        self.until = clock.monotonic() + away
        self.update_ids: dict[str, list[int]] = defaultdict(list)

    async def publish(self, _exchange: str, message: Message) -> None:
        await asyncio.sleep(0)
        if self.clock.monotonic() < self.until:
            raise BrokerUnavailable("restarting")
        for line in lines(message.body):
            fields = orjson.loads(line)
            self.update_ids[fields["symbol"]].append(fields["update_id"])


@pytest.mark.slow
async def test_a_restart_of_the_broker_of_30_s_costs_300_busy_symbols_no_gap_and_the_memory_stays_bounded():
    clock, symbols, ticks = ManualClock(), [f"COIN{number}USDT" for number in range(300)], 300
    broker = RestartingBroker(clock, away=30)
    confirmed: Counter[str] = Counter()
    outbox = Outbox(
        broker, "books", BOOKS_TYPE, "crawler/test", clock=clock, back_off=partial(delays, Random(1)),
        confirmed=lambda sent: confirmed.update(each.symbol for each in sent),
    )  # fmt: skip
    side = [[f"{57210 - level}.01000000", "0.50000000"] for level in range(20)]
    publishing = asyncio.create_task(outbox.run())
    before = resident_bytes()
    for tick in range(1, ticks + 1):
        for symbol in symbols:
            outbox.put(Book("binance", symbol, tick, tick, tick, None, tick, "crawler-1", side, side, "1", None))
        assert not outbox.is_full, f"reading stops after {tick / 10} s, which costs a gap"
        await clock.advance(0.1)
    assert len(outbox) == ticks * len(symbols) > 0
    assert resident_bytes() - before < 200 * MIB
    await clock.advance(5)
    await clock.until(lambda: not len(outbox))
    publishing.cancel()
    await asyncio.wait({publishing})
    assert confirmed == dict.fromkeys(symbols, ticks)
    assert all(sorted(broker.update_ids[symbol]) == list(range(1, ticks + 1)) for symbol in symbols)


async def test_beyond_its_bytes_the_outbox_holds_its_source_up_whatever_the_number_of_events():
    async with running(capacity_bytes=10_000) as scene:
        scene.put(*books(0))
        await turns()
        scene.put(book_of(9_999, 1))
        assert not scene.outbox.is_full
        scene.put(*books(2))
        assert scene.outbox.is_full
        await scene.confirm_all()
        assert not scene.outbox.is_full
        assert scene.confirmed == [0, 1, 2]
