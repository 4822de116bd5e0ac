"""The embedded pipeline as a person runs it: options, bad input, the end of it."""

import gzip
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress

import preloaded
import pytest
from waiting import eventually

from fairprice.runtime.lifecycle import ONE_STOP
from simulator import Exchange
from standalone.settings import Options


@contextmanager
def running(*arguments, **environ):
    """Start a program; yield the process and the page's address (or the exchange's REST address)."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    process = preloaded.start(*arguments, environ=clean | environ)
    try:
        for line in process.stdout:
            if "http://" in line:
                yield process, line.split("http://")[1].split()[0].rstrip("/")
                break
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def get(address):
    with urllib.request.urlopen(f"http://{address}") as answer:
        return json.load(answer)


def count(database, table):
    if not database.exists():
        return 0
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


@pytest.fixture
def made_recording(tmp_path):
    """Record six seconds of two symbols of a simulated market, and return the file with its number of diffs."""
    exchange = Exchange(("BTCUSDT", "XYZUSDC"), seed=11)
    lines = []
    snapshots = {}
    for sent in exchange.advance(exchange.now_us + 6_000_000):
        lines.append(b"%d %b\n" % (sent.time_us * 1000, sent.on_wire(combined=True)))
        if sent.kind == "depth" and sent.symbol not in snapshots:
            body = exchange.book_at(sent.symbol, sent.last_id, 1000).snapshot(1000)
            snapshots[sent.symbol] = sent.last_id
            wrapped = b'{"stream":"%b@snapshot","data":%b}' % (sent.symbol.lower().encode(), body)
            lines.append(b"%d %b\n" % (sent.time_us * 1000, wrapped))
    path = tmp_path / "made.ndjson"
    path.write_bytes(b"".join(lines))
    diffs = {symbol: sum(b'"s":"%b","U"' % symbol.encode() in line for line in lines) for symbol in snapshots}
    return path, exchange, diffs


@pytest.mark.parametrize("bare", [False, True])
def test_a_recording_of_several_symbols_is_replayed_whole(played, made_recording, bare):
    path, exchange, diffs = made_recording
    if bare:  # as a recorder leaves it that writes the body of the reply alone
        path.write_bytes(re.sub(rb'\{"stream":"\w+@snapshot","data":(.*)\}\n', rb"\1\n", path.read_bytes()))
        assert path.read_bytes().count(b' {"lastUpdateId"') == 2
    summary, rows = played(path, "max")

    assert summary["gaps"] == 0
    assert summary["books"] == summary["prices"] == sum(number - 1 for number in diffs.values())
    for row in rows["fair_price"]:
        truth = exchange.book_at(row["symbol"], row["update_id"], 1)
        assert (row["bid"], row["bid_size"]) == tuple(map(float, truth.bids[0]))
        assert (row["ask"], row["ask_size"]) == tuple(map(float, truth.asks[0]))


def test_the_symbols_can_be_chosen_from_a_recording(played, made_recording):
    path, _, _ = made_recording
    _, rows = played(path, "max", FAIRPRICE_SYMBOLS="XYZUSDC")

    assert {row["symbol"] for row in rows["fair_price"]} == {"XYZUSDC"}


def test_a_compressed_and_a_plain_recording_give_the_same_rows(played, made_recording, tmp_path):
    path, _, _ = made_recording
    compressed = tmp_path / "made.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    _, plain = played(path, "max")
    (tmp_path / "max.db").unlink()

    assert played(compressed, "max")[1] == plain


def test_the_settings_reach_the_rows(played, made_recording):
    path, _, _ = made_recording
    summary, rows = played(
        path,
        "max",
        FAIRPRICE_ESTIMATOR="mid",
        FAIRPRICE_DEPTH_BPS="2",
        FAIRPRICE_IMPACT_NOTIONALS="500",
        FAIRPRICE_BOOK_LEVELS="5",
        FAIRPRICE_STORE_BOOK_INTERVAL="0s",
    )

    assert all(row["price"] == row["mid"] for row in rows["fair_price"])
    assert {"depth_bid_2bps", "impact_ask_500"} <= rows["fair_price"][0].keys()
    assert len(rows["order_book"]) == summary["books"]
    assert "bid_price_04" in rows["order_book"][0]
    assert "bid_price_05" not in rows["order_book"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no market events"),
        (b"hello\n", "line 1: does not begin with a receive time"),
        (b'1 {"stream":"btcusdt@depth@100ms","data":{}}\n2 {"strea', "line 2: not valid JSON"),
        (gzip.compress(b'1 {"stream":"btcusdt@depth@100ms","data":{}}\n' * 50, mtime=0)[:-20], "cut off here"),
    ],
)
def test_an_unreadable_recording_is_refused_with_its_line_if_strict(standalone, tmp_path, content, said):
    (tmp_path / "bad").write_bytes(content)
    done = standalone("--capture", tmp_path / "bad", "--strict", "--once", "--database", tmp_path / "x.db")

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_without_a_usable_snapshot_is_told_apart_from_success(
    standalone, made_recording, rows_of, tmp_path
):
    path, _, _ = made_recording
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b"xyzusdc@snapshot" not in line))
    done = standalone("--capture", path, "--speed", "max", "--once", "--database", tmp_path / "x.db")

    assert done.returncode == 1
    assert "no book could be made of XYZUSDC" in done.stderr
    assert {row["symbol"] for row in rows_of(tmp_path / "x.db")["fair_price"]} == {"BTCUSDT"}


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        ((), {"FAIRPRICE_ESTIMATR": "mid"}, "FAIRPRICE_ESTIMATR is no setting; did you mean FAIRPRICE_ESTIMATOR?"),
        ((), {"FAIRPRICE_VENUE": "kraken"}, "FAIRPRICE_VENUE: write one of binance, binance-usdm"),
        ((), {"FAIRPRICE_BOOK_LEVELS": "0"}, "FAIRPRICE_BOOK_LEVELS"),
        ((), {"FAIRPRICE_SYMBOLS": "BTC USDT"}, "FAIRPRICE_SYMBOLS"),
        ((), {"FAIRPRICE_SYMBOLS": "*USDT"}, "FAIRPRICE_SYMBOLS: *USDT chooses among what an exchange lists (--live)"),
        (("--capture", "nowhere.gz"), {}, "nowhere.gz: cannot be read: No such file"),
        (("--database", "/proc"), {}, "cannot store in /proc"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(standalone, tmp_path, arguments, environ, said):
    done = standalone("--database", tmp_path / "x.db", *arguments, **environ)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--once"], "--once needs --capture FILE: a market has no end"),
        (["--speed", "2"], "--speed needs --capture FILE: a market lives at its own speed"),
        (["--live", "--speed", "max"], "--speed needs --capture FILE"),
        (["--live", "--seed", "1"], "--seed chooses a made-up market; leave it out with --live"),
        (["--capture", "x", "--seed", "1"], "--seed chooses a made-up market; leave it out with --capture"),
        (["--live", "--capture", "x"], "--live and --capture exclude each other"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(options, said, capsys):
    with pytest.raises(SystemExit) as ended:
        Options.parse(options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_in_use_is_said_to_be_so(standalone, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = standalone("--database", tmp_path / "x.db", "--port", port)

    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_locked_database_is_said_to_be_so(standalone, tmp_path):
    database = tmp_path / "x.db"
    with closing(sqlite3.connect(database)) as holder:
        holder.execute("CREATE TABLE t (x)")
        holder.commit()
        holder.execute("BEGIN EXCLUSIVE")
        done = standalone("--database", database)

    assert done.returncode == 2
    assert "another program holds it" in done.stderr or "locked" in done.stderr


def test_ctrl_c_stores_what_is_under_way_and_sums_up_in_one_line(tmp_path):
    database = tmp_path / "x.db"
    with running("standalone", "--port", 0, "--database", database) as (process, address):
        eventually(lambda: all(price.get("price") for price in get(f"{address}/api/prices")))
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait() == 0

    summary = out.splitlines()[-1]
    prices = count(database, "fair_price")
    assert prices > 0
    assert f"Stored {prices} prices of {prices} books and 0 gaps" in summary


def problems(address):
    """Return what /readyz names."""
    try:
        return get(f"{address}/readyz")["problems"]
    except urllib.error.HTTPError as refusal:
        with refusal:
            return json.load(refusal)["problems"]


def test_two_signals_at_once_are_one_stop(tmp_path):
    database = tmp_path / "x.db"
    with running("standalone", "--port", 0, "--database", database) as (process, _):
        eventually(lambda: count(database, "fair_price") > 5)
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # both wait when it goes on
            process.send_signal(number)
        out = process.stdout.read()
        assert process.wait() == 0

    assert f"Stored {count(database, 'fair_price')} prices" in out.splitlines()[-1]


def test_a_deleted_database_is_made_again_with_its_loss_told_and_keeps_its_origin(standalone, tmp_path):
    database = tmp_path / "x.db"
    with running("standalone", "--port", 0, "--database", database) as (process, _):
        eventually(lambda: count(database, "fair_price") > 5)
        database.unlink()
        eventually(lambda: count(database, "fair_price") > 5)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait() == 0

    assert "the database file was deleted" in out
    done = standalone("--live", "--database", database)
    assert done.returncode == 2
    assert "it holds rows of a made-up market, among which rows of an exchange do not belong" in done.stderr


def test_the_made_up_market_may_be_one_of_futures_and_its_page_is_told_at_once(tmp_path):
    futures = {"FAIRPRICE_VENUE": "binance-usdm", "FAIRPRICE_SYMBOLS": "btc/usdt"}
    with running("standalone", "--port", 0, "--database", tmp_path / "x.db", **futures) as (process, address):
        eventually(lambda: all(price.get("price") for price in get(f"{address}/api/prices")))
        shown = {(price["venue"], price["symbol"]) for price in get(f"{address}/api/prices")}
        assert shown == {("binance-usdm", "BTCUSDT")}
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_each_origin_has_a_file_of_its_own_unless_one_is_named():
    assert [str(Options.parse(arguments).database) for arguments in ([], ["--live"], ["--capture", "a", "b"])] == [
        "var/simulated.db",
        "var/fairprice.db",
        "var/replay.db",
    ]
    assert str(Options.parse(["--live", "--database", "x"]).database) == "x"


def test_kill_9_leaves_a_whole_database_and_a_gap_at_the_next_start(rows_of, tmp_path):
    database = tmp_path / "x.db"
    with running("simulator", "--port", 0, "--symbols", "BTCUSDT") as (_, exchange):
        settings = {
            "FAIRPRICE_EXCHANGE_REST_URL": f"http://{exchange}",
            "FAIRPRICE_EXCHANGE_STREAM_URL": f"ws://{exchange}",
            "FAIRPRICE_STATE_DIR": str(tmp_path / "state"),
        }
        live = ("standalone", "--live", "--port", 0, "--database", database)
        with running(*live, **settings) as (process, _):
            eventually(lambda: count(database, "fair_price") > 25)
            process.kill()
            process.wait()
        stored = count(database, "fair_price")
        with running(*live, **settings) as (process, _):
            eventually(lambda: count(database, "fair_price") > stored + 10)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0

    rows = rows_of(database)
    [gap] = rows["gap"]
    assert gap["reason"] == "restart"
    covered = sorted(
        [(row["first_update_id"], row["update_id"]) for row in rows["fair_price"]]
        + [(gap["from_update_id"], gap["to_update_id"])]
    )
    reached = covered[0][0] - 1
    for first, last in covered:
        assert first <= reached + 1
        reached = max(reached, last)


def backlog(address):
    """Return how many messages wait for the store of prices."""
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        found = re.search(r'broker_queue_messages\{queue="prices.storer"\} (\S+)', answer.read().decode())
    return float(found[1])


HASTY = """
import sys, threading
from functools import partial
from fairprice.runtime import lifecycle
from standalone.__main__ import main
from storer.stores.sqlite import SqliteStore

