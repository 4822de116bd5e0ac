"""One soak: the exchange on real sockets, which knows the truth, and blows that fall on it and on the services."""

import asyncio
import resource
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from fairprice.broker.port import Subscription
from fairprice.broker.retry import consume
from fairprice.messages import Book, Gap, Level, decode
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from simulator import Knobs, SimulatorServer
from storer.audit.examine import examine, keys
from tests.soak.blows import FREEZE, HALT, KILL, Blow, blows, kinds
from tests.soak.remembered import LEVELS, Remembered
from tests.soak.stage import TRUTH, Market, Stage
from tests.soak.verdict import Seen, so_far
from tests.truth import known

HALTED = 5.0
"""Seconds that a symbol does not trade, and that a service that was killed or is frozen is away."""

LOOK = 0.2
"""Seconds between two looks at what is in sync."""

LOOK_ELSEWHERE = 5.0
"""The same for memory and queues."""

TELL = 60.0
"""Seconds between two lines of what has been seen so far."""

REST = 150.0
"""Seconds in which everything has to be well again; a crawler that is refused by 403 asks nothing for a minute."""

STRUCK = 30
"""Blows that are told beside a wrong book, as far as they fell on its symbol."""

PING_INTERVAL = 5.0
"""Seconds of the exchange, which has twenty: here connections do not live that long, and pings are to be missed."""


