"""Streams of a made-up venue, whose sockets a test speaks through, on its clock."""

import asyncio
from bisect import bisect_left
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

import pytest
import structlog
from clocks import ManualClock, settle
from waiting import patience, soon
from websockets.asyncio.server import serve

from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.stream_events import Disconnected, Suspected, Unreadable
from crawler.streams import Streams
from crawler.venues.port import DiffHead, Limits, Reply, Shutdown
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, StartupError
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock

LIMITS = Limits(weight=6000, attempts=60, messages=5, streams=1024)
FIVE_MINUTES = 300.0


class ToyDecoder:
    """Frames are words: `diff SYMBOL FIRST LAST`, `tick SYMBOL ID`, `snap SYMBOL ID`, `ok ID`, `no ID`, `bye`."""

    decoded = 0

    def peek(self, frame):
        match frame.split():
            case [b"diff" | b"junk", symbol, _, last]:
                return DiffHead(symbol.decode(), int(last))
            case [b"tick", symbol, update_id]:
                return Ticker(symbol.decode(), int(update_id), frame, lambda _frame: Top(None, None))

    def decode(self, frame):
        self.decoded += 1
        match frame.decode().split():
            case ["diff" | "slowdiff", symbol, first, last]:
                return Diff(symbol, int(first), int(last), 1, [], [])
            case ["snap", symbol, update_id]:
                return Snapshot(symbol, int(update_id), [], [], True, True)
            case ["ok", number]:
                return Reply(int(number), None)
            case ["no", number]:
                return Reply(int(number), "too many requests")
            case ["bye"]:
                return Shutdown()
            case ["other"]:
                return None
        raise InvalidMarketData("junk")


class ToyVenue:
    name = "toy"
    ping_interval = 20.0
    snapshots_in_stream = False

    def __init__(self, *, max_age=86400.0, **limits):
        self.max_age = max_age
        self.limits = replace(LIMITS, **limits)

    def stream_address(self, url):
        return f"{url}/stream"

    def streams(self, symbol):
        return [f"{symbol}@diff", f"{symbol}@tick"]

    def subscription(self, names, request_id):
        return " ".join(["sub", str(request_id), *names])

    def decoder(self, symbols):
        return ToyDecoder()


class Socket:
    """One connection, by the exchange's hand."""

    def __init__(self, exchange, receiver):
        self.exchange = exchange
        self.receiver = receiver
        self.opened_at = exchange.clock.monotonic()
        self.names = []
        self.is_open = True
        self.is_paused = False
        self.waiting = []
        self.closed = asyncio.get_running_loop().create_future()

    def say(self, text):
        if self.is_open:
            self.waiting.append(text.encode())
            self.flush()

    def flush(self):
        while self.waiting and self.is_open and not self.is_paused:
            self.receiver.receive_frame(self.waiting.pop(0))

    def hang_up(self, reason="close code 1001"):
        if self.is_open:
            self.is_open = False
            self.closed.set_result(None)
            self.receiver.receive_end(reason)

    def send(self, text):
        _, number, *names = text.split()
        self.names += names
        self.exchange.sent.append((self.exchange.clock.monotonic(), self, names))
        asyncio.get_running_loop().call_soon(self.exchange.subscribed, self, int(number))

    def ping(self):
        if self.exchange.pongs and self.is_open:
            asyncio.get_running_loop().call_soon(self.receiver.receive_pong)

    def pause(self):
        self.is_paused = True

    def resume(self):
        self.is_paused = False
        self.flush()

    def close(self):
        if self.is_open:
            self.is_open = False
            self.closed.set_result(None)

    abort = close


class Exchange:
    """Opens sockets, grants subscriptions, answers pings; a test changes what it should not do."""

    def __init__(self):
        self.clock = ManualClock()
        self.sockets = []
        self.attempts = []
        self.sent = []
        self.refusal = None
        self.pongs = True
        self.replies = True

    async def open(self, address, receiver, *, proxy=None):
        assert address == "wss://toy/stream"
        self.attempts.append(self.clock.monotonic())
        if self.refusal:
            raise self.refusal
        self.sockets.append(Socket(self, receiver))
        return self.sockets[-1]

    def subscribed(self, socket, number):
        if self.replies:
            socket.say(f"ok {number}")

    @property
    def open_sockets(self):
        return [socket for socket in self.sockets if socket.is_open]

    def say(self, text):
        for socket in self.open_sockets:
            socket.say(text)


class Room:
    is_full = False

    def __init__(self):
        self.event = asyncio.Event()

    async def room(self):
        await self.event.wait()
        self.is_full = False
        self.event.clear()


