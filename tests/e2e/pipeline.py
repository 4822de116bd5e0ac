"""The whole chain of one test: an exchange, the services, a virtual host, an organization of the database."""

import asyncio
import sys
from contextlib import ExitStack

import aiohttp
from brokers import VirtualHost
from influx_server import new_org
from ledger import Ledger, witness
from processes import Exchange, Service
from waiting import eventually

from storer.influx_api import InfluxApi
from storer.provisioning import Credentials, provision

CHAIN = ("storer", "converter", "gateway", "crawler")
FLOW = ("crawler", "converter", "storer", "gateway")
"""Who is asked to end after whom."""

QUEUES = {"converter": ("books.converter",), "storer": ("books.storer", "prices.storer")}
"""Whose work they are."""

SYMBOLS = "BTCUSDT,ETHUSDT"
LOOK = 0.2
"""Seconds between two looks at queues."""

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
        self.again = 0
        """Deliveries that somebody had had before, as those told who have ended well."""
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
        asyncio.run(self._provision())
        self._reader = self.org.make_token("read")

    async def _provision(self):
        address = self.org.address
        to = Credentials(grafana_user=self.org.name, storer_token=self.token_file)
        async with aiohttp.ClientSession() as session:
            api = InfluxApi(session, address, self.org.server.token)
            await provision(api, address.org, address.bucket, 0, to)  # for ever: the recordings are years old

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
        self.open_exchange("--symbols", SYMBOLS, "--time-scale", "5")
        services = {name: self.start(name, **environs.get(name, {})) for name in CHAIN}
        self.wait_for_more(100)
        for service in services.values():
            service.until_ready()
        return services

    def rows(self, measurement, since=0):
        """Return the rows from a time on, in microseconds."""
        return self.org.rows(f'SELECT * FROM "{measurement}" WHERE time >= {since}u', token=self._reader)

    def newest(self, measurement, number):
        """Return so many rows, the newest first."""
        return self.org.rows(f'SELECT * FROM "{measurement}" ORDER BY time DESC LIMIT {number}', token=self._reader)

    def stored(self):
        """Return how many prices are stored."""
        rows = self.org.rows("SELECT count(update_id) FROM fair_price", token=self._reader)
        return rows[0]["count"] if rows else 0

    def wait_for_more(self, number):
        """Wait until so many more prices are stored than now."""
        self.wait_for(self.stored() + number)

    def wait_for(self, wanted):
        """Wait until so many prices are stored."""
        eventually(lambda: self.stored() >= wanted, why=lambda: f"{self.stored()} prices stored, not {wanted}")

    def finish(self, last="gateway"):
        """Stop one kind of service after the other up to the last, each when it has taken what waited for it."""
        for name in FLOW[: FLOW.index(last) + 1]:
            of_kind = [each for each in self._services if each.name == name]
            if of_kind:
                self._wait_until_taken(QUEUES.get(name, ()))
            self._end([each for each in of_kind if each.is_running])

    def _wait_until_taken(self, queues):
        eventually(lambda: not self._left(queues), why=lambda: f"left behind: {self._left(queues)}", pause=LOOK)

    def _left(self, queues):
        """Return what waits in those queues that hold another number of messages than they should."""
        expected = dict.fromkeys(queues, 0) | ({"dead-letters": self.letters} if "dead-letters" in queues else {})
        held = asyncio.run(self.host.ready(queues)) if queues else {}
        return {name: number for name, number in held.items() if number != expected[name]}

    def _end(self, services):
        """Stop them side by side."""
        self.note_again(*services)
        for service in services:
            service.ask_to_end()
        for service in services:
            service.end_well()

    def note_again(self, *services):
        """Count the deliveries that somebody had had before, as services that will be ended tell them."""
        working = [each for each in services if each.name in QUEUES]
        self.again += round(sum(each.metric("broker_deliveries_total", time="again") for each in working))

    def assert_even(self, name, times="", *, raw_prices=0):
        """Fail unless the stored rows are exactly what was published; print the account and return the ledger.

        Messages that were delivered again are told, like `times`: they are harmless. `raw_prices` are those that no
        converter made.
        """
        ledger = asyncio.run(Ledger.read(self.host))
        assert len(ledger.prices.keys() - ledger.books.keys()) == raw_prices
        stored, lost = ledger.compare(self.rows)
        account = {
            "sent": len(ledger.books) + raw_prices,
            "stored": stored,
            "lost": lost,
            "duplicated": ledger.repeated + self.again,
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
        """Fail unless all that still run end well, and nothing is left but the dead letters that were provoked."""
        self.finish()
        self._wait_until_taken({"dead-letters", "unrouted", *self._worked_on()})

    def _worked_on(self):
        return {queue for each in self._services for queue in QUEUES.get(each.name, ())}

    def close(self):
        """End everything, whatever state it is in."""
        self._stack.close()