class Soak:
    """One run: everything that is under way in it.

    `pause` is the seconds between two blows, in the mean; the markets live `pace` times as fast as the clock. How it
    goes is told now and then.
    """

    def __init__(
        self,
        stage: Stage,
        symbols: tuple[str, ...],
        random: Random,
        *,
        pause: float,
        pace: float,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.seen = Seen(kinds(can_freeze=stage.can_freeze))
        self._stage = stage
        self._symbols = symbols
        self._random = random
        self._pause = pause
        self._pace = pace
        self._tell = tell
        self._clock = SystemClock()
        knobs = Knobs(time_scale=pace, ping_interval_s=PING_INTERVAL)
        self._market = Remembered(symbols, random.randrange(10**6), start_us=self._clock.wall(), knobs=knobs)
        self._server = SimulatorServer(self._market, at_present=True)
        self._away: set[str] = set()
        self._struck: deque[Blow] = deque(maxlen=STRUCK)
        self._out_since: dict[tuple[str, str], float] = {}

    async def run(self, seconds: float) -> Seen:
        """Strike for so long, come to rest, and judge what is stored."""
        async with self._server, asyncio.TaskGroup() as self._tasks:
            await self._stage.start(Market(self._server.rest_url, self._server.stream_url, self._symbols))
            watching = [self._tasks.create_task(each) for each in (self._compare(), self._watch())]
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._strike()
            await self._come_to_rest()
            for watch in watching:
                watch.cancel()
        await self._judge()
        return self.seen

    # What goes wrong

    async def _strike(self) -> None:
        for blow in blows(self._random, self._symbols, self._stage.victims, self.seen.kinds):
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._pause)
            self._struck.append(blow)
            if blow.kind == HALT:
                self._tasks.create_task(self._halt(blow.symbol))
            elif blow.kind in {KILL, FREEZE} and blow.victim not in self._away:
                self._tasks.create_task(self._take_away(blow))
            for fault in blow.faults:  # whose seconds are the market's, unless they are a difference of clocks
                pace = 1.0 if fault.kind == "clock" else self._pace
                self._server.inject(replace(fault, seconds=(fault.seconds or 0.0) * pace))

    async def _halt(self, symbol: str) -> None:
        self.seen.happened[HALT] += 1
        self._market.set_status(symbol, self._market.dialect.halted)
        await asyncio.sleep(HALTED)
        self._market.set_status(symbol, "TRADING")

    async def _take_away(self, blow: Blow) -> None:
        name, stage = blow.victim, self._stage
        self.seen.happened[blow.kind] += 1
        self._away.add(name)
        if blow.kind == FREEZE:
            await stage.freeze(name)
        else:
            await self._note_resyncs(name)
            await stage.kill(name)
        await asyncio.sleep(HALTED)
        await (stage.thaw if blow.kind == FREEZE else stage.restart)(name)
        self._away.remove(name)

    # What is looked at

    async def _compare(self) -> None:
        subscribe = partial(self._stage.broker.subscribe, TRUTH, 1000)
        back_off = partial(delays, self._random)
        await consume(subscribe, self._compare_events, back_off, asyncio.Event(), self._clock, queue=TRUTH)

    async def _compare_events(self, subscription: Subscription) -> bool:
        deliveries = await subscription.receive(50)
        for delivery in deliveries:
            for event in decode(delivery.message.body):
                if isinstance(event, Book):
                    self._compare_book(event)
                self.seen.gaps += isinstance(event, Gap)
        if deliveries:
            await deliveries[-1].ack(multiple=True)
        await asyncio.sleep(0)  # let the exchange go on
        return bool(deliveries)

    def _compare_book(self, book: Book) -> None:
        self.seen.books += 1
        try:
            truth = self._market.book_at(book.symbol, book.update_id, LEVELS)
        except LookupError:
            return
        self.seen.compared += 1
        for side, published, true in zip(("bid", "ask"), (book.bids, book.asks), known(truth, book), strict=True):
            if difference := first_difference(published, true[:LEVELS]):
                struck = ", ".join(str(each) for each in self._struck if each.falls_on(book.symbol))
                which = f"{book.symbol} {book.update_id} of {book.crawler}"
                self.seen.wrong.append(f"{which}: {side} {difference}, after {struck}")
                return

    async def _watch(self) -> None:
        began = self._clock.monotonic()
        look_elsewhere, tell = 0.0, TELL
        while True:
            now = self._clock.monotonic()
            for name in self._stage.crawlers:
                if name not in self._away:
                    self._note_sync(name, set(await self._stage.out_of_sync(name)), now)
            if (seconds := now - began) >= look_elsewhere:
                look_elsewhere = seconds + LOOK_ELSEWHERE
                memory = {"exchange and soak": resident_mb(), **self._stage.megabytes()}
                self.seen.note(seconds, memory, await self._stage.depths())
            if seconds >= tell:
                tell = seconds + TELL
                self._tell(f"{seconds / 60:4.0f} min: {so_far(self.seen)}")
            await asyncio.sleep(LOOK)

    def _note_sync(self, name: str, waiting: set[str], now: float) -> None:
        for symbol in self._symbols:
            key = name, symbol
            if symbol in waiting:
                self._out_since.setdefault(key, now)
            elif key in self._out_since:
                self.seen.spells.append(now - self._out_since.pop(key))

    async def _note_resyncs(self, name: str) -> None:
        if name in self._stage.crawlers:
            self.seen.resyncs += await self._stage.resyncs(name)

    # How it ends

    async def _come_to_rest(self) -> None:
        self._server.source.board.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(REST):
                await asyncio.sleep(HALTED + 1)
                while self._away or self._out_since:  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(LOOK)
                await asyncio.sleep(2)
        self.seen.not_current = sorted({symbol for _, symbol in self._out_since})
        for name in self._stage.crawlers:
            await self._note_resyncs(name)
        await self._stage.finish()
        self.seen.happened.update(self._server.source.board.fired)
        self.seen.breaches = dict(self._server.limits.breaches)

    async def _judge(self) -> None:
        end = max(self._clock.wall(), self._market.now_us) + 10**9
        async with self._stage.reader() as reader:
            for key in await keys(reader, 0, end):
                self.seen.accounts[key[1]] = await examine(reader, key, 0, end)


def first_difference(published: Sequence[Level], true: Sequence[Level]) -> str:
    """Say which level of a side is not as it is in truth, nothing where all are."""
    for number, level in enumerate(true):
        shown = published[number] if number < len(published) else None
        if shown != level:
            return f"{number + 1} is {shown}, in truth {level}"
    return ""


def resident_mb() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() / 1e6