class Desk:
    """Streams over an exchange, and the events that they pushed."""

    def __init__(self, exchange, symbols=("A",), *, venue=None, **options):
        self.exchange = exchange
        self.clock = exchange.clock
        self.events = []
        self.pause = Room()
        self.probed = []
        options = {
            "sink": self.events.append,
            "pause": self.pause,
            "back_off": partial(delays, Random(1)),
            "probe": answering(None),
        } | options
        self.streams = Streams(
            venue or ToyVenue(), "wss://toy", symbols, clock=self.clock, open_websocket=exchange.open, **options
        )

    def of(self, kind):
        return [event for event in self.events if type(event) is kind]


@asynccontextmanager
async def running(desk):
    run = asyncio.create_task(desk.streams.run())
    with structlog.testing.capture_logs() as desk.logs:
        await settle()
        try:
            yield
        finally:
            run.cancel()
            await asyncio.wait({run})
            if not run.cancelled():
                run.result()
    assert not desk.exchange.open_sockets


@pytest.fixture
def exchange():
    return Exchange()


def answering(*ids):
    """A REST that tells these ids, the last one for ever; it remembers who asked."""
    queue = list(ids)

    async def probe(symbol):
        probe.asked.append(symbol)
        return queue.pop(0) if len(queue) > 1 else queue[0]

    probe.asked = []
    return probe


async def every(clock, seconds, period, act):
    """Let so much time pass, and do something in each period."""
    for number in range(round(seconds / period)):
        act(number)
        await clock.advance(period)


async def test_both_connections_merge_into_one_stream_of_events(exchange):
    desk = Desk(exchange)
    async with running(desk):
        first, second = exchange.open_sockets
        assert first.names == second.names == ["A@diff", "A@tick"]
        exchange.say("diff A 1 2")
        second.say("diff A 3 4")
        first.say("diff A 3 4")
        exchange.say("tick A 4")
        exchange.say("other")
        assert [event.update_id for event in desk.of(Diff)] == [2, 4]
        assert [event.update_id for event in desk.of(Ticker)] == [4]
        assert desk.streams.repeats == 3
        assert desk.streams.open == 2


async def test_the_first_ticker_of_a_connection_is_told_unless_another_one_has_brought_what_is_before_it(exchange):
    desk = Desk(exchange)
    async with running(desk):
        first, second = exchange.open_sockets
        first.say("tick A 4")
        first.say("tick A 5")
        second.say("tick A 8")  # the first one is behind, and 6 and 7 may be on their way
        second.say("tick A 9")
        first.say("tick A 6")
        first.say("tick A 10")
        assert [(event.update_id, event.is_first) for event in desk.of(Ticker)] == [
            (4, True), (5, False), (8, True), (9, False), (10, False),
        ]  # fmt: skip


async def test_a_connection_that_begins_with_what_is_there_misses_nothing(exchange):
    desk = Desk(exchange)
    async with running(desk):
        first, second = exchange.open_sockets
        first.say("tick A 4")
        second.say("tick A 4")
        second.say("tick A 5")
        assert [(event.update_id, event.is_first) for event in desk.of(Ticker)] == [(4, True), (5, False)]


async def test_a_repeat_is_recognised_before_it_is_decoded(exchange):
    desk = Desk(exchange)
    async with running(desk):
        decoder = desk.streams._intake._decode.__self__
        before = decoder.decoded
        exchange.say("diff A 1 2")
        assert decoder.decoded == before + 1


async def test_a_frame_that_only_one_connection_brought_legibly_is_taken_from_it(exchange):
    desk = Desk(exchange)
    async with running(desk):
        first, second = exchange.open_sockets
        first.say("junk A 1 2")
        second.say("diff A 1 2")
        assert desk.events == [Unreadable("A", "junk", "junk A 1 2"), Diff("A", 1, 2, 1, [], [])]


