"""Two crawlers over real servers, struck in turn: no id is missing, no gap stays open, the page is never old."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from itertools import product
from random import Random
from statistics import median
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from forwarder import forwarding
from ledger import LEVELS, WHOLE, assert_book
from ports import free_port
from waiting import eventually

from fairprice.gaps import uncovered

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb, pytest.mark.rounds]  # minutes each: by hand

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")
"""Ten books a second each."""

LONGEST_AGE = 1.0
"""Seconds that a price on the page may be old, times as many as want to run for each processor."""

BEAT = 0.05
"""Seconds between two looks at the page; on a machine that is late they last longer."""

AWAY = (20, 300)
"""Rows of the other crawler that a blow lasts."""

LOOK = 0.5
"""Seconds between two comparisons with the truth, which is quick to tell of books that are new."""

LATE = 15_000_000
"""Microseconds that a row may be stored later than one of a later event, usually."""

LATEST = 120_000_000
"""The same, ever."""

SETTLED = 120
"""Seconds; gaps are looked at every thirty, and rows are audited when they are so old."""


class Twin:
    """A crawler with a folder of its own for its state, whose connections to exchange and broker can be cut."""

    def __init__(self, pipeline, name, stack):
        self.name = name
        self._pipeline = pipeline
        self._folder = pipeline.folder / name
        self._ports = {free_port(): each for each in (pipeline.exchange.url.split("//")[1], pipeline.host.broker.host)}
        self._lines = stack.enter_context(ExitStack())
        exchange, broker = (f"127.0.0.1:{port}" for port in self._ports)
        self._connect()
        self._service = pipeline.start(
            "crawler",
            FAIRPRICE_EXCHANGE_REST_URL=f"http://{exchange}",
            FAIRPRICE_EXCHANGE_STREAM_URL=f"ws://{exchange}",
            FAIRPRICE_BROKER_URL=pipeline.host.url_at(broker),
            FAIRPRICE_STATE_DIR=str(self._folder),
            FAIRPRICE_SYMBOLS=",".join(SYMBOLS),
            FAIRPRICE_STREAM_CONNECTIONS="2",
            FAIRPRICE_ADDRESS_SHARE="0.5",
        )

    def _connect(self):
        for port, target in self._ports.items():
            self._lines.enter_context(forwarding(port, target))

    def kill(self, away):
        self._service.kill()
        away()
        self._service.start()

    def freeze(self, away):
        self._service.freeze()
        away()
        self._service.thaw()

    def cut(self, away):
        self._lines.close()
        away()
        self._connect()

    def until_in_sync(self, truth):
        """Wait until the broker has its books of everything that the exchange has sent up to now."""
        ids = self._pipeline.exchange.status()["update_ids"]
        truth.compare_until(lambda: self._service.problems() == {}, lambda: f"{self.name}: {self._service.problems()}")
        truth.compare_until(lambda: self._has_published(ids), lambda: f"{self.name} stays behind {ids}")

    def _has_published(self, ids):
        """Tell from the file in which it notes each second how far the broker has its books."""
        noted = json.loads(next(self._folder.glob("*.json")).read_text())
        return all(symbol in noted and noted[symbol]["update_id"] >= ids[symbol] for symbol in SYMBOLS)

    def stop(self):
        self._service.stop()


class Page(threading.Thread):
    """Looks at the prices that a gateway shows, all the time; what a machine lets it look at late counts less."""

    def __init__(self, gateway):
        super().__init__()
        self.oldest = 0.0
        """The greatest age that was told."""
        self.stillest = 0
        """For how many looks in a row a price of an event stayed the newest of its symbol."""
        self.crowd = 1.0
        """The most that wanted to run for each processor, in the mean of a minute."""
        self._url = f"{gateway.url}/api/prices"
        self._is_over = threading.Event()

    def run(self):
        shown, looks = {}, defaultdict(int)
        while not self._is_over.wait(BEAT):
            self.crowd = max(self.crowd, os.getloadavg()[0] / os.cpu_count())
            with urlopen(self._url) as answer:
                for price in json.loads(answer.read()):
                    symbol, newest = price["symbol"], price["update_id"]
                    looks[symbol] = looks[symbol] + 1 if shown.get(symbol) == newest else 0
                    shown[symbol] = newest
                    self.oldest = max(self.oldest, price["feed"]["age_seconds"])
                    self.stillest = max(self.stillest, looks[symbol])

    @contextmanager
    def watched(self):
        self.start()
        try:
            yield self
        finally:
            self._is_over.set()
            self.join()


def audit(pipeline):
    """Return what `storer audit --strict` says by now."""
    done = subprocess.run(
        [sys.executable, "-m", "storer", "audit", "--since", "all", "--strict", "--json"],
        env=pipeline.environ("storer"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    found = json.loads(done.stdout)
    return SimpleNamespace(code=done.returncode, stop=found["stop"], symbols=found["symbols"])


def missing(rows):
    """Return how many ids between the first and the last one no row has."""
    ranges = [(row["first_update_id"], row["update_id"]) for row in rows]
    return uncovered(min(ranges)[0], max(last for _, last in ranges), ranges)


class Truth:
    """Compares rows with the exchange's own books, again and again: it knows those of ten minutes."""

    def __init__(self, pipeline):
        self._pipeline = pipeline
        self._newest = 0
        self._tops = {}
        """Best bid with its size and best ask with its size by symbol and id."""

    def compare_until(self, condition, why):
        """Wait until it is so, and compare meanwhile."""
        eventually(lambda: self.compare_books() or condition(), why=why, pause=LOOK)

    def compare_until_more(self, number):
        """Wait until so many more prices are stored than now, and compare meanwhile."""
        wanted = self._pipeline.stored() + number
        self.compare_until(
            lambda: self._pipeline.stored() >= wanted, lambda: f"{self._pipeline.stored()}, not {wanted}"
        )

    def compare_books(self, *, at_end=False):
        """Fail unless every level of the books that were stored since is the exchange's."""
        rows = defaultdict(dict)
        for row in self._pipeline.rows("order_book", max(0, self._newest - (LATEST if at_end else LATE))):
            is_written = at_end or row.keys() >= WHOLE  # a row that is being written shows some of its fields
            if is_written and (row["symbol"], row["update_id"]) not in self._tops:
                rows[row["symbol"]][row["update_id"]] = row
            self._newest = max(self._newest, row["time"])
        for symbol, of_symbol in rows.items():
            for truth in self._pipeline.exchange.books(symbol, list(of_symbol), LEVELS):
                assert_book(of_symbol[truth["update_id"]], truth)
                best = truth["bids"][0] + truth["asks"][0]
                self._tops[symbol, truth["update_id"]] = [float(number) for number in best]

    def compare_prices(self, rows):
        """Fail unless these are the prices of the books that were compared, each id with one row and its own top."""
        assert Counter((row["symbol"], row["update_id"]) for row in rows) == Counter(self._tops.keys())
        for row in rows:
            top = [row[name] for name in ("bid", "bid_size", "ask", "ask_size")]
            assert (top, row["status"]) == (self._tops[row["symbol"], row["update_id"]], "ok")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("times", [2, 5])
