"""The feeds of two crawlers, what stands behind them, and a market that knows the truth: no sockets, one driven clock.

Faults fall on what either is sent; either is killed, stopped, or loses its state. All that they publish goes through
the converter's and the storer's rules into a store, as lines of messages. A seed repeats a world, and its story.
"""

from collections import deque
from random import Random

from converter.app import Counters, _Converter, _pricer
from converter.settings import ConverterSettings
from crawler.book.feed import Feed
from crawler.book.publication import Confirmed
from fairprice.gaps import uncovered
from fairprice.messages import Book, Gap, Start, encode
from simulator import Exchange, Fault, Knobs
from storer.audit.examine import examine
from storer.measurements import book_queue_points, price_points
from storer.settlement import LONGEST, Settled, Settlement
from storer.starts import Starts
from storer.stores.port import NEVER
from tests.clocks import ManualClock
from tests.faults.test_books_survive_faults import FAULTS, WINDOW, Client, random_fault
from tests.soak.verdict import DEFECTS

VENUE = "binance"
BUSY, THIN = "BTCUSDT", "币安人生USDT"
"""Symbols; one does not move between the cuts of two stream servers."""

WORLDS = ((BUSY, (0.0,)), (BUSY, (0.0,)), (BUSY, (0.0, 50.0)), (THIN, (0.0, 50.0)))
"""Symbols, and how many milliseconds later than the first each stream server cuts its diffs."""

ID_RESET = 10**7
"""How much lower ids are that begin anew: more than there are in what the exchange remembers."""

SAVE = 10
"""Windows between two saves of a crawler's state."""

BLOWS = {"fault": 12, "late": 3, "lag": 2, "away": 2, "kill": 3, "stop": 1, "jam": 2, "merge": 2, "id_reset": 1}
"""What goes wrong, and how often beside the others."""

FALLING = [kind for kind in FAULTS if kind not in {"clock", "id_reset"}]
"""Faults of single frames and replies; ids begin anew for both, and a wrong time is a wrong key."""


class Twin(Client):
    """One crawler's feed, in as many lives as it has, and what is not yet at the broker when it is killed."""

    def __init__(self, name, symbol, server, exchange):
        self.name, self.symbol, self._server = name, symbol, server
        self.saved = self._confirmed = None
        super().__init__(name, symbols=(symbol,), exchange=exchange)
        self.outbox = deque()
        self.is_up = False
        self.lags_until = self.jammed_until = 0
        self.late_by = 0
        self._lagging, self._late = [], []
        self.start()

    def new_feed(self, symbol):
        return Feed(VENUE, symbol, self.name, levels=20, confirmed=self.saved, tells_start=True)

    @property
    def feed(self):
        return self.feeds[self.symbol]

    def connect(self):
        self._edge = self.exchange.edge()

    def start(self):
        self.feeds = {self.symbol: self.new_feed(self.symbol)}
        self.asked, self.replies, self._lagging, self._late = [], [], [], []
        self.offline_until = self.lags_until = self.late_by = 0
        self._confirmed = self.saved
        self.connect()
        self.is_up = True

    def kill(self):
        """End it with nothing said any more."""
        self.outbox.clear()
        self.is_up = False

    def stop(self):
        self.take(self.feed.end())
        self.outbox.extend(self.feed.take_audits(at_end=True))
        self.is_up = False

    def save(self):
        self.saved = self._confirmed

    def see(self, frames, now):
        """Take what its stream server sends in a window, as far as the line brings it."""
        mine = (frame for frame in frames if frame.server in (None, self._server))
        sent = self._lagging + [each for frame in mine for each in self._edge.pass_on(frame)]
        self._lagging = []
        if now < self.lags_until:
            self._lagging, sent = sent, []
        if self.late_by and (diff := next((each for each in sent if getattr(each, "kind", "") == "depth"), None)):
            self._late.append((now + self.late_by * WINDOW, diff))
            self.late_by = 0
            sent.remove(diff)
        sent += [diff for due, diff in self._late if due <= now]
        self._late = [each for each in self._late if each[0] > now]
        self.live(sent, now)
        self.outbox.extend(self.feed.take_audits())

    def take(self, outputs):
        super().take([each for each in outputs if not isinstance(each, Start)])
        self.outbox.extend(each for each in outputs if isinstance(each, Book | Gap | Start))

    def deliver(self, count):
        """Yield the lines of its oldest events, which are confirmed by that."""
        for _ in range(min(count, len(self.outbox))):
            event = self.outbox.popleft()
            if isinstance(event, Book):
                self._confirmed = Confirmed(event.update_id, event.event_time)
            elif isinstance(event, Gap):
                self._confirmed = Confirmed(event.to_update_id, event.to_time)
            yield encode(event)


