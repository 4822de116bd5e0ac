"""The overlays in a real Kubernetes: from nothing to prices, then struck in every way, with an account of every event.

`make kube-test`. The cluster has our images, tagged with the version; each overlay has a namespace of its own there,
which is removed before and afterwards.
"""

import asyncio
import sys
import time
from collections import Counter
from contextlib import contextmanager
from itertools import groupby

import pytest
from kube_stack import Stack
from ledger import Ledger, assert_book, price_fields, witness
from manifests import OVERLAYS, workloads
from waiting import eventually

pytestmark = [
    pytest.mark.kube,
    pytest.mark.rabbitmq,
    pytest.mark.influxdb,
    pytest.mark.rounds,
    pytest.mark.may_skip,
    pytest.mark.timeout(3600),
]

SYMBOLS = 4
ENOUGH = 1000
IDS = "SELECT first_update_id, update_id, symbol FROM fair_price"
EXCHANGE = "simulator"
"""Which is left alone: another one would have another market."""
SERVICES = ("deployment/converter", "deployment/storer", "deployment/gateway")


@pytest.fixture
def tell(capsys):
    def say(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")
            sys.stdout.flush()

    return say


@contextmanager
def running(overlay):
    stack = Stack(overlay)
    stack.remove()
    try:
        yield stack
    finally:
        stack.remove()


def from_nothing(stack, symbols):
    """Apply the overlay and return in words how long it took."""
    began = time.monotonic()
    stack.apply()
    stack.until_it_flows(symbols)
    priced = time.monotonic() - began
    stack.until_ready()
    ready = time.monotonic() - began
    return f"{stack.overlay}: prices are stored {priced:.0f} s after `kubectl apply`, all is ready after {ready:.0f} s"


def test_the_demo_shows_prices_from_nothing_and_outlives_each_of_its_pods(tell):
    with running("demo") as stack:
        tell(from_nothing(stack, 1))
        for pod in ours(stack):
            tell(struck(stack, f"{pod} deleted", 1, "delete", "pod", pod, "--wait=true"))
        assert holes(stack.influxdb(IDS), stack.influxdb("SELECT * FROM gap")) == []


def ours(stack):
    return [pod for pod in stack.pods() if not pod.startswith(EXCHANGE)]


def struck(stack, name, symbols, *command):
    """Strike; return in words how long it took until prices of then were stored, and until all of it was ready."""
    began = time.monotonic()
    stack.kubectl(*command, seconds=300)
    away = time.monotonic() - began
    flows = stack.until_it_flows(symbols)
    ready = flows + stack.until_ready()
    return f"  {name} ({away:.1f} s): prices again after {flows:.1f} s, all ready after {ready:.1f} s"


def holes(prices, gaps):
    """Return which update ids from a symbol's first row on are in no row and in no gap."""
    found = []
    ranges = [(row["symbol"], row["first_update_id"], row["update_id"]) for row in prices]
    ranges += [(row["symbol"], row["from_update_id"], row["to_update_id"]) for row in gaps]
    firsts = {row["symbol"]: row["first_update_id"] for row in sorted(prices, key=lambda row: -row["first_update_id"])}
    for symbol, of_symbol in groupby(sorted(ranges), key=lambda each: each[0]):
        reached = firsts[symbol] - 1
        for _, first, last in of_symbol:
            if first > reached + 1:
                found.append(f"{symbol}: {reached + 1} to {first - 1} are in no row and in no gap")
            reached = max(reached, last)
    return found


@pytest.fixture(scope="module")
def small():
    with running("small") as stack:
        yield stack


@pytest.fixture
def accounted(small, tell):
    """Witness all that is published, and compare it with what is stored.

    Crawlers begin when the witness is there, and end before the account.
    """
    crawlers = [name for name in workloads("small") if name.startswith("crawler-")]

    def scale(number):
        small.kubectl("scale", "statefulset", *crawlers, f"--replicas={number}")

    def left():
        return {name for name, number in small.queues().items() if number and not name.startswith("ledger.")}

    def stop():
        scale(0)
        eventually(lambda: not small.get("pods", "--selector=app=crawler"), 240, "crawlers stay", pause=1)
        eventually(lambda: not left(), 120, lambda: f"messages are left in {left()}", pause=1)

    stop()
    with small.host() as host:
        asyncio.run(witness(host))
    began = int(time.time() * 1e6)
    scale(2)
    small.until_it_flows(SYMBOLS)
    yield
    stop()
    with small.host() as host:
        ledger = asyncio.run(Ledger.read(host))
    tell(account(small, ledger, began))


def account(stack, ledger, began):
    """Fail unless all that was published is stored, as it was published; return the account in words."""

    def rows(measurement):
        found = stack.influxdb(f'SELECT * FROM "{measurement}" WHERE time > {began}u')
        return {(row["symbol"], row["time"]): row for row in found}

    prices, books = rows("fair_price"), rows("order_book")
    assert prices.keys() <= ledger.prices.keys(), "prices that nobody published"
    assert books.keys() <= ledger.books.keys(), "books that nobody published"
    assert ledger.books.keys() == ledger.prices.keys()
    for key, row in prices.items():
        assert_made_of(row, [price_fields(price) for price in ledger.prices[key]])
    for key, row in books.items():
        assert any(is_book(row, book) for book in ledger.told[key]), (row, ledger.told[key])
    lost = len(ledger.books.keys() - books.keys()) + len(ledger.prices.keys() - prices.keys())
    assert holes(stack.influxdb(IDS), stack.influxdb("SELECT * FROM gap")) == []
    assert lost == 0
    assert len(prices) >= ENOUGH
    gaps = Counter(gap["reason"] for gap in ledger.gaps.values())
    told = ", ".join(f"{reason} {number}" for reason, number in sorted(gaps.items())) or "none"
    return (
        f"  account: sent {len(ledger.books)}, stored {len(prices)}, lost {lost}, published again {ledger.repeated}, "
        f"gaps claimed by one crawler: {told}; ids in no row and in no gap: 0"
    )


def is_book(row, book):
    """Whether the row is the book as one of the crawlers published it."""
    try:
        assert_book(row, book)
    except AssertionError:
        return False
    return True


def assert_made_of(row, made):
    """The row is one of the prices, or several of them: of two crawlers, of which one may not know the bands yet."""
    fields = {name: value for name, value in row.items() if name not in ("time", "venue", "symbol")}
    assert all(any(price.get(name) == value for price in made) for name, value in fields.items()), (fields, made)
    assert fields.keys() >= set.intersection(*(set(price) for price in made)), (fields, made)


def test_production_shows_prices_from_nothing(small, tell):
    tell(from_nothing(small, SYMBOLS))


@pytest.mark.usefixtures("accounted")
def test_each_pod_may_go(small, tell):
    for pod in ours(small):
        tell(struck(small, f"{pod} deleted", SYMBOLS, "delete", "pod", pod, "--wait=true"))


@pytest.mark.usefixtures("accounted")
def test_each_node_of_rabbitmq_may_be_killed(small, tell):
    for pod in small.pods(app="rabbitmq"):
        tell(struck(small, f"{pod} killed", SYMBOLS, "delete", "pod", pod, "--grace-period=0", "--force"))


@pytest.mark.usefixtures("accounted")
def test_all_of_it_may_be_restarted(small, tell):
    names = [f"{each['kind'].lower()}/{name}" for name, each in workloads("small").items() if each["kind"] != "Job"]
    names.remove(f"deployment/{EXCHANGE}")
    tell(struck(small, "everything restarted", SYMBOLS, "rollout", "restart", *names))


@pytest.mark.usefixtures("accounted")
def test_every_kind_may_be_more_and_fewer(small, tell):
    for number in (3, 1, 2):
        for name in SERVICES:
            tell(struck(small, f"{name} scaled to {number}", SYMBOLS, "scale", name, f"--replicas={number}"))
    for overlay in ("more-shards", "small"):
        tell(struck(small, f"crawlers of {overlay}", SYMBOLS, "apply", "-k", str(OVERLAYS[overlay])))


@pytest.mark.usefixtures("accounted")
def test_a_password_may_be_changed(small, tell):
    before = small.secret("converter", "broker-password")
    small.kubectl(
        "patch",
        "secret",
        "credentials",
        "--type=json",
        "--patch",
        '[{"op": "remove", "path": "/data/rabbitmq-converter"}]',
    )
    small.kubectl("delete", "job", "credentials", "--ignore-not-found")
    small.apply()
    eventually(lambda: small.secret("converter", "broker-password") != before, 120, "no new password")
    tell(struck(small, "a password changed", SYMBOLS, "rollout", "restart", "statefulset/rabbitmq"))
    tell(struck(small, "converters restarted", SYMBOLS, "rollout", "restart", "deployment/converter"))


@pytest.mark.usefixtures("accounted")
def test_a_node_may_be_drained(small, tell):
    """The one that there is: what the budgets let go of has no place until it is back."""
    (node,) = {pod["spec"]["nodeName"] for pod in small.get("pods") if "nodeName" in pod["spec"]}
    drain = (
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=40s",
        f"--pod-selector=app,app!={EXCHANGE}",
    )
    small.cluster(*drain, seconds=120, check=False)
    left = small.pods(app="crawler")
    tell(struck(small, f"node drained, {len(left)} crawlers stayed, and given back", SYMBOLS, "uncordon", node))
    assert len(left) >= 3, "budgets let one go at a time"
