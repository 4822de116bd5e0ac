"""The whole chain of one test: an exchange, the services, a virtual host, an organization of the database."""

import asyncio
import sys
import time
from contextlib import ExitStack
from subprocess import run
from urllib.error import HTTPError

from brokers import VirtualHost
from influx_server import new_org
from ledger import Ledger, witness
from processes import Exchange, Service
from waiting import eventually

CHAIN = ("storer", "converter", "gateway", "crawler")
QUEUES = {"converter": ("books.converter",), "storer": ("books.storer", "prices.storer")}
"""Whose work they are."""

SYMBOLS = "BTCUSDT,ETHUSDT"
SETTLED = 30
ENOUGH = 1000
"""Events a round, at least, so that none passes by doing nothing."""


class Pipeline:
    """Services run as their own users with least rights; everything that was started ends with `close`."""

    def __init__(self, broker, database, folder, capsys=None, *, is_witnessed=True):
        folder.mkdir()
        self.folder = folder
        self._capsys = capsys
        self._stack = ExitStack()
        self._services = []
        self.letters = 0
        """Dead letters that the test has provoked."""
        self.host = VirtualHost(broker, folder)
        self._stack.callback(self.host.close)
        self.org = self._stack.enter_context(new_org(database))
        self.token_file = folder / "token"
        self.provision()
        self.exchange = None
        if is_witnessed:
            asyncio.run(witness(self.host))

    def provision(self):
        """Let the product make buckets and the storer's token, which may do nothing but write."""
        environ = {
            "FAIRPRICE_STORE_URL": self.org.store_url,
            "FAIRPRICE_STORE_TOKEN": self.org.server.token,
            "FAIRPRICE_STORE_RETENTION": "none",  # the recording is years old
        }
        options = ["--storer-token-file", self.token_file, "--grafana-user", self.org.name]
        done = run(
            [sys.executable, "-m", "storer", "provision", *options],
            env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self._reader = self.org.make_token("read")

    def environ(self, name):
        user, password = self.host.users[name]
        environ = {
            "FAIRPRICE_BROKER_URL": self.host.url,
            "FAIRPRICE_BROKER_USER": user,
            "FAIRPRICE_BROKER_PASSWORD_FILE": str(password),
            "FAIRPRICE_STATE_DIR": str(self.folder / "state"),
            "FAIRPRICE_STREAM_CONNECTIONS": "1",
            "FAIRPRICE_SYMBOLS": SYMBOLS,
        }
        if name == "storer":
            environ |= {
                "FAIRPRICE_STORE_URL": self.org.store_url,
                "FAIRPRICE_STORE_TOKEN_FILE": str(self.token_file),
                "FAIRPRICE_STORE_BOOK_INTERVAL": "0s",
                "FAIRPRICE_STORE_TIMEOUT": "2s",
            }
        return environ | (self.exchange.environ if self.exchange else {})

    def open_exchange(self, *options):
        self.exchange = Exchange(self.folder / "simulator.log", *options)
        self._stack.callback(self.exchange.kill)

    def start(self, name, **environ):
        service = Service(name, self.environ(name) | environ, self.folder / f"{name}-{len(self._services)}.log")
        self._services.append(service)
        self._stack.callback(service.kill)
        return service

    def start_chain(self, **environs):
        """Run a fast exchange and one of each service, and wait until prices are stored; return the services by name.

        `environs` are settings beside the usual ones, by service.
        """
        self.open_exchange("--symbols", SYMBOLS, "--time-scale", "10")
        services = {name: self.start(name, **environs.get(name, {})) for name in CHAIN}
        self.wait_for_more(100)
        for service in services.values():
            service.until_ready()
        return services

    def rows(self, measurement, since=0):
        """Return the rows from a time on, in microseconds."""
        return self.org.rows(f'SELECT * FROM "{measurement}" WHERE time >= {since}u', token=self._reader)

    def stored(self):
        """Return how many prices are stored."""
        rows = self.org.rows("SELECT count(update_id) FROM fair_price", token=self._reader)
        return rows[0]["count"] if rows else 0

    def wait_for_more(self, number):
        """Wait until so many more prices are stored than now."""
        wanted = self.stored() + number
        eventually(lambda: self.stored() >= wanted, why=lambda: f"{self.stored()} prices stored, not {wanted}")

    def wait_until_settled(self):
        """Wait until those who ran have nothing left to do and under way, for so long that it is no old news."""
        since = time.monotonic()

        def is_settled():
            nonlocal since
            if self._unsettled():
                since = time.monotonic()
            return time.monotonic() > since + self.host.broker.hindsight

        eventually(is_settled, SETTLED, lambda: f"left behind: {self._unsettled()}")

    def finish(self):
        """Stop the crawler, let the others do what is left, and stop them."""
        services = sorted((each for each in self._services if each.is_running), key=lambda each: each.name != "crawler")
        for service in services:
            service.stop()
            if service.name == "crawler":
                self.wait_until_settled()

    def redelivered(self):
        """Return how many deliveries those who run now have had that somebody had before them."""
        names = ("converter", "storer")
        return sum(
            each.metric("broker_deliveries_total", time="again")
            for each in self._services
            if each.name in names and each.is_running
        )

    def assert_even(self, name, times="", *, again=0, raw_prices=0):
        """Fail unless the stored rows are exactly what was published; print the account and return the ledger.

        `again` are redeliveries, a number for the account like `times`: they are harmless. `raw_prices` are those that
        no converter made.
        """
        ledger = asyncio.run(Ledger.read(self.host))
        assert len(ledger.prices.keys() - ledger.books.keys()) == raw_prices
        stored, lost = ledger.compare(self.rows)
        account = {
            "sent": len(ledger.books) + raw_prices,
            "stored": stored,
            "lost": lost,
            "duplicated": ledger.repeated + round(again),
            "dead-lettered": self.letters,
        }
        with self._capsys.disabled():
            told = [*(f"{word} {number}" for word, number in account.items()), times]
            sys.stdout.write(f"\n{name}: {', '.join(filter(None, told))}\n")
        assert lost == 0
        assert stored >= ENOUGH
        ledger.assert_no_hole()
        return ledger

    def assert_clean(self):
        """Fail unless the queues hold nothing but the dead letters that were provoked."""
        self.wait_until_settled()

    def close(self):
        """End everything, whatever state it is in."""
        self._stack.close()

    def _unsettled(self):
        """Return ready and unsettled messages of the queues that hold others than expected."""
        worked_on = {queue for each in self._services for queue in QUEUES.get(each.name, ())}
        expected = {"dead-letters": (self.letters, 0), "unrouted": (0, 0)} | dict.fromkeys(worked_on, (0, 0))
        try:
            queues = self.host.queues()
        except (HTTPError, OSError) as error:
            return {"broker": str(error)}
        return {name: queues.get(name) for name, held in expected.items() if queues.get(name) != held}