class World:
    """A market, two twins, a converter and a storer."""

    def __init__(self, seed, store):
        self.random = Random(f"two feeds {seed}")
        self.symbol, servers = self.random.choice(WORLDS)
        self.exchange = Exchange((self.symbol,), seed, knobs=Knobs(stream_servers_ms=servers))
        self.twins = [
            Twin(f"{name}{seed}", self.symbol, server % len(servers), self.exchange) for server, name in enumerate("ab")
        ]
        self._tick_ms = self.random.choice((1, 200, 300)) if len(servers) == 1 else 1
        self.story = [f"{self.symbol}, {len(servers)} stream servers, whose clock ticks each {self._tick_ms} ms"]
        self._store = store
        self._clock = ManualClock(self.exchange.now_us)
        settings = ConverterSettings()
        self._converter = _Converter(_pricer(settings), None, self._clock, self.random, Counters(), replay=True)
        self._starts = Starts(store, Settled(), clock=self._clock)
        self._settlement = Settlement(store, Settled(), clock=self._clock)
        self._lines, self._points, self._prices = deque(), [], []
        self._back = {}
        self._windows = 0

    def tell(self, what):
        self.story.append(f"{self._windows / 10:5.1f} s  {what}")

    # What happens

    async def live(self, windows, *, calm=False):
        for _ in range(windows):
            self._windows += 1
            if not calm and self.random.random() < 0.2:
                self._strike()
            now = self.exchange.now_us + WINDOW
            frames = [self._timed(frame) for frame in self.exchange.frames(now)]
            for twin in self.random.sample(self.twins, 2):
                self._pass_window(twin, frames, now)
            self._price(self.random.choice((1, 3, 100)))
            if self.random.random() < 0.02:
                await self._settle()

    def _timed(self, frame):
        """Give a diff the time that the exchange's clock shows, which may be that of the one before it."""
        if frame.kind != "depth" or self._tick_ms == 1:
            return frame
        event = frame.event()
        return frame.replaced(event | {"E": event["E"] // self._tick_ms * self._tick_ms})

    def _pass_window(self, twin, frames, now):
        if not twin.is_up and self._back.get(twin.name, 0) <= self._windows:
            twin.start()
            self.tell(f"{twin.name} starts, with {twin.saved}")
        if twin.is_up:
            twin.see(frames, now)
        if now >= twin.jammed_until:
            self._take(twin.deliver(self.random.choice((1, 2, 100, 100, 100))))
        if self._windows % SAVE == 0:
            twin.save()

    def _take(self, lines):
        for line in lines:
            self._lines.append(line)
            self._points += book_queue_points(line, levels=20, interval=1_000_000)

    def _price(self, count):
        for _ in range(min(count, len(self._lines))):
            for price in self._converter._price_line(self._lines.popleft()):
                self._prices += price_points(encode(price))

    async def _settle(self):
        """Store what has come, some of it once more, and look at starts and gaps."""
        for points in (self._points, self._prices):
            again = points[: self.random.randrange(len(points) + 1)]
            assert await self._store.write([*points, *again]) == []
            points.clear()
        await self._clock.advance(LONGEST)
        await self._starts.round()
        await self._settlement.settle(NEVER)

    def _strike(self):
        blow = self.random.choices([*BLOWS], [*BLOWS.values()])[0]
        twin = self.random.choice(self.twins)
        if twin.is_up:
            getattr(self, f"_{blow}")(twin, self.random.choice((1, 3, 10, 30)))

    def _fault(self, _twin, _windows):
        kind = self.random.choice(FALLING)
        fault = random_fault(self.random, kind, self.random.randrange(3))
        scope = self.random.choice(("one", "one", "all"))
        fault = Fault(kind, None, fault.count, fault.after, fault.variant, fault.seconds, scope=scope)
        self.exchange.inject(fault)
        self.tell(f"{kind} {fault.variant} {fault.seconds or ''} x {fault.count} behind {fault.after}, {scope}")

    def _merge(self, _twin, _windows):
        """Repeat ids and levels of the diffs before, and leave one out: who lacks it may get two in one."""
        self.exchange.inject(Fault("drop", scope="one"))
        self.exchange.inject(Fault("overlap", count=3, scope="one"))
        self.tell("a diff is lost, and repeated by the next ones")

    def _late(self, twin, windows):
        twin.late_by = windows
        self.tell(f"{twin.name}'s next diff is {windows} windows late")

    def _lag(self, twin, windows):
        twin.lags_until = self.exchange.now_us + windows * WINDOW
        self.tell(f"{twin.name} lags for {windows} windows")

    def _away(self, twin, windows):
        twin.offline_until = self.exchange.now_us + windows * WINDOW
        twin.connect()
        twin.take(twin.feed.expect_loss("disconnect"))
        self.tell(f"{twin.name} is not connected for {windows} windows")

    def _jam(self, twin, windows):
        twin.jammed_until = self.exchange.now_us + windows * WINDOW
        self.tell(f"the broker takes nothing of {twin.name} for {windows} windows")

    def _kill(self, twin, windows):
        twin.kill()
        self._leave(twin, windows, "is killed")

    def _stop(self, twin, windows):
        twin.stop()
        self._take(twin.deliver(len(twin.outbox)))
        twin.save()
        self._leave(twin, windows, "is stopped")

    def _leave(self, twin, windows, how):
        self._back[twin.name] = self._windows + windows
        if self.random.random() < 0.2:
            twin.saved = None
            how += ", loses its state"
        self.tell(f"{twin.name} {how}, for {windows} windows")

    def _id_reset(self, _twin, _windows):
        [frame, *_] = self.exchange.frames(self.exchange.now_us + WINDOW)
        self.exchange.board.reset_ids(frame, ID_RESET)
        self.tell("ids begin anew")

    # How it ends

    async def recover(self):
        """Go on without faults until both are in sync, and a little longer; store everything."""
        self.exchange.board.clear()
        await self.live(70, calm=True)  # until both are there again, and sure that old ids are not just late
        for _ in range(10):
            await self.live(10, calm=True)
            if not any(twin.out_of_sync for twin in self.twins):
                break
        for twin in self.twins:
            assert twin.out_of_sync == []
            assert twin.books[self.symbol][-1].update_id == twin.last_id[self.symbol]
            twin.stop()
            self._take(twin.deliver(len(twin.outbox)))
        self._price(len(self._lines))
        for _ in range(3):
            await self._settle()

    async def require_everything(self):
        """No hole that nothing tells, by the audit and by the exchange's own ids; no double, no contradiction."""
        account = await examine(self._store, (VENUE, self.symbol), 0, NEVER)
        wrong = [each for each in account.findings if each.kind in DEFECTS]
        assert not wrong, f"the audit finds {wrong}"
        rows = [self._true(*ids) async for _, *ids in self._rows("fair_price", "first_update_id", "update_id")]
        told = [self._true(*ids) async for _, *ids in self._rows("gap", "from_update_id", "to_update_id")]
        first, last = min(first for first, _ in rows), max(last for _, last in rows)
        missing = uncovered(first, last, [*rows, *told])
        assert not missing, f"{missing} of the ids {first} to {last} are in no row and no gap"
        newest = max(self._market_id(twin.last_id[self.symbol]) for twin in self.twins)
        assert last == newest, f"the last row is {last}, not {newest}"

    def _rows(self, measurement, *fields):
        return self._store.rows(measurement, fields, VENUE, self.symbol, 0, NEVER)

    def _true(self, first, last):
        """Return a range in the ids of the market, which never begin anew."""
        if first <= last:
            end = self._market_id(last)
            return end - (last - first), end
        return self._market_id(first - 1) + 1, self._market_id(last)

    def _market_id(self, update_id):
        market = self.exchange._feed(self.symbol).market
        shifts = (0, *self.exchange.board.id_shifts.get(self.symbol, ()))
        return next(update_id + shift for shift in shifts if market.knows(update_id + shift))