async def test_diffs_that_cannot_be_told_at_a_glance_are_merged_too(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.say("slowdiff A 1 2")
        assert len(desk.of(Diff)) == 1
        assert desk.streams.repeats == 1


async def test_ids_that_restart_pass_after_twenty_repeats_whatever_the_connection(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.say("diff A 1 1000000")
        exchange.say("tick A 1000000")
        desk.events.clear()

        def say(number):
            exchange.say(f"diff A {number} {number}")
            exchange.say(f"tick A {number}")

        await every(desk.clock, 10.0, 0.1, lambda number: say(number + 1))
        assert [event.update_id for event in desk.of(Diff)] == list(range(21, 101)), "each once"
        assert [event.update_id for event in desk.of(Ticker)] == list(range(21, 101))
        await desk.clock.advance(60.0)
        assert len(exchange.sockets) == 2, "nobody lags behind ids of another age"


async def test_a_connection_that_falls_silent_as_ids_restart_is_found(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.say("diff A 1 1000000")
        alive = exchange.sockets[1]
        await every(desk.clock, 16.0, 0.1, lambda number: alive.say(f"diff A {number + 1} {number + 1}"))
        assert exchange.sockets[0].receiver.due.is_set()


async def test_after_a_loss_ids_may_restart_at_once(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.say("diff A 1 1000000")
        exchange.say("tick A 1000000")
        for socket in exchange.open_sockets:
            socket.hang_up()
        await desk.clock.advance(1.0)
        exchange.say("diff A 1 5")
        exchange.say("tick A 5")
        assert [event.update_id for event in desk.of(Diff)] == [1000000, 5]
        assert [event.update_id for event in desk.of(Ticker)] == [1000000, 5]


async def test_the_burst_of_a_connection_that_is_behind_costs_no_decoding(exchange):
    desk = Desk(exchange)
    async with running(desk):
        first, second = exchange.open_sockets
        for socket in (first, second):
            for number in range(1, 201):
                socket.say(f"diff A {number} {number}")
        assert len(desk.of(Diff)) == desk.streams.repeats == 200


async def test_a_reading_stop_stops_every_connection_and_nobody_is_silent_meanwhile(exchange):
    probe = answering(10**9)
    desk = Desk(exchange, ["A", "B"], probe=probe)
    async with running(desk):
        first, second = exchange.open_sockets
        desk.pause.is_full = True
        exchange.say("diff A 1 2")
        assert first.is_paused
        assert second.is_paused
        exchange.pongs = False
        await desk.clock.advance(300.0)
        assert len(exchange.sockets) == 2
        assert not probe.asked
        exchange.pongs = True
        first.say("diff A 3 4")
        assert len(desk.of(Diff)) == 1
        desk.pause.event.set()
        await settle()
        assert len(desk.of(Diff)) == 2
        assert not first.is_paused
        await desk.clock.advance(9.5)
        assert not probe.asked, "who did not read heard nothing: it counts from here"
        await desk.clock.advance(1.0)
        assert set(probe.asked) == {"A", "B"}


async def test_a_stop_that_follows_at_once_stops_again(exchange):
    def refill(event):
        desk.events.append(event)
        desk.pause.is_full = True

    desk = Desk(exchange, sink=refill)
    async with running(desk):
        first, second = exchange.open_sockets
        desk.pause.is_full = True
        first.say("diff A 1 2")
        first.say("diff A 3 4")
        second.say("diff A 3 4")

        desk.pause.event.set()
        await settle()
        assert len(desk.of(Diff)) == 2
        assert first.is_paused
        assert second.is_paused


@pytest.mark.parametrize("act", [lambda socket: socket.say("diff A 1 2"), lambda socket: socket.hang_up()])
async def test_a_fault_of_the_sink_ends_the_run(exchange, act):
    def sink(event):
        raise ZeroDivisionError

    desk = Desk(exchange, sink=sink, connections=1)
    with structlog.testing.capture_logs():
        run = asyncio.create_task(desk.streams.run())
        await settle()
        act(exchange.sockets[0])
        await asyncio.wait({run})
    assert isinstance(run.exception().exceptions[0], ZeroDivisionError)
    assert not exchange.open_sockets


# Subscriptions


async def test_names_go_in_as_many_messages_as_it_takes_at_the_pace_that_is_allowed(exchange):
    symbols = [f"S{number}" for number in range(250)]
    desk = Desk(exchange, symbols, connections=1)
    async with running(desk):
        assert desk.streams.open == 0
        await desk.clock.advance(1.0)
        assert desk.streams.open == 1
        assert [len(names) for _, _, names in exchange.sent] == [200, 200, 100]
        moments = [moment for moment, _, _ in exchange.sent]
        assert all(later - earlier >= 0.2 for earlier, later in pairwise(moments))


async def test_a_refused_second_subscription_ends_the_connection_which_is_tried_again_with_back_off(exchange):
    symbols = [f"S{number}" for number in range(150)]
    desk = Desk(exchange, symbols, connections=1)

    def subscribed(socket, number):
        socket.say(f"ok {number}" if number == 1 else f"no {number}")
        socket.say("diff S1 1 2")

    exchange.subscribed = subscribed
    async with running(desk):
        await desk.clock.advance(60.0)
        assert desk.streams.open == 0
        assert len(desk.streams.uncovered) == 150
        assert 10 < len(exchange.attempts) < 40
        waits = [later - earlier for earlier, later in pairwise(exchange.attempts)]
        assert max(waits) > 2.5, "with back-off"
        warnings = [entry for entry in desk.logs if entry["log_level"] == "warning"]
        assert len(warnings) == 1, "told once an outage"
        assert "too many requests" in warnings[0]["reason"]
        assert {event.symbols for event in desk.of(Disconnected)} == {tuple(symbols)}, "it had brought something"
        exchange.subscribed = Exchange.subscribed.__get__(exchange)
        await desk.clock.advance(6.0)
        assert desk.streams.open == 1


async def test_a_reply_that_does_not_come_ends_the_connection(exchange):
    exchange.replies = False
    desk = Desk(exchange, connections=1)
    async with running(desk):
        await desk.clock.advance(9.0)
        assert len(exchange.open_sockets) == 1
        await desk.clock.advance(1.0)
        assert not exchange.sockets[0].is_open
        assert any("no reply" in entry.get("reason", "") for entry in desk.logs)
        assert not desk.of(Disconnected), "it carried nothing"


async def test_six_hundred_symbols_are_spread_evenly_over_as_many_connections_as_they_need(exchange):
    symbols = [f"S{number}" for number in range(600)]
    desk = Desk(exchange, symbols)
    async with running(desk):
        await desk.clock.advance(3.0)
        assert desk.streams.open == 4
        assert desk.streams.uncovered == ()
        assert [len(socket.names) for socket in exchange.sockets] == [600] * 4
        carried = Counter(name for socket in exchange.sockets for name in socket.names)
        assert set(carried.values()) == {2}
        assert len(carried) == 1200


async def test_a_group_without_connection_loses_its_own_symbols_only(exchange):
    desk = Desk(exchange, ["A", "B", "C", "D"], venue=ToyVenue(streams=4), connections=1)
    async with running(desk):
        first, second = exchange.sockets
        exchange.refusal = ExchangeUnavailable("503")
        first.hang_up("close code 1006")
        assert desk.events == [Disconnected(("A", "C"), "close code 1006")]
        assert desk.streams.uncovered == ("A", "C")
        assert second.is_open


# Replacement


async def test_a_connection_is_replaced_before_it_is_cut_and_its_successor_stands_first(exchange):
    desk = Desk(exchange, venue=ToyVenue(max_age=600.0))
    async with running(desk):
        first, second = exchange.sockets
        half, whole = 600 * 0.95 / 2, 600 * 0.95
        await desk.clock.advance(half - 1)
        assert len(exchange.sockets) == 2
        await desk.clock.advance(2)
        assert len(exchange.sockets) == 3, "staggered in age"
        assert first.is_open
        assert second.is_open
        await desk.clock.advance(10)
        assert [first.is_open, second.is_open] == [False, True]
        await desk.clock.advance(whole - half)
        assert [socket.is_open for socket in exchange.sockets] == [False, False, True, True]
        assert desk.events == []
        assert desk.streams.open == 2
        assert desk.streams.reconnects == 0


async def test_an_announced_shutdown_brings_a_successor_at_once(exchange):
    desk = Desk(exchange, connections=1)
    async with running(desk):
        await desk.clock.advance(60)
        exchange.sockets[0].say("bye")
        await settle()
        assert len(exchange.open_sockets) == 2
        exchange.sockets[0].hang_up()
        await desk.clock.advance(60)
        assert desk.events == []
        assert len(exchange.sockets) == 2


async def test_an_old_connection_stays_while_its_successor_is_refused(exchange):
    desk = Desk(exchange, connections=1)
    async with running(desk):
        exchange.refusal = ExchangeUnavailable("503")
        exchange.sockets[0].say("bye")
        await desk.clock.advance(120)
        assert exchange.sockets[0].is_open
        exchange.refusal = None
        await desk.clock.advance(20)
        assert [socket.is_open for socket in exchange.sockets] == [False, True]
        assert desk.events == []


async def test_whoever_asks_gets_new_connections(exchange):
    desk = Desk(exchange, ["A", "B"], venue=ToyVenue(streams=2), connections=1)
    async with running(desk):
        desk.streams.renew("snapshot wanted", ["B"])
        await desk.clock.advance(12)
        assert [socket.is_open for socket in exchange.sockets] == [True, False, True]
        desk.streams.renew("snapshot wanted")
        await desk.clock.advance(12)
        assert [socket.is_open for socket in exchange.sockets] == [False, False, False, True, True]
        assert desk.events == []


async def test_where_events_cannot_be_merged_the_old_connection_goes_first(exchange):
    desk = Desk(exchange, venue=ToyVenue(connections=1))
    async with running(desk):
        assert len(exchange.sockets) == 1
        exchange.say("snap A 900")
        desk.streams.renew("checksum")
        await desk.clock.advance(1)
        exchange.say("snap A 5")
        exchange.say("diff A 6 6")
        assert [type(event) for event in desk.events] == [Snapshot, Disconnected, Snapshot, Diff]
        assert len(exchange.open_sockets) == 1


async def test_a_lost_connection_is_opened_again_and_nothing_is_missed_while_another_one_stands(exchange):
    desk = Desk(exchange)
    async with running(desk):
        await desk.clock.advance(60)
        exchange.sockets[0].hang_up()
        await desk.clock.advance(0.2)
        assert len(exchange.open_sockets) == 2
        assert desk.events == []
        assert desk.streams.reconnects == 1
        for socket in exchange.open_sockets:
            socket.hang_up()
        assert desk.of(Disconnected) == [Disconnected(("A",), "close code 1001")]


async def test_an_exchange_that_closes_each_thirty_seconds_is_asked_again_at_once_each_time(exchange):
    desk = Desk(exchange)

    def close(_number):
        for socket in exchange.open_sockets:
            if exchange.clock.monotonic() - socket.opened_at >= 30.0:
                socket.hang_up()

    async with running(desk):
        await every(desk.clock, 900, 0.5, close)
        assert 50 < len(exchange.attempts) < 65
        waits = [
            later - earlier for earlier, later in zip(exchange.attempts[::2], exchange.attempts[2::2], strict=False)
        ]
        assert max(waits) < 31.5, "each outage is the first"
        assert len(desk.of(Disconnected)) >= 25


EXCHANGES = {
    "refuses": lambda exchange: setattr(exchange, "refusal", ExchangeUnavailable("answered 503")),
    "hangs up at once": lambda exchange: setattr(exchange, "subscribed", lambda socket, _: socket.hang_up()),
    "says yes and hangs up": lambda exchange: setattr(
        exchange, "subscribed", lambda socket, number: (socket.say(f"ok {number}"), socket.hang_up())
    ),
    "refuses the subscription": lambda exchange: setattr(
        exchange, "subscribed", lambda socket, number: socket.say(f"no {number}")
    ),
}


@pytest.mark.parametrize("fault", EXCHANGES.values(), ids=EXCHANGES.keys())
@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.rounds), 4])
async def test_the_exchange_is_never_asked_for_more_connections_than_it_allows(exchange, fault, number):
    fault(exchange)
    desk = Desk(exchange, connections=number)
    async with running(desk):
        await desk.clock.advance(400)  # longer than five minutes
    attempts = exchange.attempts
    assert len(attempts) > 100, "it does not give up either"
    for start, begin in enumerate(attempts):
        assert bisect_left(attempts, begin + FIVE_MINUTES) - start <= 5 * LIMITS.attempts
    assert desk.streams.open == 0


async def test_a_share_of_the_address_is_a_share_of_the_attempts(exchange):
    exchange.refusal = ExchangeUnavailable("answered 503")
    desk = Desk(exchange, address_share=0.1)
    async with running(desk):
        await desk.clock.advance(600)
    assert 30 < len(exchange.attempts) <= 60


async def test_a_refusal_for_good_ends_the_run_with_one_error(exchange):
    exchange.refusal = StartupError("451")
    desk = Desk(exchange)
    with structlog.testing.capture_logs(), pytest.raises(StartupError):
        await desk.streams.run()


async def test_at_the_end_of_a_recording_the_run_ends_and_nobody_is_judged(exchange):
    probe = answering(1, 10**9)
    desk = Desk(exchange, reconnect=False, probe=probe)
    with structlog.testing.capture_logs():
        run = asyncio.create_task(desk.streams.run())
        await settle()
        exchange.sockets[0].say("diff A 1 2")
        await desk.clock.advance(600)
        assert not probe.asked
        for socket in exchange.sockets:
            socket.hang_up("close code 1000")
        await soon(run)
    assert len(exchange.sockets) == 2
    assert desk.of(Disconnected) == [Disconnected(("A",), "close code 1000")]


# Liveness


async def test_a_dead_link_is_found_within_forty_seconds_whatever_the_market_does(exchange):
    desk = Desk(exchange, connections=1)
    async with running(desk):
        await desk.clock.advance(100.5)
        exchange.pongs = False
        await desk.clock.advance(40)
        assert not exchange.sockets[0].is_open
        assert desk.of(Disconnected) == [Disconnected(("A",), "no pong within 20 s")]


async def test_two_connections_that_are_silent_from_the_start_are_found_by_a_question(exchange):
    """Acknowledged, pings answered, and not a frame: as Binance's servers were for fourteen hours."""
    probe = answering(100, 101, 102)
    desk = Desk(exchange, probe=probe)
    async with running(desk):
        await desk.clock.advance(30)
        assert desk.of(Suspected) == [Suspected(("A",), "stall")]
        assert len(exchange.sockets) == 4
        assert [socket.is_open for socket in exchange.sockets] == [False, False, True, True]


async def test_two_connections_that_fall_silent_later_are_found_by_a_question(exchange):
    probe = answering(10**6)
    desk = Desk(exchange, probe=probe)
    async with running(desk):
        await every(desk.clock, 120, 0.5, lambda number: exchange.say(f"diff A {number} {number}"))
        assert not probe.asked
        silent_since = desk.clock.monotonic()
        await desk.clock.until(lambda: desk.of(Suspected), within=15.0, step=0.5)
        assert desk.clock.monotonic() - silent_since <= 13
        await desk.clock.advance(11)
        assert [socket.is_open for socket in exchange.sockets] == [False, False, True, True]
        assert not desk.of(Disconnected)


async def test_a_stall_that_new_connections_do_not_end_is_asked_about_less_and_less(exchange):
    asked = []

    async def probe(symbol):
        asked.append(symbol)
        return 10 * len(asked)

    desk = Desk(exchange, probe=probe)
    async with running(desk):
        await desk.clock.advance(3600)
        assert len(exchange.sockets) < 30
        assert len(desk.of(Suspected)) > 5


async def test_a_quiet_market_costs_nothing_but_a_question_each_ten_minutes(exchange):
    probe = answering(7)
    desk = Desk(exchange, probe=probe)
    async with running(desk):
        exchange.say("diff A 6 7")
        await desk.clock.advance(3600)
        assert len(exchange.sockets) == 2
        assert len(desk.events) == 1
        assert len(probe.asked) < 12


async def test_fifteen_minutes_with_eight_bursty_thin_symbols_open_two_connections(exchange):
    symbols = [f"DUST{number}" for number in range(8)]
    random, ids, bursts = Random(1), Counter(), dict.fromkeys(symbols, 0.0)

    async def probe(symbol):
        probe.asked += 1
        return ids[symbol]

    probe.asked = 0
    desk = Desk(exchange, [*symbols, "BTC"], probe=probe)

    def trade(_number):
        now = desk.clock.monotonic()
        for symbol in ["BTC", *symbols]:
            if symbol == "BTC" or now >= bursts[symbol]:
                ids[symbol] += 1
                for socket in random.sample(exchange.open_sockets, 2):
                    socket.say(f"diff {symbol} {ids[symbol]} {ids[symbol]}")
            if symbol != "BTC" and now >= bursts[symbol] and random.random() < 0.1:
                bursts[symbol] = now + random.expovariate(1 / 40)

    async with running(desk):
        await every(desk.clock, 900, 0.25, trade)
        assert len(exchange.sockets) == 2
        assert len(desk.of(Diff)) == len(desk.events) == ids.total()
        assert probe.asked < 150


async def test_a_connection_that_misses_what_the_other_one_brings_is_replaced(exchange):
    desk = Desk(exchange, ["A", "B"])
    async with running(desk):
        deaf, whole = exchange.sockets

        def trade(number):
            exchange.say(f"diff A {number} {number}")
            for socket in exchange.open_sockets:
                if socket is not deaf:
                    socket.say(f"diff B {number} {number}")

        await every(desk.clock, 11, 0.5, trade)
        assert len(exchange.open_sockets) == 3, "the successor stands before the old one goes"
        await every(desk.clock, 60, 0.5, lambda number: trade(100 + number))
        assert not deaf.is_open
        assert whole.is_open
        assert len(exchange.sockets) == 3
        assert not desk.of(Disconnected)


async def test_a_connection_that_is_five_seconds_late_is_not_replaced(exchange):
    desk = Desk(exchange)
    async with running(desk):
        fast, slow = exchange.sockets

        def trade(number):
            fast.say(f"diff A {number} {number}")
            if number > 10:
                slow.say(f"diff A {number - 10} {number - 10}")

        await every(desk.clock, 300, 0.5, trade)
        assert len(exchange.sockets) == 2


async def test_a_symbol_that_comes_late_on_each_connection_does_not_replace_them_for_ever(exchange):
    desk = Desk(exchange, ["A", "B"])
    async with running(desk):
        whole = exchange.sockets[0]

        def trade(number):
            exchange.say(f"diff A {number} {number}")
            whole.say(f"diff B {number} {number}")

        await every(desk.clock, 1200, 1.0, trade)
        assert len(exchange.sockets) < 10


async def test_a_halted_symbol_is_not_asked_for(exchange):
    probe = answering(7)
    desk = Desk(exchange, ["A", "B"], probe=probe)
    async with running(desk):
        desk.streams.set_quiet(["A"])
        await desk.clock.advance(300)
        assert set(probe.asked) == {"B"}
        desk.streams.set_quiet([])
        await desk.clock.advance(1)
        assert "A" in probe.asked


@pytest.mark.parametrize("answer", [None, ExchangeUnavailable("503"), InvalidMarketData("unknown")])
async def test_a_question_that_cannot_be_asked_proves_nothing(exchange, answer):
    async def probe(symbol):
        if answer:
            raise answer

    desk = Desk(exchange, probe=probe)
    async with running(desk):
        await desk.clock.advance(300)
        assert len(exchange.sockets) == 2
        assert desk.events == []


async def test_few_questions_are_under_way_at_once(exchange):
    under_way, most = 0, 0
    asked = set()

    async def probe(symbol):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        asked.add(symbol)
        await exchange.clock.sleep(0.3)
        under_way -= 1
        return 7

    desk = Desk(exchange, [f"S{number}" for number in range(40)], probe=probe)
    async with running(desk):
        await desk.clock.advance(40)
    assert most == 4
    assert len(asked) == 40


async def test_without_anybody_to_ask_a_long_silence_makes_connections_due_less_and_less(exchange):
    desk = Desk(exchange, venue=ToyVenue(connections=1), probe=None)
    async with running(desk):
        await desk.clock.advance(59)
        assert len(exchange.sockets) == 1
        await desk.clock.advance(3)
        assert len(exchange.sockets) == 2
        await desk.clock.advance(3600)
        assert len(exchange.sockets) == 6


async def test_after_an_outage_a_quiet_symbol_is_no_stall(exchange):
    probe = answering(50)
    desk = Desk(exchange, probe=probe)
    async with running(desk):
        exchange.say("diff A 6 7")
        exchange.refusal = ExchangeUnavailable("503")
        for socket in exchange.open_sockets:
            socket.hang_up()
        await desk.clock.advance(600)
        exchange.refusal = None
        await desk.clock.advance(120)
        assert probe.asked
        assert not desk.of(Suspected)


# Symbols that come and go


async def test_a_symbol_that_comes_is_asked_for_on_the_connections_that_stand(exchange):
    desk = Desk(exchange)
    async with running(desk):
        desk.streams.follow(["A", "B"])
        await exchange.clock.advance(1.0)
        assert [socket.names for socket in exchange.sockets] == [["A@diff", "A@tick", "B@diff", "B@tick"]] * 2
        exchange.say("diff B 1 2")
        exchange.say("diff A 1 7")
        assert [(event.symbol, event.update_id) for event in desk.of(Diff)] == [("B", 2), ("A", 7)]
        assert (desk.streams.open, desk.streams.reconnects, desk.streams.uncovered) == (2, 0, ())


async def test_a_symbol_that_comes_while_a_connection_is_being_made_is_on_it_too(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.replies = False
        exchange.open_sockets[0].hang_up()
        await exchange.clock.advance(5.0)
        desk.streams.follow(["A", "B"])
        exchange.replies = True
        for socket in exchange.open_sockets:
            socket.say("ok 1")
        await exchange.clock.advance(5.0)
        assert [socket.names for socket in exchange.open_sockets] == [["A@diff", "A@tick", "B@diff", "B@tick"]] * 2


async def test_a_symbol_that_comes_is_on_every_later_connection_from_the_start(exchange):
    desk = Desk(exchange)
    async with running(desk):
        desk.streams.follow(["A", "B"])
        await exchange.clock.advance(20.0)
        exchange.open_sockets[0].hang_up()
        await exchange.clock.advance(20.0)
        assert exchange.sockets[-1].names == ["A@diff", "A@tick", "B@diff", "B@tick"]


async def test_a_refusal_of_one_more_symbol_ends_the_connection_that_is_made_again_with_all(exchange):
    desk = Desk(exchange)
    async with running(desk):
        exchange.replies = False
        desk.streams.follow(["A", "B"])
        await exchange.clock.advance(1.0)
        first, second = exchange.open_sockets
        first.say("no 2")
        second.say("ok 2")
        exchange.replies = True
        await exchange.clock.advance(20.0)
        assert not first.is_open
        assert second.is_open
        assert exchange.sockets[-1].names == ["A@diff", "A@tick", "B@diff", "B@tick"]


async def test_what_does_not_fit_on_the_connections_that_stand_gets_its_own(exchange):
    desk = Desk(exchange, ["A", "B"], venue=ToyVenue(streams=6))
    async with running(desk):
        desk.streams.follow(["A", "B", "C", "D", "E"])
        await exchange.clock.advance(5.0)
        symbols = [sorted({name[0] for name in socket.names}) for socket in exchange.open_sockets]
        assert sorted(symbols) == [["A", "B", "C"], ["A", "B", "C"], ["D", "E"], ["D", "E"]]
        assert desk.streams.open == 4
        assert desk.streams.uncovered == ()


async def test_one_that_is_let_go_is_not_missed_and_the_others_go_on(exchange):
    desk = Desk(exchange, ["A", "B"], probe=answering(9))
    async with running(desk):
        desk.streams.follow(["A"])
        await every(exchange.clock, 60, 1.0, lambda number: exchange.say(f"diff A {number} {number}"))
        assert desk.streams._stalls._probe.asked == []
        assert len(exchange.sockets) == 2
        exchange.open_sockets[0].hang_up()
        await exchange.clock.advance(20.0)
        assert exchange.sockets[-1].names == ["A@diff", "A@tick"]


async def test_a_group_without_symbols_ends_and_the_run_goes_on(exchange):
    desk = Desk(exchange)
    async with running(desk):
        desk.streams.follow([])
        await exchange.clock.advance(60.0)
        assert exchange.open_sockets == []
        assert desk.of(Disconnected) == []
        desk.streams.follow(["B"])
        await exchange.clock.advance(1.0)
        assert [socket.names for socket in exchange.open_sockets] == [["B@diff", "B@tick"]] * 2


async def test_an_answer_about_one_that_was_let_go_meanwhile_is_passed_over(exchange):
    asked = asyncio.Event()

    async def probe(symbol):
        asked.set()
        await exchange.clock.sleep(5.0)
        return 5

    desk = Desk(exchange, ["A", "B"], probe=probe)
    async with running(desk):
        await every(exchange.clock, 12, 1.0, lambda number: exchange.say(f"diff A {number} {number}"))
        assert asked.is_set()
        desk.streams.follow(["A"])
        await every(exchange.clock, 10, 1.0, lambda number: exchange.say(f"diff A {number} {number + 20}"))
        assert desk.streams.open == 2


async def test_a_real_server_that_carries_1024_streams_a_connection_grants_all_of_six_hundred_symbols():
    refused = 0

    async def handler(connection):
        nonlocal refused
        carried = 0
        async for text in connection:
            _, number, *names = text.split()
            carried += len(names)
            refused += carried > 1024
            await connection.send(f"no {number}" if carried > 1024 else f"ok {number}")
            for name in names:
                symbol, _, kind = name.partition("@")
                if kind == "diff":
                    await connection.send(f"diff {symbol} 1 2")

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        events, changed = [], asyncio.Event()

        def sink(event):
            events.append(event)
            changed.set()

        streams = Streams(
            ToyVenue(),
            f"ws://127.0.0.1:{port}",
            [f"S{number}" for number in range(600)],
            sink=sink,
            pause=Room(),
            clock=SystemClock(),
            back_off=partial(delays, Random(1)),
        )
        run = asyncio.create_task(streams.run())
        async with patience():
            while len(events) < 600 or streams.open < 4:
                changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), 0.1)
        run.cancel()
        await asyncio.wait({run})
    assert not refused
    assert len({event.symbol for event in events}) == len(events) == 600
    assert streams.uncovered == ()


async def test_an_exchange_that_announces_each_end_at_once_is_not_asked_without_pause(exchange):
    desk = Desk(exchange, connections=1)

    def subscribed(socket, number):
        socket.say(f"ok {number}")
        socket.say("bye")

    exchange.subscribed = subscribed
    async with running(desk):
        await desk.clock.advance(60)
        assert len(exchange.attempts) < 25
        assert desk.of(Disconnected) == []