lifecycle.DRAIN_TIMEOUT, lifecycle.HARD_STOP = 2.0, 1.0
lifecycle.drain = partial(lifecycle.drain, seconds=0.5, hard_stop=0.2)
{disk}
sys.exit(main())
"""
"""The embedded pipeline, which drains for half a second where others do for ten, and ends by force after four."""

FREEZES = """
write, frozen = SqliteStore._write, threading.Event()

def freeze(store, points):
    if any(point.measurement == "fair_price" for point in points) and sum(store._rows.values()) > 20:
        frozen.wait()
    return write(store, points)

SqliteStore._write = freeze
"""
"""A disk that answers no more after a while, not even with an error."""


@contextmanager
def hasty(folder, disk=""):
    """Run the embedded pipeline on such a disk; yield the process, the page's address and the database."""
    (folder / "hasty.py").write_text(HASTY.format(disk=disk))
    path, database = os.pathsep.join([str(folder), *sys.path]), folder / "x.db"
    with running("hasty", "--port", 0, "--database", database, PYTHONPATH=path) as (process, address):
        yield process, address, database


def test_ctrl_c_with_a_locked_database_ends_in_time_and_says_what_was_not_stored(tmp_path):
    with hasty(tmp_path) as (process, address, database):
        eventually(lambda: count(database, "fair_price") > 5)
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        stored = count(database, "fair_price")
        eventually(lambda: backlog(address) > 3)
        eventually(lambda: "database is locked" in problems(address).get("store", ""))
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait() == 1
        holder.close()

    found = re.search(r"error: not stored, and lost: the prices of the last (\d+) books, .*: (.*)", out)
    assert found, out
    assert int(found[1]) > 0
    assert "database is locked" in found[2]
    assert f"Stored {stored} prices of {stored + int(found[1])} books" in out


def test_ctrl_c_with_a_frozen_disk_ends_in_time_and_says_what_was_not_stored(tmp_path):
    with hasty(tmp_path, FREEZES) as (process, address, _):
        eventually(lambda: backlog(address) > 10)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait() == 1

    assert re.search(r"error: not stored, and lost: the prices of the last [1-9]\d* books, ", out), out


def test_a_second_ctrl_c_says_truly_what_becomes_of_the_rest(tmp_path):
    database = tmp_path / "x.db"
    with running("standalone", "--port", 0, "--database", database) as (process, address):
        eventually(lambda: count(database, "fair_price") > 5)
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        eventually(lambda: backlog(address) > 3)
        process.send_signal(signal.SIGINT)
        for _ in range(2):  # after an answer, or none any more, its event loop has turned: it has taken the signal
            with suppress(OSError):
                problems(address)
        time.sleep(ONE_STOP + 0.1)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        holder.close()

    assert out.splitlines()[-1].startswith(("stopped at once by a second signal", "ended by force"))
    assert out.splitlines()[-1].endswith("; what was not stored is lost")
    assert process.wait() in {1, 2}  # by force, where the machine was slow to stop