def test_whatever_befalls_one_of_two_crawlers_nobody_notices(pipeline, times, capsys):
    pipeline.open_exchange("--symbols", ",".join(SYMBOLS))
    random = Random(times)
    for name in ("storer", "converter"):
        pipeline.start(name).until_ready()
    gateway = pipeline.start("gateway")
    with ExitStack() as stack:
        twins = {name: Twin(pipeline, name, stack) for name in "ab"}
        truth = Truth(pipeline)
        for twin in twins.values():
            twin.until_in_sync(truth)
        gateway.until_ready()
        blows = [*product("ab", ("kill", "freeze", "cut"))] * times
        random.shuffle(blows)
        recoveries, began = [], time.monotonic()
        with Page(gateway).watched() as page:
            for name, blow in blows:
                getattr(twins[name], blow)(lambda: truth.compare_until_more(random.randint(*AWAY)))
                ended = time.monotonic()
                for twin in twins.values():
                    twin.until_in_sync(truth)
                recoveries.append(time.monotonic() - ended)
        seconds = time.monotonic() - began
        for twin in twins.values():
            twin.stop()
    truth.compare_books(at_end=True)
    prices = pipeline.rows("fair_price")
    truth.compare_prices(prices)
    claims = eventually(
        lambda: (gaps := pipeline.rows("gap")) and not any(gap["open_ids"] for gap in gaps) and gaps,
        SETTLED, lambda: f"open: {[gap for gap in pipeline.rows('gap') if gap['open_ids']]}",
    )  # fmt: skip
    newest = max(row["time"] for row in prices)
    proof = eventually(lambda: (found := audit(pipeline)).stop > newest and found, SETTLED, pause=1)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(blows)} blows in {seconds:.0f} s at {len(prices) / seconds:.0f} rows/s: {len(prices)} rows true,"
            f" {len(claims)} gaps claimed; in sync after {median(recoveries):.1f} s, at most {max(recoveries):.1f};"
            f" oldest price on the page {page.oldest:.2f} s with {page.crowd:.1f} to run for each processor\n"
        )
    assert [missing([row for row in prices if row["symbol"] == symbol]) for symbol in SYMBOLS] == [0] * len(SYMBOLS)
    assert page.stillest * BEAT < LONGEST_AGE * page.crowd
    assert len(claims) >= len(blows), "whoever was struck has claimed what it missed"
    assert proof.code == 0, proof.symbols
    assert sum(symbol["rows"] for symbol in proof.symbols) == len(prices)
    assert not any(pipeline.exchange.status()["breaches"].values())
